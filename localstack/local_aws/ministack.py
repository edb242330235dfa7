"""MiniStack: everything but AWS Batch."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import processes

PATIENCE_S = 30.0
REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class CannotStart(Exception):
    """Something is in the way; says what, and the way out."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def check_port(port: int, option: str) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotStart(f"port {port} cannot be used ({error.strerror}); name another with {option}") from error


def start(port: int, state: Path) -> subprocess.Popen[bytes]:
    check_port(port, "--port")
    environment = {
        **os.environ,
        **CREDENTIALS,
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "TMPDIR": str(state),
    }
    command = [str(Path(sys.executable).parent / "ministack")]
    log = (state / "ministack.log").open("wb")
    process = processes.start(command, env=environment, stdout=log, stderr=log, cwd=state)
    wait_for(f"http://127.0.0.1:{port}", process, state)
    return process


def wait_for(endpoint: str, process: subprocess.Popen[bytes], state: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise CannotStart(f"MiniStack ended at once; see {state / 'ministack.log'}")
        try:
            urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise CannotStart(f"MiniStack does not answer at {endpoint}; see {state / 'ministack.log'}")
