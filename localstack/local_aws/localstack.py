"""LocalStack as a process of this machine, without Docker: `localstack/tier` has what it needs for that."""

import socket
import subprocess
from pathlib import Path

from .server import CannotStart, Server

FOLDER = Path(__file__).resolve().parents[1]


class LocalStack(Server):
    title = "LocalStack"
    start_patience_s = 120.0
    # Asked to end, it takes half a minute; all that it has is to go anyway.
    end_patience_s = 0.0

    def __init__(self, port: int, state: Path) -> None:
        super().__init__(port, state)
        # It needs seconds until it listens. Nobody else gets the port meanwhile.
        self.socket = socket.create_server(("127.0.0.1", self.port))
        self.handed_over = (self.socket.fileno(),)

    def start(self) -> None:
        with self.socket:
            super().start()

    def command(self) -> list[str]:
        return [str(python()), str(FOLDER / "tier" / "run.py"), str(self.socket.fileno())]

    def environment(self) -> dict[str, str]:
        return {
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            # Also the host of each queue's URL.
            "LOCALSTACK_HOST": f"127.0.0.1:{self.port}",
            "SQS_ENDPOINT_STRATEGY": "path",
            "FUNCTION_LOGS": str(self.state / "functions"),
            # A mapping that found nothing looks again at once; without this it rests for seconds.
            "LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC": "0.02",
            "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC": "0.1",
            # Nothing is told to its makers, and nothing fetched.
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DNS_ADDRESS": "0",
            # All files are in its folder, also where this machine is itself a container.
            "OVERRIDE_IN_DOCKER": "0",
            "FILESYSTEM_ROOT": str(self.scratch),
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
        }


def python() -> Path:
    """Of its own environment, which is made where there is none."""
    made = subprocess.run(["bash", str(FOLDER / "venv.sh"), "tier"], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise CannotStart("LocalStack has no Python environment, for the reason above")
    return Path(made.stdout.strip()) / "bin" / "python"
