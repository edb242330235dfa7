"""A server of another make: one process on loopback that is started, waited for, watched, and ended."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import processes

REGION = "us-east-1"
ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class CannotStart(Exception):
    """Something is in the way; says what, and the way out."""


class Server:
    #: What people call it. Its log and its folder are called so too, in small letters.
    title: str
    #: How long it may take to answer, and from SIGTERM to SIGKILL.
    start_patience_s = 120.0
    end_patience_s = 5.0
    #: Files that its process is given open.
    handed_over: tuple[int, ...] = ()

    def __init__(self, port: int, state: Path) -> None:
        check_port(port, "--port")
        self.port = port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.state = state
        self.log = state / f"{self.title.lower()}.log"
        #: Where it unpacks what it needs; much of it is large, and goes in the end.
        self.scratch = state / self.title.lower()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Besides what this machine has."""
        raise NotImplementedError

    def start(self) -> None:
        command, environment = self.command(), clean_environment() | self.environment()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        with self.log.open("wb") as log:
            self.process = processes.start(
                command, env=environment, stdout=log, stderr=log, cwd=self.state, pass_fds=self.handed_over
            )
        until = time.monotonic() + self.start_patience_s
        while (trouble := cannot_reach(self.endpoint)) is not None:
            if self.process.poll() is not None:
                raise CannotStart(f"{self.title} ended at once; {tail(self.log)}")
            if time.monotonic() >= until:
                raise CannotStart(f"{self.title} does not answer at {self.endpoint} ({trouble}); see {self.log}")
            time.sleep(0.05)

    def check(self) -> None:
        if self.process and self.process.poll() is not None:
            raise CannotStart(f"{self.title} has ended; {tail(self.log)}")

    def stop(self) -> None:
        if self.process:
            processes.end_all([self.process], self.end_patience_s)
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
            way_out = f"name another with {option}, or 0 for a free one"
            raise CannotStart(f"port {port} cannot be used ({error}); {way_out}") from error


def check_reached(endpoint: str) -> None:
    if (trouble := cannot_reach(endpoint)) is not None:
        raise CannotStart(f"nothing answers at {endpoint} ({trouble}); start that AWS first, or leave out --endpoint")


def cannot_reach(endpoint: str) -> Exception | None:
    """Why not, if so."""
    try:
        urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=2).close()
    except urllib.error.HTTPError:
        return None
    except (urllib.error.URLError, OSError, ValueError) as error:
        return error
    return None


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-5:]
    return f"the end of {log}:\n" + "\n".join(lines)
