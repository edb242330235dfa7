"""The yard's table in a DynamoDB of its own, beside a LocalStack, which has none here: MiniStack's, or Amazon's DynamoDB
Local where a user has that.

It is made by DynamoDB's own API, as DynamoDB Local has no CloudFormation.
"""

import os
import shutil
from pathlib import Path

from .ministack import MiniStack
from .server import CannotStart, Server
from .stacks import client
from .templates import Template, of_type

JAR = "DynamoDBLocal.jar"
#: Names the folder where a user who has accepted its licence has DynamoDB Local. Nothing here fetches it.
FOLDER = "PROOFYARD_DYNAMODB_LOCAL"


class DynamoDbLocal(Server):
    title = "DynamoDB-Local"

    def __init__(self, folder: Path, state: Path) -> None:
        super().__init__(0, state)
        self.folder = folder.resolve()
        if not (self.folder / JAR).is_file():
            raise CannotStart(f"{FOLDER} is {folder}, where no {JAR} is; name the folder that has it, or unset {FOLDER}")
        if shutil.which("java") is None:
            raise CannotStart(f"DynamoDB Local needs java: apt-get install default-jre-headless, or unset {FOLDER}")

    def command(self) -> list[str]:
        return [
            "java", f"-Djava.library.path={self.folder / 'DynamoDBLocal_lib'}", "-jar", str(self.folder / JAR),
            # Shared: whoever calls, with whatever credentials, finds the same table.
            "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(self.port),
        ]

    def environment(self) -> dict[str, str]:
        return {"TMPDIR": str(self.scratch)}


def database(state: Path) -> Server:
    """Not started yet."""
    folder = os.environ.get(FOLDER)
    return DynamoDbLocal(Path(folder), state) if folder else MiniStack(0, state, permissions=False)


def make_table(endpoint: str, template: Template) -> None:
    """As the template describes it, but for its key: neither database encrypts anything."""
    [wanted] = of_type(template, "AWS::DynamoDB::Table")
    taken = ("TableName", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    dynamodb = client("dynamodb", endpoint)
    client("dynamodb", endpoint, retries=0).create_table(**{name: wanted[name] for name in taken})
    dynamodb.get_waiter("table_exists").wait(TableName=wanted["TableName"], WaiterConfig={"Delay": 1})
    expiry = {"TableName": wanted["TableName"], "TimeToLiveSpecification": wanted["TimeToLiveSpecification"]}
    dynamodb.update_time_to_live(**expiry)
