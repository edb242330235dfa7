"""Everything that the shared spec describes, made in an AWS that answers at one endpoint."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from . import ministack, spec
from .ministack import CannotStart

EXISTS = {"ResourceInUseException", "BucketAlreadyOwnedByYou", "BucketAlreadyExists", "ResourceConflictException"}
#: The runtime sets these, and AWS refuses a function that brings its own.
SET_BY_RUNTIME = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"}


def client(service: str, endpoint: str) -> Any:
    session = boto3.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name=ministack.REGION
    )
    config = Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=30)
    return session.client(service, endpoint_url=endpoint, config=config)


def binary(folders: list[Path], name: str) -> Path:
    """The function's program: by its name, or as cargo-lambda leaves it."""
    for folder in folders:
        for path in (folder / name, folder / name / "bootstrap"):
            if path.is_file():
                return path
    where = " and ".join(map(str, folders))
    raise CannotStart(f"{name} is missing in {where}; build it with `cargo build --release`, or name its folder with --binaries")


class Resources:
    def __init__(self, described: dict[str, Any], endpoint: str) -> None:
        self.spec = described
        self.endpoint = endpoint
        self.sqs = client("sqs", endpoint)
        #: Of queues that are there once, by their key in the spec.
        self.queue_urls: dict[str, str] = {}

    def make(self) -> None:
        try:
            self._make_table()
            self._make_bucket()
            for key, queue in self.spec["queues"].items():
                for name in spec.queue_names(self.spec, key):
                    self.queue_urls[key] = self._make_queue(queue, name)
        except (ClientError, BotoCoreError) as error:
            raise _cannot_make(error, self.endpoint) from error

    def _make_table(self) -> None:
        table = self.spec["table"]
        index = table["index"]
        keys = [table["partition_key"], table["sort_key"], index["partition_key"], index["sort_key"]]
        tables = client("dynamodb", self.endpoint)
        tables.create_table(
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
        expiry = {"AttributeName": table["ttl_attribute"], "Enabled": True}
        tables.update_time_to_live(TableName=table["name"], TimeToLiveSpecification=expiry)

    def _make_bucket(self) -> None:
        bucket = self.spec["bucket"]
        buckets = client("s3", self.endpoint)
        buckets.create_bucket(Bucket=bucket["name"])
        rule = {
            "ID": "abort-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": bucket["abort_uploads_after_days"]},
        }
        buckets.put_bucket_lifecycle_configuration(Bucket=bucket["name"], LifecycleConfiguration={"Rules": [rule]})

    def _make_queue(self, queue: dict[str, Any], name: str) -> str:
        defaults = self.spec["queue_defaults"]
        kind = _fifo(queue) if queue["fifo"] else {}
        dead = self.sqs.create_queue(
            QueueName=spec.dead_letter_name(self.spec, name),
            Attributes={**kind, "MessageRetentionPeriod": str(defaults["retention_s"])},
        )
        redrive = {
            "deadLetterTargetArn": self._arn(dead["QueueUrl"]),
            "maxReceiveCount": defaults["receives_before_dead_letter"],
        }
        attributes = {
            **kind,
            "MessageRetentionPeriod": str(queue.get("retention_s", defaults["retention_s"])),
            "VisibilityTimeout": str(defaults["visibility_s"]),
            "RedrivePolicy": json.dumps(redrive),
        }
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def arn_of(self, queue: str) -> str:
        return self._arn(self.queue_urls[queue])

    def _arn(self, url: str) -> str:
        asked = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(asked["Attributes"]["QueueArn"])


class Functions:
    """The Lambda functions: real binaries, wired by real event source mappings."""

    def __init__(self, resources: Resources, binaries: list[Path], environment: dict[str, str]) -> None:
        self.resources = resources
        self.spec = resources.spec
        self.binaries = binaries
        self.environment = {name: value for name, value in environment.items() if name not in SET_BY_RUNTIME}
        self.lambdas = client("lambda", resources.endpoint)

    def make(self, with_schedule: bool) -> dict[str, str]:
        """Returns the URLs of those that are webhooks."""
        functions = self.spec["functions"]
        urls = {}
        try:
            # Programs are large: packing and sending them is what takes time.
            with ThreadPoolExecutor(len(functions) or 1) as threads:
                arns = dict(zip(functions, threads.map(self._make, functions.values())))
            for name, function in functions.items():
                if "queue" in function:
                    self._map(function)
                if "schedule" in function and with_schedule:
                    self._schedule(function, arns[name])
                if function.get("webhook"):
                    urls[name] = self._url(function)
        except (ClientError, BotoCoreError) as error:
            raise _cannot_make(error, self.resources.endpoint) from error
        return urls

    def _make(self, function: dict[str, Any]) -> str:
        defaults = self.spec["function_defaults"]
        made = self.lambdas.create_function(
            FunctionName=function["name"],
            Runtime=defaults["runtime"],
            Handler="bootstrap",
            Role=f"arn:aws:iam::{spec.ACCOUNT}:role/local",
            Code={"ZipFile": zipped(binary(self.binaries, function["binary"]))},
            Timeout=defaults["timeout_s"],
            MemorySize=defaults["memory_mb"],
            Environment={"Variables": self.environment},
        )
        return str(made["FunctionArn"])

    def _map(self, function: dict[str, Any]) -> None:
        self.lambdas.create_event_source_mapping(
            EventSourceArn=self.resources.arn_of(function["queue"]),
            FunctionName=function["name"],
            BatchSize=function.get("batch_size", 10),
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )

    def _schedule(self, function: dict[str, Any], arn: str) -> None:
        events = client("events", self.resources.endpoint)
        events.put_rule(Name=function["name"], ScheduleExpression=function["schedule"], State="ENABLED")
        events.put_targets(Rule=function["name"], Targets=[{"Id": "function", "Arn": arn}])

    def _url(self, function: dict[str, Any]) -> str:
        # The webhook's own signature is its authentication.
        made = self.lambdas.create_function_url_config(FunctionName=function["name"], AuthType="NONE")
        self.lambdas.add_permission(
            FunctionName=function["name"],
            StatementId="webhook",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
        return str(made["FunctionUrl"])


def zipped(program: Path) -> bytes:
    """Compressed but a little: AWS takes no more than 50 MB in one request, and nobody likes to wait."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, program.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return content.getvalue()


def _fifo(queue: dict[str, Any]) -> dict[str, str]:
    """Of high throughput, as Terraform and the CDK make them."""
    return {
        "FifoQueue": "true",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "ContentBasedDeduplication": str(queue.get("content_based_deduplication", False)).lower(),
    }


def _schema(keys: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"AttributeName": keys["partition_key"]["name"], "KeyType": "HASH"},
        {"AttributeName": keys["sort_key"]["name"], "KeyType": "RANGE"},
    ]


def _cannot_make(error: Exception, endpoint: str) -> CannotStart:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    way_out = "this yard is there already: take another --yard, or start that AWS anew" if code in EXISTS else "is that an AWS?"
    return CannotStart(f"{endpoint} refused: {error}; {way_out}")
