"""Processes that end with whoever started them, however that ends."""

import ctypes
import os
import signal
import subprocess
from typing import Any

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a process group of its own that the kernel kills with the thread that called this, which must stay."""
    return subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent, **options)


def end(process: subprocess.Popen[bytes], sign: int = signal.SIGTERM, patience_s: float = 5.0) -> None:
    """Ends the whole group: asked first, then killed."""
    for number in (sign, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
