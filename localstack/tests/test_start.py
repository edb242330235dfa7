"""What is made from the templates, and what is refused."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from local_aws import templates
from local_aws.server import CannotStart
from local_aws.stacks import Stacks, client
from support import PATIENCE_S, YARD, Local, command, with_functions


class Templates(unittest.TestCase):
    def test_the_yard_has_its_name_everywhere(self) -> None:
        names = [queue["QueueName"] for queue in templates.of_type(templates.load("a", "messaging"), "AWS::SQS::Queue")]
        self.assertIn("proofyard-a-wake-gpu", names)
        self.assertIn("proofyard-a-blocks-dead.fifo", names)
        self.assertTrue(all(name.startswith("proofyard-a-") for name in names))

    def test_jobs_are_told_what_to_do(self) -> None:
        definitions = {each["jobDefinitionName"]: each for each in templates.job_definitions(templates.load("a", "proving"))}
        comes_and_goes, stays = definitions["proofyard-a-gpu"], definitions["proofyard-a-gpu-warm"]
        command = ["proofyard-worker", "--pool", "gpu"]
        self.assertEqual(comes_and_goes["containerProperties"]["command"], [*command, "--idle-out-ms", "600000"])
        self.assertEqual(stays["containerProperties"]["command"], command)
        self.assertIn({"name": "PROOFYARD_BUCKET", "value": "proofyard-a-000000000000"}, stays["containerProperties"]["environment"])
        self.assertEqual(stays["retryStrategy"]["evaluateOnExit"][0], {"onStatusReason": "Host EC2*", "action": "RETRY"})

    def test_a_function_can_be_left_out_with_all_that_refers_to_it(self) -> None:
        whole = templates.load("a", "functions")
        without = templates.without_function(whole, "proofyard-follower")
        self.assertEqual(
            {each["FunctionName"] for each in templates.of_type(whole, "AWS::Lambda::Function")}
            - {each["FunctionName"] for each in templates.of_type(without, "AWS::Lambda::Function")},
            {"proofyard-a-follower"},
        )
        for kind in ("AWS::Events::Rule", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig"):
            self.assertEqual(len(templates.of_type(whole, kind)) - len(templates.of_type(without, kind)), 1, kind)
        self.assertNotIn("FunctionFollower", json.dumps(without))

    def test_not_everything_names_a_yard(self) -> None:
        for bad in ("", "A", "a--b", "-a", "a-", "a" * 33, "a\n"):
            with self.assertRaises(templates.BadYard):
                templates.check_yard(bad)


class AskedOnce(unittest.TestCase):
    def test_a_stack_is_asked_for_once(self) -> None:
        """A second request for a stack that the first one made is refused."""
        asked: list[str] = []

        class Overloaded(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append(self.path)
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Overloaded) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stacks = Stacks(f"http://127.0.0.1:{server.server_port}", lambda _: True)
            with self.assertRaises(CannotStart):
                stacks.deploy("a", {"Resources": {}})
            server.shutdown()
        self.assertEqual(len(asked), 1)


class Refused(unittest.TestCase):
    def _refused(self, arguments: list[str], **environment: str) -> str:
        with tempfile.TemporaryDirectory() as state:
            ended = subprocess.run(
                [*arguments, "--state", state],
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                env={**os.environ, **environment},
            )
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        return ended.stderr

    def test_a_program_that_is_missing(self) -> None:
        arguments = with_functions(command("--binaries", "/nowhere"))
        self.assertIn("build it with `cargo build --release`", self._refused(arguments))

    def test_a_port_that_is_taken(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            for option in ("--port", "--batch-port"):
                for which in ("ministack", "localstack"):
                    refused = self._refused(command("--on", which, option, port))
                    self.assertIn(f"port {port} cannot be used", refused)
                    self.assertIn(f"name another with {option}", refused)

    def test_an_endpoint_where_nothing_answers(self) -> None:
        self.assertIn("start that AWS first", self._refused(command("--endpoint", "http://127.0.0.1:9")))


    def test_a_dynamodb_local_that_is_not_there(self) -> None:
        arguments = command("--on", "localstack")
        with tempfile.TemporaryDirectory() as folder:
            for place in (f"{folder}/nowhere", folder):
                refused = self._refused(arguments, PROOFYARD_DYNAMODB_LOCAL=place)
                self.assertIn(f"PROOFYARD_DYNAMODB_LOCAL is {place}, where no DynamoDBLocal.jar is", refused)
            (Path(folder) / "DynamoDBLocal.jar").touch()
            refused = self._refused(arguments, PROOFYARD_DYNAMODB_LOCAL=folder, PATH=folder)
            self.assertIn("DynamoDB Local needs java", refused)

    def test_a_dynamodb_local_that_does_not_start(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "DynamoDBLocal.jar").touch()
            java = Path(folder) / "java"
            java.write_text("#!/bin/sh\necho this is no jar\nexit 1\n")
            java.chmod(0o755)
            path = f"{folder}:{os.environ['PATH']}"
            refused = self._refused(command("--on", "localstack"), PROOFYARD_DYNAMODB_LOCAL=folder, PATH=path)
        self.assertIn("DynamoDB-Local ended at once", refused)
        self.assertIn("this is no jar", refused)


class Made(unittest.TestCase):
    def test_all_that_the_templates_describe(self) -> None:
        local = Local()
        self.addCleanup(local.close)
        endpoint = local.environment["AWS_ENDPOINT_URL"]
        table = client("dynamodb", endpoint).describe_table(TableName=f"proofyard-{YARD}")["Table"]
        types = {key["AttributeName"]: key["AttributeType"] for key in table["AttributeDefinitions"]}
        self.assertEqual(types, {"p": "S", "s": "S", "b": "N", "t": "N"})
        self.assertEqual(table["GlobalSecondaryIndexes"][0]["Projection"], {"ProjectionType": "KEYS_ONLY"})
        client("s3", endpoint).head_bucket(Bucket=local.environment["PROOFYARD_BUCKET"])
        messaging = templates.load(YARD, "messaging")
        for queue in templates.of_type(messaging, "AWS::SQS::Queue"):
            self._check_queue(local, queue)
        self.assertEqual(json.loads(local.environment["PROOFYARD_POOLS"])["cpu"]["max_workers"], 2)
        self._check_that_a_second_yard_of_that_name_is_refused(endpoint)

    def _check_queue(self, local: Local, queue: dict[str, Any]) -> None:
        url = local.sqs.get_queue_url(QueueName=queue["QueueName"])["QueueUrl"]
        has = local.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual(has["MessageRetentionPeriod"], str(queue["MessageRetentionPeriod"]))
        if "RedrivePolicy" in queue:
            self.assertEqual(has["VisibilityTimeout"], str(queue["VisibilityTimeout"]))
            redrive = json.loads(has["RedrivePolicy"])
            self.assertEqual(int(redrive["maxReceiveCount"]), queue["RedrivePolicy"]["maxReceiveCount"])
            self.assertEqual(redrive["deadLetterTargetArn"].endswith("-dead.fifo"), queue.get("FifoQueue", False))
        if queue.get("FifoQueue"):
            self.assertEqual((has["DeduplicationScope"], has["FifoThroughputLimit"]), ("messageGroup", "perMessageGroupId"))
            self.assertEqual(has["ContentBasedDeduplication"], str(queue["ContentBasedDeduplication"]).lower())

    def _check_that_a_second_yard_of_that_name_is_refused(self, endpoint: str) -> None:
        with tempfile.TemporaryDirectory() as state:
            again = subprocess.run(
                command("--endpoint", endpoint, "--state", state), capture_output=True, text=True, timeout=PATIENCE_S
            )
            self.assertIn("this yard is there already", again.stderr)
            self.assertFalse((Path(state) / "env").exists())
