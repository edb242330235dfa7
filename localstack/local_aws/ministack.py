"""MiniStack: everything but AWS Batch, in one process on loopback."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import processes

PACKAGE = Path(__file__).resolve().parents[1]
PATIENCE_S = 30.0
END_PATIENCE_S = 5.0
REGION = "us-east-1"
ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class CannotStart(Exception):
    """Something is in the way; says what, and the way out."""


class MiniStack:
    def __init__(self, port: int, state: Path) -> None:
        check_port(port, "--port")
        self.port = port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = state / "ministack.log"
        self.state = state
        self.process: subprocess.Popen[bytes] | None = None
        #: Where it unpacks functions; they are large.
        self.scratch = state / "ministack"

    def start(self) -> None:
        environment = {
            **clean_environment(),
            **CREDENTIALS,
            "BIND_HOST": "127.0.0.1",
            # Also the host of each queue's URL.
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            # It gives its functions this one, whatever theirs says.
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "TMPDIR": str(self.scratch),
            # Whoever calls has the permissions of its role.
            "AUTH": "true",
        }
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        command = [sys.executable, "-m", "local_aws.permissions"]
        with self.log.open("wb") as log:
            self.process = processes.start(
                command, env=environment | {"PYTHONPATH": str(PACKAGE)}, stdout=log, stderr=log, cwd=self.state
            )
        wait_for(self.endpoint, f"see {self.log}", self.process)

    def check(self) -> None:
        if self.process and self.process.poll() is not None:
            raise CannotStart(f"MiniStack has ended; {tail(self.log)}")

    def stop(self) -> None:
        if self.process:
            processes.end_all([self.process], END_PATIENCE_S)
        shutil.rmtree(self.scratch, ignore_errors=True)


def clean_environment() -> dict[str, str]:
    """Ours, without what would send someone to another AWS or yard."""
    foreign = ("AWS_", "PROOFYARD_", "LAMBDA_", "MINISTACK_", "LOCALSTACK_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def check_port(port: int, option: str) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise CannotStart(f"port {port} cannot be used ({error}); name another with {option}, or 0 for a free one") from error


def wait_for(endpoint: str, advice: str, process: subprocess.Popen[bytes] | None = None) -> None:
    until = time.monotonic() + (PATIENCE_S if process else 0.0)
    while True:
        if process and process.poll() is not None:
            raise CannotStart(f"MiniStack ended at once; {advice}")
        try:
            urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except (urllib.error.URLError, OSError, ValueError) as error:
            if time.monotonic() >= until:
                raise CannotStart(f"nothing answers at {endpoint} ({error}); {advice}") from error
        time.sleep(0.05)


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-5:]
    return f"the end of {log}:\n" + "\n".join(lines)
