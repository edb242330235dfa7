"""However the local AWS ends, nothing of it survives."""

import json
import os
import signal
import sys
import tempfile
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_aws import templates
from local_aws.stacks import binaries_of, client
from support import PATIENCE_S, YARD, Local, need_localstack, soon

# Each does what a process can to stay: ignores the signal, leaves its group, leaves its parent.
STUBBORN = "trap '' TERM; setsid sleep 300 & sleep 301 & while true; do sleep 0.1; done"

# Takes an event, and is never done with it.
FUNCTION = f"""#!{sys.executable}
import os, time, urllib.request
urllib.request.urlopen("http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/next")
time.sleep(300)
"""


class Ends(unittest.TestCase):
    def test_nothing_survives_sigterm(self) -> None:
        self._check(lambda local: local.process.terminate())

    def test_nothing_survives_the_kill_of_the_starter(self) -> None:
        self._check(lambda local: local.process.kill())

    def test_nothing_survives_the_kill_of_the_process_that_does_the_work(self) -> None:
        self._check(lambda local: os.kill(_child_of(local.process.pid), signal.SIGKILL))

    def test_nothing_survives_the_kill_of_its_parent(self) -> None:
        self._check(lambda local: local.process.kill(), before=("sh", "-c", '"$@" & wait', "sh"))

    def test_nothing_survives_the_end_of_its_input(self) -> None:
        read, write = os.pipe()
        kept = os.dup(0)
        os.dup2(read, 0)
        try:
            local = Local("--until-stdin-ends")
        finally:
            os.dup2(kept, 0)
            os.close(kept)
            os.close(read)
        os.close(write)
        soon(lambda: not local.alive())
        local.close()

    def test_two_localstacks_run_side_by_side_and_each_ends_alone(self) -> None:
        need_localstack()
        with tempfile.TemporaryDirectory() as folder:
            for name in binaries_of(templates.load(YARD, "functions")):
                (Path(folder) / name).write_text(FUNCTION)
                (Path(folder) / name).chmod(0o755)
            with ThreadPoolExecutor() as threads:
                start = [threads.submit(Local, "--on", "localstack", "--binaries", folder, functions=True) for _ in range(2)]
                both = [each.result() for each in start]
        for local in both:
            self.addCleanup(local.close)
        for local in both:
            event = json.dumps({}).encode()
            functions = client("lambda", local.environment["AWS_ENDPOINT_URL"])
            functions.invoke(FunctionName=f"proofyard-{YARD}-ingest", InvocationType="Event", Payload=event)
            soon(lambda local=local: list((local.state / "functions").glob("*-ingest-*")))
        killed, other = both
        killed.process.kill()
        killed.process.wait(PATIENCE_S)
        soon(lambda: not killed.alive())
        other.sqs.list_queues()
        self.assertGreaterEqual(len(other.alive()), 5)
        os.kill(_child_of(other.process.pid), signal.SIGKILL)
        other.process.wait(PATIENCE_S)
        soon(lambda: not other.alive())

    def _check(self, end: Callable[[Local], None], before: tuple[str, ...] = ()) -> None:
        local = Local(before=before)
        try:
            local.until(local.submit(STUBBORN), "RUNNING")
            soon(lambda: len(local.alive()) >= 6)
            end(local)
            local.process.wait(PATIENCE_S)
            soon(lambda: not local.alive())
        finally:
            local.close()


def _child_of(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return int(children.read().split()[0])
