"""However the local AWS ends, nothing of it survives."""

import os
import signal
import unittest
from collections.abc import Callable

from support import PATIENCE_S, Local, soon

# Each does what a process can to stay: ignores the signal, leaves its group, leaves its parent.
STUBBORN = "trap '' TERM; setsid sleep 300 & sleep 301 & while true; do sleep 0.1; done"


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
