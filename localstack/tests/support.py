"""What the tests share: a local AWS of their own, and waiting for what comes soon."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from local_aws.stacks import client

FOLDER = Path(__file__).resolve().parents[1]
PATIENCE_S = 300.0
YARD = "test"
QUEUE = f"proofyard-{YARD}-cpu"
T = TypeVar("T")


def soon(look: Callable[[], T]) -> T:
    """What `look` finds as soon as that is something."""
    until = time.monotonic() + PATIENCE_S
    while not (found := look()):
        if time.monotonic() > until:
            raise AssertionError(f"in vain for {PATIENCE_S} s")
        time.sleep(0.02)
    return found


def command(*arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "local_aws", "--yard", YARD, "--port", "0", "--batch-port", "0", "--no-functions", *arguments,
    ]


def with_functions(arguments: list[str]) -> list[str]:
    return [part for part in arguments if part != "--no-functions"]


def need_localstack() -> None:
    """Makes LocalStack's environment; skips the test where there is no Python for it."""
    made = subprocess.run(["bash", str(FOLDER / "venv.sh"), "tier"], stdout=subprocess.DEVNULL)
    if made.returncode == 3:
        print("SKIPPED: a test with LocalStack, for the reason above", file=sys.stderr)
        raise unittest.SkipTest("no Python 3.13")
    made.check_returncode()


class Local:
    """Runs the command, `before` in front of it, and knows its processes by a mark in their environment, or its folder."""

    def __init__(self, *arguments: str, before: tuple[str, ...] = (), functions: bool = False) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="local-aws-test-")
        self.state = Path(self.folder.name)
        self.mark = f"LOCAL_AWS_TEST={uuid.uuid4()}".encode()
        name, _, value = self.mark.decode().partition("=")
        wanted = command("--state", str(self.state), "--grace", "1", *arguments)
        self.process = subprocess.Popen(
            [*before, *(with_functions(wanted) if functions else wanted)],
            env={**os.environ, name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout and self.process.stderr
        self.ready = self.process.stdout.readline()
        if not self.ready.startswith("ready: "):
            raise AssertionError(f"not ready: {self.ready}{self.process.stderr.read()}")
        text = (self.state / "env").read_text()
        self.environment = dict(re.findall(r"^export (\w+)='?(.*?)'?$", text, re.MULTILINE))
        self.batch = client("batch", self.environment["AWS_ENDPOINT_URL_BATCH"])
        self.sqs = client("sqs", self.environment["AWS_ENDPOINT_URL"])

    def alive(self) -> list[int]:
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self._is_ours(int(pid))]

    def _is_ours(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        # What LocalStack runs has only the folder.
        return self.mark in environment.split(b"\0") or os.fsencode(self.state) in environment

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout and self.process.stderr
        self.process.stdout.close()
        self.process.stderr.close()
        self.folder.cleanup()

    def submit(self, script: str, **wanted: Any) -> str:
        """A job that runs a line of shell."""
        overrides = {"command": ["sh", "-c", script], **wanted.pop("overrides", {})}
        wanted = {"jobName": "job", "jobQueue": QUEUE, "jobDefinition": QUEUE, "shareIdentifier": "burst", **wanted}
        return str(self.batch.submit_job(containerOverrides=overrides, **wanted)["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.batch.describe_jobs(jobs=[job_id])["jobs"][0])

    def until(self, job_id: str, *states: str) -> dict[str, Any]:
        return soon(lambda: (job := self.job(job_id))["status"] in states and job or {})

    def until_over(self, job_id: str) -> dict[str, Any]:
        return self.until(job_id, "SUCCEEDED", "FAILED")

    def log(self, job_id: str, attempt: int = 1) -> str:
        return (self.state / "jobs" / job_id.replace(":", "-") / str(attempt) / "log").read_text()

    def control(self, what: str, job_id: str) -> None:
        request = urllib.request.Request(
            f"{self.environment['AWS_ENDPOINT_URL_BATCH']}/local/{what}", json.dumps({"jobId": job_id}).encode()
        )
        urllib.request.urlopen(request).close()
