"""Everything that the shared spec describes, made in an AWS that answers at one endpoint."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from . import ministack
from .ministack import CannotStart


class Resources:
    def __init__(self, spec: dict[str, Any], endpoint: str) -> None:
        self.spec = spec
        self.endpoint = endpoint
        self.session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=ministack.REGION
        )
        self.queues: dict[str, str] = {}

    def client(self, service: str) -> Any:
        config = Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=30)
        return self.session.client(service, endpoint_url=self.endpoint, config=config)

    def make_all(self, functions: "Functions | None") -> None:
        self._make_table()
        self.client("s3").create_bucket(Bucket=self.spec["bucket"]["name"])
        for name, queue in self.spec["queues"].items():
            pools = self.spec["pools"] if queue.get("each_pool") else [""]
            for pool in pools:
                self.queues[name] = self._make_queue(queue, queue["name"].replace("{pool}", pool))
        if functions:
            functions.make_all(self)

    def _make_table(self) -> None:
        table = self.spec["table"]
        index = table["index"]
        keys = [table["partition_key"], table["sort_key"], index["partition_key"], index["sort_key"]]
        self.client("dynamodb").create_table(
            TableName=table["name"],
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key["name"], "AttributeType": key["type"]} for key in keys],
            KeySchema=_schema(table),
            GlobalSecondaryIndexes=[
                {
                    "IndexName": index["name"],
                    "KeySchema": _schema(index),
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        )

    def _make_queue(self, queue: dict[str, Any], name: str) -> str:
        defaults = self.spec["queue_defaults"]
        suffix = defaults["dead_letter_suffix"]
        dead = name.replace(".fifo", f"{suffix}.fifo") if queue["fifo"] else f"{name}{suffix}"
        fifo = {}
        if queue["fifo"]:
            fifo = {
                "FifoQueue": "true",
                "DeduplicationScope": "messageGroup",
                "FifoThroughputLimit": "perMessageGroupId",
                "ContentBasedDeduplication": str(queue.get("content_based_deduplication", False)).lower(),
            }
        sqs = self.client("sqs")
        retention = {"MessageRetentionPeriod": str(defaults["retention_s"])}
        dead_url = sqs.create_queue(QueueName=dead, Attributes={**fifo, **retention})["QueueUrl"]
        dead_arn = sqs.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": defaults["receives_before_dead_letter"]}
        attributes = {
            **fifo,
            "MessageRetentionPeriod": str(queue.get("retention_s", defaults["retention_s"])),
            "VisibilityTimeout": str(defaults["visibility_s"]),
            "RedrivePolicy": json.dumps(redrive),
        }
        return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def arn_of(self, queue: str) -> str:
        answer = self.client("sqs").get_queue_attributes(QueueUrl=self.queues[queue], AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])


class Functions:
    """The Lambda functions: real binaries, wired by real event source mappings."""

    def __init__(self, binaries: Path, environment: dict[str, str], schedule: bool) -> None:
        self.binaries = binaries
        self.environment = environment
        self.schedule = schedule

    def make_all(self, resources: Resources) -> None:
        for name, function in resources.spec["functions"].items():
            self._make(resources, name, function)

    def _make(self, resources: Resources, name: str, function: dict[str, Any]) -> None:
        defaults = resources.spec["function_defaults"]
        lambdas = resources.client("lambda")
        made = lambdas.create_function(
            FunctionName=defaults["name"].replace("{function}", name),
            Runtime=defaults["runtime"],
            Handler="bootstrap",
            Role="arn:aws:iam::000000000000:role/local",
            Code={"ZipFile": self._zipped(function["binary"])},
            Timeout=defaults["timeout_s"],
            MemorySize=defaults["memory_mb"],
            Environment={"Variables": self.environment},
        )
        if "queue" in function:
            lambdas.create_event_source_mapping(
                EventSourceArn=resources.arn_of(function["queue"]),
                FunctionName=made["FunctionName"],
                BatchSize=function["batch_size"],
                FunctionResponseTypes=["ReportBatchItemFailures"],
            )
        if "schedule" in function and self.schedule:
            events = resources.client("events")
            rule = f"{made['FunctionName']}-schedule"
            events.put_rule(Name=rule, ScheduleExpression=function["schedule"], State="ENABLED")
            events.put_targets(Rule=rule, Targets=[{"Id": "function", "Arn": made["FunctionArn"]}])

    def _zipped(self, binary: str) -> bytes:
        path = self.binaries / binary
        if not path.exists():
            raise CannotStart(f"{path} is not there; build it with `cargo build --release`, or name --binaries")
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 1)
        return zipped.getvalue()


def _schema(keys: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"AttributeName": keys["partition_key"]["name"], "KeyType": "HASH"},
        {"AttributeName": keys["sort_key"]["name"], "KeyType": "RANGE"},
    ]
