"""The stacks of a yard, deployed by CloudFormation to an AWS that answers at one endpoint."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .server import REGION, CannotStart
from .templates import Template, of_type, with_pseudo_parameters, without_tls

EXISTS = {"AlreadyExistsException", "BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
PATIENCE_S = 300.0
LOOK_S = 0.01


#: One for all clients: it reads what the SDK knows of endpoints once.
SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)


def client(service: str, endpoint: str, retries: int = 2) -> Any:
    """It waits for an answer as long as a busy machine may need. `retries=0` is for what makes something: where an answer is
    lost, what was made already would be refused as there."""
    config = Config(
        retries={"max_attempts": retries}, connect_timeout=60, read_timeout=PATIENCE_S,
        request_checksum_calculation="when_required",
    )
    return SESSION.client(service, endpoint_url=endpoint, config=config)


def binary(folders: list[Path], name: str) -> Path:
    """The function's program: by its name, or as cargo-lambda leaves it."""
    for folder in folders:
        for path in (folder / name, folder / name / "bootstrap"):
            if path.is_file():
                return path
    where = " and ".join(map(str, folders))
    raise CannotStart(f"{name} is missing in {where}; build it with `cargo build --release`, or name its folder with --binaries")


def is_known_to_ministack(resource: dict[str, Any]) -> bool:
    """MiniStack knows nothing of AWS Batch, which has a stand-in, nor of alarms over several metrics or alarms; it refuses
    a template with one of them whole."""
    kind = resource["Type"]
    several = kind == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    return not several and kind != "AWS::CloudWatch::CompositeAlarm" and not kind.startswith("AWS::Batch::")


def is_known_to_localstack(resource: dict[str, Any]) -> bool:
    """The table has a database of its own, and AWS Batch a stand-in. What else LocalStack lacks, API Gateway's second
    version, it says to have made."""
    return resource["Type"] != "AWS::DynamoDB::Table" and not resource["Type"].startswith("AWS::Batch::")


def binaries_of(functions: Template) -> list[str]:
    """What the functions of a template run."""
    return [Path(each["Code"]["S3Key"]).stem for each in of_type(functions, "AWS::Lambda::Function")]


class Stacks:
    def __init__(self, endpoint: str, is_known: Callable[[dict[str, Any]], bool]) -> None:
        self.endpoint = endpoint
        self.is_known = is_known
        self.formation = client("cloudformation", endpoint)
        self.making = client("cloudformation", endpoint, retries=0)

    def deploy(self, name: str, template: Template) -> None:
        """All of it, or an error that says what failed."""
        known = {key: each for key, each in template["Resources"].items() if self.is_known(each)}
        # What the CDK's linter was told is of no use here.
        bare = {key: each for key, each in template.items() if key != "Metadata"}
        sent = with_pseudo_parameters(without_tls({**bare, "Resources": known}))
        body = json.dumps(sent, separators=(",", ":"))
        try:
            self.making.create_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
            until = time.monotonic() + PATIENCE_S
            while (status := self._status(name)).endswith("IN_PROGRESS"):
                if time.monotonic() > until:
                    raise CannotStart(f"stack {name} is still {status} after {PATIENCE_S:.0f} s")
                time.sleep(LOOK_S)
        except (ClientError, BotoCoreError) as error:
            raise _cannot_make(error, self.endpoint) from error
        if status != "CREATE_COMPLETE":
            raise CannotStart(f"stack {name} is {status}: {self._failures(name)}; take another --yard, or start that AWS anew")

    def _status(self, name: str) -> str:
        return str(self.formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

    def _failures(self, name: str) -> str:
        events = self.formation.describe_stack_events(StackName=name)["StackEvents"]
        failed = [event for event in events if "FAILED" in event["ResourceStatus"]]
        return "; ".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed)

    def put_programs(self, functions: Template, folders: list[Path]) -> None:
        """Where the template says that the functions' programs are."""
        store = client("s3", self.endpoint)
        places = [each["Code"] for each in of_type(functions, "AWS::Lambda::Function")]
        try:
            for bucket in {place["S3Bucket"] for place in places}:
                store.create_bucket(Bucket=bucket)
            # Programs are large: packing and sending them is what takes time.
            with ThreadPoolExecutor(len(places) or 1) as threads:
                list(threads.map(lambda place: _put(store, place, folders), places))
        except (ClientError, BotoCoreError) as error:
            raise _cannot_make(error, self.endpoint) from error


def _put(store: Any, place: dict[str, str], folders: list[Path]) -> None:
    program = binary(folders, Path(place["S3Key"]).stem)
    store.put_object(Bucket=place["S3Bucket"], Key=place["S3Key"], Body=zipped(program))


def zipped(program: Path) -> bytes:
    """Not compressed: it stays on this machine, and nobody likes to wait."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, program.read_bytes())
    return content.getvalue()


def _cannot_make(error: Exception, endpoint: str) -> CannotStart:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    way_out = "this yard is there already: take another --yard, or start that AWS anew" if code in EXISTS else "is that an AWS?"
    return CannotStart(f"{endpoint} refused: {error}; {way_out}")
