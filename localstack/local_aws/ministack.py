"""MiniStack: everything but AWS Batch, in one process on loopback."""

import sys
from pathlib import Path

from .server import CREDENTIALS, REGION, Server

PACKAGE = Path(__file__).resolve().parents[1]


class MiniStack(Server):
    title = "MiniStack"

    def __init__(self, port: int, state: Path, permissions: bool = True) -> None:
        super().__init__(port, state)
        #: Whoever calls has the permissions of its role.
        self.permissions = permissions

    def command(self) -> list[str]:
        return [sys.executable, "-m", "local_aws.permissions"]

    def environment(self) -> dict[str, str]:
        return {
            **CREDENTIALS,
            "PYTHONPATH": str(PACKAGE),
            "BIND_HOST": "127.0.0.1",
            # Also the host of each queue's URL.
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            # It gives its functions this one, whatever theirs says.
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "TMPDIR": str(self.scratch),
            "AUTH": str(self.permissions).lower(),
        }
