"""The stand-in's REST API, on loopback. `/local/...` is what tests have and AWS has not."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .jobs import ClientError, Definition, Shape, arn, bare
from .runner import Runner

MAX_BODY_BYTES = 1 << 20
IDLE_S = 60.0


class Service:
    """Has its port at once, and answers when it is started."""

    def __init__(self, runner: Runner, port: int) -> None:
        self.runner = runner
        self.server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"runner": runner}))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, name="batch", daemon=True)

    def start(self) -> None:
        self.runner.start()
        self.thread.start()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.server.shutdown()
        self.server.server_close()
        self.runner.stop()


class _Handler(BaseHTTPRequestHandler):
    runner: Runner
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    # An answer's head and body are two writes; without this the second waits for the first one's receipt.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # noqa: N802, the base class names it
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413, {"message": f"{MAX_BODY_BYTES} bytes are the most"}, "ClientException")
            return
        body = self.rfile.read(length)
        try:
            self._answer(200, answer(self.runner, self.path, json.loads(body or b"{}")))
        except ClientError as error:
            self._answer(400, {"message": str(error)}, "ClientException")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            told = {"message": f"the request's form is wrong: {type(error).__name__}: {error}"}
            self._answer(400, told, "ClientException")

    def _answer(self, status: int, shape: Shape, error: str = "") -> None:
        content = json.dumps(shape).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if error:
            self.send_header("x-amzn-errortype", error)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nobody reads a line for each request."""


def answer(runner: Runner, path: str, body: Shape) -> Shape:
    match path:
        case "/v1/registerjobdefinition":
            made = runner.register(body)
            return {"jobDefinitionName": made.name, "jobDefinitionArn": made.arn, "revision": made.revision}
        case "/v1/describejobdefinitions":
            return {"jobDefinitions": [definition.shown() for definition in _definitions(runner, body)]}
        case "/v1/describejobqueues":
            return {"jobQueues": _queues(runner, body)}
        case "/v1/submitjob":
            job = runner.submit(body)
            return {"jobArn": job.arn, "jobName": job.name, "jobId": job.id}
        case "/v1/describejobs":
            return {"jobs": runner.describe(body["jobs"])}
        case "/v1/listjobs":
            return runner.listed(body)
        case "/v1/terminatejob":
            runner.terminate(body["jobId"], body["reason"])
        case "/v1/canceljob":
            runner.cancel(body["jobId"], body["reason"])
        case "/local/spot-reclaim":
            runner.spot_reclaim(body["jobId"])
        case "/local/say-failed":
            runner.say_failed(body["jobId"])
        case _:
            raise ClientError(f"{path}: the stand-in for AWS Batch does not have this")
    return {}


def _definitions(runner: Runner, body: Shape) -> list[Definition]:
    with runner.lock:
        found = [definition for revisions in runner.definitions.values() for definition in revisions]
    if body.get("jobDefinitionName"):
        return [definition for definition in found if definition.name == body["jobDefinitionName"]]
    if body.get("jobDefinitions"):
        wanted = {bare(named) for named in body["jobDefinitions"]}
        return [definition for definition in found if {definition.name, f"{definition.name}:{definition.revision}"} & wanted]
    return found


def _queues(runner: Runner, body: Shape) -> list[Shape]:
    wanted = {bare(named) for named in body.get("jobQueues") or runner.limits}
    return [
        {
            "jobQueueName": name,
            "jobQueueArn": arn("job-queue", name),
            "state": "ENABLED",
            "status": "VALID",
            "priority": 1,
            "computeEnvironmentOrder": [],
        }
        for name in runner.limits
        if name in wanted
    ]
