"""Functions of LocalStack as processes of this machine: each is spoken to as AWS's runtime API speaks to `provided.al2023`.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. LocalStack decides when a process is started, what it is
asked, and when it goes; one that ended, or took too long, is started anew for the next event.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

API = "/2018-06-01/runtime/"
LOOPBACK = "127.0.0.1"
#: From a process's start to its first request for an event, as AWS has it.
INIT_S = 10.0
LOOK_S = 0.05
#: What a function finds of this machine's environment.
KEPT = ("PATH", "HOME", "TMPDIR")


class RuntimeApi(ThreadingHTTPServer):
    """For one process: hands it events, and takes its answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.asked = threading.Event()
        #: None: no more will come.
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        #: Body, and whether it is an error.
        self.answers: queue.Queue[tuple[bytes, bool]] = queue.Queue()
        threading.Thread(target=self.serve_forever, args=(LOOK_S,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Who is killed lets go of its connection.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        self.events.put(None)
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"
    # An answer's head and body are two writes; without this the second waits for the first one's receipt.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # noqa: N802, the base class names it
        self.server.asked.set()
        event = self.server.events.get()
        if event is None:
            self.close_connection = True
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": event["invoke-id"],
            "Lambda-Runtime-Invoked-Function-Arn": event["invoked-function-arn"],
            "Lambda-Runtime-Trace-Id": event["trace-id"],
            "Lambda-Runtime-Deadline-Ms": str(event["deadline-ms"]),
        }
        self._answer(200, event["payload"].encode(), headers)

    def do_POST(self) -> None:  # noqa: N802, the base class names it
        # `invocation/ID/response`, `invocation/ID/error` or `init/error`.
        failed = self.path.removeprefix(API).endswith("/error")
        self.server.answers.put((self._body(), failed))
        self._answer(202, b'{"status":"OK"}', {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads a line for each request."""


class ProcessExecutor(RuntimeExecutor):
    """One environment of a function, as Lambda has it: a process that takes one event after the other."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id, function_version)
        self.log = Path(os.environ["FUNCTION_LOGS"]) / f"{function_version.id.function_name}-{id[:8]}.log"
        self.own: dict[str, str] = {}
        self.api: RuntimeApi | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, env_vars: dict[str, Any]) -> None:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.own = kept | {name: str(value) for name, value in env_vars.items()}
        self._begin()

    def invoke(self, payload: dict[str, Any]) -> InvocationResult:
        request = payload["invoke-id"]
        seconds = self.function_version.config.timeout
        if self.process is None or self.process.poll() is not None:
            self._end()
            self._begin()
        assert self.api
        logged = self.log.stat().st_size
        self.api.events.put({**payload, "deadline-ms": int((time.time() + seconds) * 1000)})
        answer = self._answer_within(seconds)
        if answer is None:
            ended = self._end()
            if ended is None:
                answer = _failure("Sandbox.Timedout", request, f"Task timed out after {seconds:.2f} seconds")
            else:
                answer = _failure("Runtime.ExitError", request, f"Runtime exited with error: exit status {ended}")
        body, failed = answer
        return InvocationResult(request, body, is_error=failed, logs=self._logs(logged))

    def stop(self) -> None:
        self._end()

    def _begin(self) -> None:
        folder = self.function_version.config.code.get_unzipped_code_location()
        self.api = RuntimeApi()
        environment = {
            **self.own, "LAMBDA_TASK_ROOT": str(folder), "AWS_LAMBDA_RUNTIME_API": f"{LOOPBACK}:{self.api.server_port}",
        }
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            # In LocalStack's process group: it ends with it.
            self.process = subprocess.Popen(
                [folder / "bootstrap"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if not self._waits(INIT_S, self.api.asked.wait):
            raise RuntimeError(f"the function ended or did not ask for an event within {INIT_S:.0f} s; see {self.log}")

    def _answer_within(self, seconds: float) -> tuple[bytes, bool] | None:
        assert self.api
        answers = self.api.answers

        def look(patience_s: float) -> tuple[bytes, bool] | None:
            try:
                return answers.get(timeout=patience_s)
            except queue.Empty:
                return None

        return self._waits(seconds, look)

    def _waits(self, seconds: float, look: Any) -> Any:
        """What `look(seconds)` finds in time, or None, also where the process ends."""
        assert self.process
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # Seen before the last look, which may find what it left.
            ended = self.process.poll() is not None
            if (found := look(LOOK_S)) or ended:
                return found
        return None

    def _end(self) -> int | None:
        """Answers with what the process had ended already, if it had."""
        ended = self.process.poll() if self.process else None
        if self.process:
            self.process.kill()
            self.process.wait()
        if self.api:
            self.api.close()
        self.process, self.api = None, None
        return ended

    def _logs(self, begin: int) -> str:
        with self.log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    # What LocalStack also asks of an executor, for those in containers.

    def get_logs(self) -> str:
        return self._logs(0) if self.log.exists() else ""

    def get_address(self) -> str:
        return LOOPBACK

    def get_endpoint_from_executor(self) -> str:
        return LOOPBACK

    def get_runtime_endpoint(self) -> str:
        return f"http://{LOOPBACK}"

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """What was unpacked goes with LocalStack's folder."""


def _failure(kind: str, request: str, message: str) -> tuple[bytes, bool]:
    return json.dumps({"errorType": kind, "errorMessage": f"RequestId: {request} Error: {message}"}).encode(), True
