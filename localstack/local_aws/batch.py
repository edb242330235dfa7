"""A stand-in for AWS Batch: its REST API as far as a yard needs it, and jobs as processes of this machine.

One thread owns all jobs: it starts them, sees them end, and moves their states, each change of which is told as
EventBridge would tell it. Requests only note what is wanted. The API's shapes are those of
https://docs.aws.amazon.com/batch/latest/APIReference/.
"""

import fnmatch
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import processes
from .ministack import REGION
from .spec import ACCOUNT

LOOK_S = 0.02
#: Between SIGTERM and SIGKILL, as Batch has it.
GRACE_S = 30.0
KEPT_S = 24 * 3600
MAX_JOBS = 10_000
MAX_BODY_BYTES = 1 << 20
MAX_ARRAY = 10_000
OVER = ("SUCCEEDED", "FAILED")
STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", *OVER)


class ClientError(Exception):
    """What the API answers with 400 and ClientException."""


@dataclass
class Job:
    id: str
    name: str
    queue: str
    definition: str
    command: list[str]
    environment: dict[str, str]
    retry: dict[str, Any]
    timeout_s: int | None
    depends_on: list[dict[str, str]]
    created_ms: int
    array_index: int | None = None
    children: list[str] = field(default_factory=list)
    array_size: int = 0
    state: str = ""
    reason: str = ""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    started_ms: int = 0
    attempt_started_ms: int = 0
    stopped_ms: int = 0
    #: Why it is being ended, since when.
    ending: str = ""
    ending_since: float = 0.0
    #: The machine "vanished": tells a spot reclaim from an exit.
    reclaimed: bool = False
    #: Its state is a lie: the process lives.
    lies: bool = False

    @property
    def arn(self) -> str:
        return f"arn:aws:batch:{REGION}:{ACCOUNT}:job/{self.id}"

    @property
    def over(self) -> bool:
        return self.state in OVER

    def detail(self) -> dict[str, Any]:
        container: dict[str, Any] = {
            "command": self.command,
            "environment": [{"name": name, "value": value} for name, value in self.environment.items()],
        }
        if self.attempts:
            container |= self.attempts[-1]["container"]
        detail: dict[str, Any] = {
            "jobArn": self.arn,
            "jobName": self.name,
            "jobId": self.id,
            "jobQueue": f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/{self.queue}",
            "status": self.state,
            "attempts": self.attempts,
            "createdAt": self.created_ms,
            "dependsOn": self.depends_on,
            "jobDefinition": f"arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/{self.definition}",
            "container": container,
            "retryStrategy": self.retry,
            "parameters": {},
        }
        if self.timeout_s:
            detail["timeout"] = {"attemptDurationSeconds": self.timeout_s}
        if self.reason:
            detail["statusReason"] = self.reason
        if self.started_ms:
            detail["startedAt"] = self.started_ms
        if self.stopped_ms:
            detail["stoppedAt"] = self.stopped_ms
        if self.array_size:
            detail["arrayProperties"] = {"size": self.array_size}
        if self.array_index is not None:
            detail["arrayProperties"] = {"index": self.array_index}
        return detail


class QueueOfChanges:
    """Tells state changes as an EventBridge rule does that has a FIFO queue for its target."""

    def __init__(self, sqs: Any, url: str) -> None:
        self.sqs = sqs
        self.url = url

    def tell(self, job: Job) -> None:
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Batch Job State Change",
            "source": "aws.batch",
            "account": ACCOUNT,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [job.arn],
            "detail": job.detail(),
        }
        try:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(event), MessageGroupId="batch")
        except Exception as error:  # What is told is a hint; whoever misses it finds out later.
            print(f"a change of job {job.id} was not told: {error}", flush=True)


class Runner:
    def __init__(self, folder: Path, environment: dict[str, str], changes: Any, grace_s: float = GRACE_S) -> None:
        self.folder = folder
        self.environment = environment
        self.changes = changes
        self.grace_s = grace_s
        self.lock = threading.RLock()
        self.queues: dict[str, int] = {}
        self.definitions: dict[str, list[dict[str, Any]]] = {}
        self.jobs: dict[str, Job] = {}
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        folder.mkdir(parents=True, exist_ok=True)

    # What is asked of it

    def queue(self, name: str, max_running: int) -> None:
        self.queues[name] = max_running

    def register(self, definition: dict[str, Any]) -> dict[str, Any]:
        name = definition.get("jobDefinitionName")
        if not name or definition.get("type") != "container" or not definition.get("containerProperties"):
            raise ClientError("jobDefinitionName, type container and containerProperties are needed")
        with self.lock:
            revisions = self.definitions.setdefault(name, [])
            revisions.append(definition)
            revision = len(revisions)
        arn = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/{name}:{revision}"
        return {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}

    def submit(self, wanted: dict[str, Any]) -> dict[str, Any]:
        queue = str(wanted.get("jobQueue", "")).rsplit("/", 1)[-1]
        if queue not in self.queues:
            raise ClientError(f"JobQueue {queue} is not found; there are: {', '.join(self.queues)}")
        name, definition = self._definition(str(wanted.get("jobDefinition", "")))
        size = int(wanted.get("arrayProperties", {}).get("size", 0))
        if size and not 2 <= size <= MAX_ARRAY:
            raise ClientError(f"an array has from 2 to {MAX_ARRAY} jobs, not {size}")
        with self.lock:
            if len(self.jobs) + size >= MAX_JOBS:
                self._forget(all_over=True)
            if len(self.jobs) + size >= MAX_JOBS:
                raise ClientError(f"{MAX_JOBS} jobs are the most that are kept")
            for other in wanted.get("dependsOn", []):
                if "jobId" in other and other["jobId"] not in self.jobs:
                    raise ClientError(f"dependsOn names job {other['jobId']}, which is not known")
            job = self._job(wanted, queue, name, definition)
            job.array_size = size
            self.jobs[job.id] = job
            for index in range(size):
                child = self._job(wanted, queue, name, definition)
                child.id, child.array_index = f"{job.id}:{index}", index
                child.depends_on = self._child_depends(wanted, job, index)
                job.children.append(child.id)
                self.jobs[child.id] = child
            for each in [job, *(self.jobs[child] for child in job.children)]:
                self._move(each, "SUBMITTED")
        return {"jobArn": job.arn, "jobName": job.name, "jobId": job.id}

    def describe(self, ids: list[str]) -> list[dict[str, Any]]:
        with self.lock:
            return [self.jobs[job].detail() for job in ids if job in self.jobs]

    def listed(self, wanted: dict[str, Any]) -> dict[str, Any]:
        queue = str(wanted.get("jobQueue", "")).rsplit("/", 1)[-1]
        parent, filters = wanted.get("arrayJobId"), wanted.get("filters", [])
        state = wanted.get("jobStatus", "RUNNING")
        if state not in STATES:
            raise ClientError(f"jobStatus {state} is none of {', '.join(STATES)}")
        names = [name for each in filters if each.get("name") == "JOB_NAME" for name in each.get("values", [])]
        with self.lock:
            found = [
                job
                for job in self.jobs.values()
                if (job.id in self.jobs[parent].children if parent in self.jobs else job.array_index is None)
                and (parent or job.queue == queue)
                and (any(fnmatch.fnmatchcase(job.name, name) for name in names) if names else job.state == state)
            ]
        begin = int(wanted.get("nextToken", 0))
        end = begin + int(wanted.get("maxResults", 100))
        keys = ("jobArn", "jobId", "jobName", "createdAt", "status", "statusReason", "startedAt", "stoppedAt")
        details = [job.detail() for job in found[begin:end]]
        page = [{key: detail[key] for key in keys if key in detail} for detail in details]
        return {"jobSummaryList": page, **({"nextToken": str(end)} if end < len(found) else {})}

    def terminate(self, job_id: str, reason: str, only_waiting: bool = False) -> None:
        with self.lock:
            job = self.jobs.get(job_id)
            if job is None:
                raise ClientError(f"job {job_id} is not known")
            for each in [job, *(self.jobs[child] for child in job.children)]:
                if each.over or (only_waiting and each.process):
                    continue
                if each.process:
                    self._end(each, reason)
                elif not each.children:
                    self._finish(each, "FAILED", reason)

    def spot_reclaim(self, job_id: str) -> None:
        """The machine vanishes: nobody is asked."""
        with self.lock:
            job = self.jobs.get(job_id)
            if job is None or job.process is None:
                raise ClientError(f"job {job_id} does not run")
            job.reclaimed = True
            os.killpg(job.process.pid, signal.SIGKILL)

    def say_failed(self, job_id: str) -> None:
        """A state that lies: the process lives on."""
        with self.lock:
            job = self.jobs.get(job_id)
            if job is None or job.process is None:
                raise ClientError(f"job {job_id} does not run")
            job.lies = True
            self._finish(job, "FAILED", "Host EC2 (instance i-0) terminated.")

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()

    # What its one thread does

    def _run(self) -> None:
        while not self.stopped.wait(LOOK_S):
            with self.lock:
                for job in list(self.jobs.values()):
                    self._look(job)
                self._forget(all_over=False)
        with self.lock:
            for job in self.jobs.values():
                if job.process:
                    processes.end(job.process, patience_s=min(self.grace_s, 5.0))

    def _look(self, job: Job) -> None:
        if job.children:
            self._look_at_array(job)
        elif job.state == "SUBMITTED":
            self._move(job, "PENDING" if job.depends_on else "RUNNABLE")
        elif job.state == "PENDING":
            self._look_at_dependencies(job)
        elif job.state == "RUNNABLE":
            running = sum(other.queue == job.queue and other.state == "RUNNING" for other in self.jobs.values())
            if running < self.queues[job.queue]:
                self._start(job)
        elif job.process:
            self._look_at_process(job)

    def _look_at_array(self, job: Job) -> None:
        children = [self.jobs[child] for child in job.children if child in self.jobs]
        if job.state == "SUBMITTED":
            self._move(job, "PENDING")
        if not job.over and all(child.over for child in children):
            failed = sum(child.state == "FAILED" for child in children)
            self._finish(job, "FAILED" if failed else "SUCCEEDED", "Array Child Job FAILED" if failed else "")

    def _look_at_dependencies(self, job: Job) -> None:
        others = [self.jobs[other["jobId"]] for other in job.depends_on if other.get("jobId") in self.jobs]
        if any(other.state == "FAILED" for other in others):
            self._finish(job, "FAILED", "Dependent Job failed")
        elif all(other.state == "SUCCEEDED" for other in others):
            self._move(job, "RUNNABLE")

    def _start(self, job: Job) -> None:
        self._move(job, "STARTING")
        attempt = len(job.attempts) + 1
        folder = self.folder / f"{job.id.replace(':', '-')}-{attempt}"
        folder.mkdir(parents=True)
        environment = {
            **os.environ,
            **self.environment,
            **job.environment,
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(attempt),
            "AWS_BATCH_JQ_NAME": job.queue,
        }
        if job.array_index is not None:
            environment["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.array_index)
        job.attempt_started_ms = _now_ms()
        job.started_ms = job.started_ms or job.attempt_started_ms
        with (folder / "log").open("wb") as log:
            try:
                job.process = processes.start(job.command, env=environment, cwd=folder, stdout=log, stderr=log)
            except OSError as error:
                self._attempt_over(job, None, f"CannotStartContainerError: {error}")
                return
        self._move(job, "RUNNING")

    def _look_at_process(self, job: Job) -> None:
        assert job.process
        code = job.process.poll()
        if code is None:
            late_ms = _now_ms() - job.attempt_started_ms
            if not job.ending and job.timeout_s and late_ms > job.timeout_s * 1000:
                self._end(job, "Job attempt duration exceeded timeout")
            if job.ending and time.monotonic() - job.ending_since > self.grace_s:
                os.killpg(job.process.pid, signal.SIGKILL)
            return
        # What it left behind goes with its container.
        try:
            os.killpg(job.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        job.process = None
        if job.lies:
            return
        self._attempt_over(job, code if code >= 0 else 128 - code, job.ending or None)

    def _end(self, job: Job, reason: str) -> None:
        assert job.process
        job.ending, job.ending_since = reason, time.monotonic()
        os.killpg(job.process.pid, signal.SIGTERM)

    def _attempt_over(self, job: Job, code: int | None, why: str | None) -> None:
        reason = why or ("Host EC2 (instance i-0) terminated." if job.reclaimed else "Essential container in task exited")
        container: dict[str, Any] = {} if code is None or job.reclaimed else {"exitCode": code}
        if why:
            container["reason"] = why
        attempt = {
            "container": container,
            "startedAt": job.attempt_started_ms,
            "stoppedAt": _now_ms(),
            "statusReason": reason,
        }
        job.attempts.append(attempt)
        if code == 0 and not job.ending:
            self._finish(job, "SUCCEEDED", reason)
        elif not job.ending and self._may_retry(job, code, reason, container.get("reason", "")):
            job.reclaimed = False
            self._move(job, "RUNNABLE")
        else:
            self._finish(job, "FAILED", reason)

    def _may_retry(self, job: Job, code: int | None, status_reason: str, reason: str) -> bool:
        if len(job.attempts) >= int(job.retry.get("attempts", 1)):
            return False
        for rule in job.retry.get("evaluateOnExit", []):
            wanted = (
                (rule.get("onStatusReason"), status_reason),
                (rule.get("onReason"), reason),
                (rule.get("onExitCode"), "" if code is None else str(code)),
            )
            if all(pattern is None or fnmatch.fnmatchcase(value, pattern) for pattern, value in wanted):
                return str(rule.get("action", "")).upper() == "RETRY"
        return True

    def _finish(self, job: Job, state: str, reason: str) -> None:
        job.stopped_ms, job.reason = _now_ms(), reason
        self._move(job, state)

    def _move(self, job: Job, state: str) -> None:
        job.state = state
        self.changes.tell(job)

    def _forget(self, all_over: bool) -> None:
        before = _now_ms() - KEPT_S * 1000
        old = [job.id for job in self.jobs.values() if job.over and not job.process and (all_over or job.stopped_ms < before)]
        for job_id in old:
            del self.jobs[job_id]

    # Reading what is wanted

    def _definition(self, named: str) -> tuple[str, dict[str, Any]]:
        bare = named.rsplit("/", 1)[-1]
        name, _, revision = bare.partition(":")
        revisions = self.definitions.get(name, [])
        number = int(revision) if revision.isdigit() else len(revisions)
        if not 1 <= number <= len(revisions):
            raise ClientError(f"JobDefinition {named} is not found; register it first")
        return f"{name}:{number}", revisions[number - 1]

    def _job(self, wanted: dict[str, Any], queue: str, name: str, definition: dict[str, Any]) -> Job:
        container, over = definition["containerProperties"], wanted.get("containerOverrides", {})
        environment = [*container.get("environment", []), *over.get("environment", [])]
        timeout = wanted.get("timeout") or definition.get("timeout") or {}
        return Job(
            id=str(uuid.uuid4()),
            name=str(wanted.get("jobName", "")),
            queue=queue,
            definition=name,
            command=[str(part) for part in over.get("command") or container.get("command", [])],
            environment={entry["name"]: entry["value"] for entry in environment},
            retry=wanted.get("retryStrategy") or definition.get("retryStrategy") or {"attempts": 1},
            timeout_s=timeout.get("attemptDurationSeconds"),
            depends_on=[other for other in wanted.get("dependsOn", []) if "jobId" in other],
            created_ms=_now_ms(),
        )

    def _child_depends(self, wanted: dict[str, Any], job: Job, index: int) -> list[dict[str, str]]:
        depends = []
        for other in wanted.get("dependsOn", []):
            if other.get("type") == "SEQUENTIAL":
                if index:
                    depends.append({"jobId": f"{job.id}:{index - 1}"})
            elif other.get("type") == "N_TO_N":
                depends.append({"jobId": f"{other['jobId']}:{index}"})
            else:
                depends.append({"jobId": other["jobId"]})
        return depends


def _now_ms() -> int:
    return int(time.time() * 1000)


class Service:
    def __init__(self, runner: Runner, port: int) -> None:
        self.runner = runner
        handler = type("Handler", (_Handler,), {"runner": runner})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, name="batch", daemon=True)

    def start(self) -> None:
        self.runner.thread.start()
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.runner.stop()


class _Handler(BaseHTTPRequestHandler):
    runner: Runner
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802, the base class names it
        length = int(self.headers.get("Content-Length", 0))
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return self._answer(413, {"message": f"{MAX_BODY_BYTES} bytes are the most"})
        try:
            body = json.loads(self.rfile.read(length) or b"{}")
            answer = self._do(self.path, body)
        except (ClientError, KeyError, TypeError, ValueError) as error:
            return self._answer(400, {"message": str(error)}, "ClientException")
        self._answer(200, answer)

    def _do(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        runner = self.runner
        match path:
            case "/v1/registerjobdefinition":
                return runner.register(body)
            case "/v1/describejobdefinitions":
                return {"jobDefinitions": [{**last[-1], "revision": len(last), "status": "ACTIVE"} for last in runner.definitions.values()]}
            case "/v1/describejobqueues":
                return {"jobQueues": [{"jobQueueName": name, "state": "ENABLED", "status": "VALID"} for name in runner.queues]}
            case "/v1/submitjob":
                return runner.submit(body)
            case "/v1/describejobs":
                return {"jobs": runner.describe(body.get("jobs", []))}
            case "/v1/listjobs":
                return runner.listed(body)
            case "/v1/terminatejob" | "/v1/canceljob":
                runner.terminate(body["jobId"], body.get("reason", ""), only_waiting=path.endswith("canceljob"))
            case "/local/spot-reclaim":
                runner.spot_reclaim(body["jobId"])
            case "/local/say-failed":
                runner.say_failed(body["jobId"])
            case _:
                raise ClientError(f"{path} is not offered here")
        return {}

    def _answer(self, status: int, answer: dict[str, Any], kind: str = "") -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if kind:
            self.send_header("x-amzn-errortype", kind)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nobody reads a line for each request."""
