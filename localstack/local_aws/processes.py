"""Processes that end with whoever started them, however that ends. Linux alone can do this.

Two processes watch each other: the first does nothing but wait for the second, which does the work. Both adopt what
their descendants leave behind, so whichever is killed, the other one finds and ends all that is left.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 0.1
_libc = ctypes.CDLL(None)
_started: set[int] = set()
_stopped = False


class Stopped(BaseException):
    """SIGINT or SIGTERM came; no `except Exception` may take it."""


def watched(work: Callable[[], int]) -> int:
    """Does the work in a second process, and leaves nothing behind."""
    if sys.platform != "linux":
        raise SystemExit("error: the local AWS runs on Linux alone; elsewhere run it in a virtual machine")
    first = os.getpid()
    # Who starts it with `setsid` wants it to stay.
    parent = os.getppid() if os.getsid(0) != first else None
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    second = os.fork()
    if second == 0:
        os._exit(_second(work, first))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _kill(second, signal.SIGTERM))
    try:
        return _wait(second, parent)
    finally:
        end_descendants()


def _wait(second: int, parent: int | None) -> int:
    asked = False
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == second:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
        # Who wanted this local AWS is gone. Asked for, as the kernel's own signal comes when a thread ends too.
        if parent is not None and os.getppid() != parent and not asked:
            asked = True
            _kill(second, signal.SIGTERM)
        if ended == 0:
            time.sleep(LOOK_S)


def _second(work: Callable[[], int], first: int) -> int:
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    code = 1
    try:
        if os.getppid() == first:
            code = work()
    except Stopped:
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        end_descendants()
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def stop_when_stdin_ends() -> None:
    def read() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=read, name="stdin", daemon=True).start()


def _stop(*_: Any) -> None:
    # A terminal tells both processes, and the first tells the second again: one is enough, and more would break its end.
    global _stopped
    if not _stopped:
        _stopped = True
        raise Stopped


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a process group of its own. The kernel kills its first process with the thread that calls this."""
    process = subprocess.Popen(
        command, start_new_session=True, preexec_fn=_die_with_parent, stdin=subprocess.DEVNULL, **options
    )
    _started.add(process.pid)
    return process


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_all(processes: list[subprocess.Popen[bytes]], patience_s: float) -> None:
    """Asks them all to end, and kills the groups of all when that has taken long enough."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    until = time.monotonic() + patience_s
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        kill_group(process)
        process.wait()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def end_descendants() -> None:
    """Kills all children; theirs become ours, and are next."""
    while True:
        for pid in _children():
            _kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def bury_adopted() -> None:
    """Takes note that those ended which others left behind; whoever calls `start` does so for its own."""
    children = _children()
    _started.intersection_update(children)
    for pid in set(children) - _started:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def _children() -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                # The program's name, in brackets, may hold anything.
                parent = stat.read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.append(int(pid))
    return found


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
