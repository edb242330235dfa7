"""What is made from the spec, and what is refused."""

import copy
import json
import re
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from local_aws import spec
from local_aws.resources import client
from support import PATIENCE_S, YARD, Local, command


class Spec(unittest.TestCase):
    def setUp(self) -> None:
        self.whole = json.loads(spec.PLACE.read_text())

    def test_a_key_that_nobody_knows_is_refused_with_its_place(self) -> None:
        places = {
            "": self.whole,
            "/pools/cpu": self.whole["pools"]["cpu"],
            "/table/index/sort_key": self.whole["table"]["index"]["sort_key"],
        }
        for place, table in places.items():
            table["colour"] = "red"
            with self.assertRaisesRegex(spec.BadSpec, re.escape(f": {place}/colour is not a key")):
                spec.check(self.whole)
            del table["colour"]

    def test_a_key_that_is_missing_is_told_with_its_place(self) -> None:
        del self.whole["pools"]["cpu"]["job_queue"]
        with self.assertRaisesRegex(spec.BadSpec, ": /pools/cpu/job_queue is missing"):
            spec.check(self.whole)

    def test_names_are_filled_in_for_each_pool(self) -> None:
        self.whole["pools"]["gpu"] = copy.deepcopy(self.whole["pools"]["cpu"]) | {"job_queue": "proofyard-{yard}-{pool}"}
        filled = spec.filled(self.whole, "a")
        self.assertEqual(spec.queue_names(filled, "wake"), ["proofyard-a-wake-cpu", "proofyard-a-wake-gpu"])
        self.assertEqual(filled["pools"]["gpu"]["job_queue"], "proofyard-a-gpu")
        self.assertEqual(filled["bucket"]["name"], "proofyard-a-000000000000")
        self.assertEqual(spec.dead_letter_name(filled, "proofyard-a-blocks.fifo"), "proofyard-a-blocks-dead.fifo")

    def test_not_everything_names_a_yard(self) -> None:
        for bad in ("", "A", "a--b", "-a", "a-", "a" * 33, "a\n"):
            with self.assertRaises(spec.BadSpec):
                spec.check_yard(bad)


class Refused(unittest.TestCase):
    def _refused(self, arguments: list[str]) -> str:
        with tempfile.TemporaryDirectory() as state:
            ended = subprocess.run([*arguments, "--state", state], capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        return ended.stderr

    def test_a_program_that_is_missing(self) -> None:
        arguments = [part for part in command("--binaries", "/nowhere") if part != "--no-functions"]
        self.assertIn("build it with `cargo build --release`", self._refused(arguments))

    def test_a_port_that_is_taken(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            for option in ("--port", "--batch-port"):
                self.assertIn(f"name another with {option}", self._refused(command(option, port)))

    def test_an_endpoint_where_nothing_answers(self) -> None:
        self.assertIn("start that AWS first", self._refused(command("--endpoint", "http://127.0.0.1:9")))


class Made(unittest.TestCase):
    def test_all_that_the_spec_describes(self) -> None:
        local = Local()
        self.addCleanup(local.close)
        endpoint = local.environment["AWS_ENDPOINT_URL"]
        table = client("dynamodb", endpoint).describe_table(TableName=f"proofyard-{YARD}")["Table"]
        types = {key["AttributeName"]: key["AttributeType"] for key in table["AttributeDefinitions"]}
        self.assertEqual(types, {"p": "S", "s": "S", "b": "N", "t": "N"})
        self.assertEqual(table["GlobalSecondaryIndexes"][0]["Projection"], {"ProjectionType": "KEYS_ONLY"})
        described = spec.load(YARD)
        expiry = client("dynamodb", endpoint).describe_time_to_live(TableName=f"proofyard-{YARD}")["TimeToLiveDescription"]
        self.assertEqual(expiry, {"TimeToLiveStatus": "ENABLED", "AttributeName": described["table"]["ttl_attribute"]})
        rules = client("s3", endpoint).get_bucket_lifecycle_configuration(Bucket=local.environment["PROOFYARD_BUCKET"])["Rules"]
        aborted = {"DaysAfterInitiation": described["bucket"]["abort_uploads_after_days"]}
        self.assertEqual([rule["AbortIncompleteMultipartUpload"] for rule in rules], [aborted])
        for key, queue in described["queues"].items():
            for name in spec.queue_names(described, key):
                self._check_queue(local, name, queue, described["queue_defaults"])
        self._check_that_a_second_yard_of_that_name_is_refused(endpoint)

    def _check_queue(self, local: Local, name: str, queue: dict, defaults: dict) -> None:
        url = local.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        has = local.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual(has["VisibilityTimeout"], str(defaults["visibility_s"]))
        self.assertEqual(has["MessageRetentionPeriod"], str(queue.get("retention_s", defaults["retention_s"])))
        redrive = json.loads(has["RedrivePolicy"])
        self.assertEqual(int(redrive["maxReceiveCount"]), defaults["receives_before_dead_letter"])
        self.assertEqual(redrive["deadLetterTargetArn"].endswith("-dead.fifo"), queue["fifo"])
        if queue["fifo"]:
            self.assertEqual((has["DeduplicationScope"], has["FifoThroughputLimit"]), ("messageGroup", "perMessageGroupId"))
            self.assertEqual(has["ContentBasedDeduplication"], str(queue["content_based_deduplication"]).lower())

    def _check_that_a_second_yard_of_that_name_is_refused(self, endpoint: str) -> None:
        with tempfile.TemporaryDirectory() as state:
            again = subprocess.run(
                command("--endpoint", endpoint, "--state", state), capture_output=True, text=True, timeout=PATIENCE_S
            )
            self.assertIn("this yard is there already", again.stderr)
            self.assertFalse((Path(state) / "env").exists())
