"""Jobs and job definitions: what they hold, how a request makes them, and how the API shows them."""

import subprocess
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from ..server import ACCOUNT, REGION

MAX_ARRAY = 10_000
MIN_TIMEOUT_S = 1
OVER = ("SUCCEEDED", "FAILED")
WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
STATES = (*WAITING, "STARTING", "RUNNING", *OVER)

Shape = dict[str, Any]


class ClientError(Exception):
    """What the API answers with 400 and ClientException."""


@dataclass
class Definition:
    name: str
    revision: int
    registered: Shape

    @property
    def arn(self) -> str:
        return arn("job-definition", f"{self.name}:{self.revision}")

    def shown(self) -> Shape:
        return {
            **self.registered,
            "jobDefinitionArn": self.arn,
            "revision": self.revision,
            "status": "ACTIVE",
            "containerOrchestrationType": "ECS",
        }


@dataclass
class Job:
    id: str
    name: str
    queue: str
    definition: Definition
    container: Shape
    retry: Shape
    timeout_s: int | None
    depends_on: list[Shape]
    created_ms: int
    parent: str | None = None
    index: int | None = None
    children: list[str] = field(default_factory=list)
    state: str = ""
    reason: str = ""
    attempts: list[Shape] = field(default_factory=list)
    started_ms: int = 0
    stopped_ms: int = 0
    process: subprocess.Popen[bytes] | None = None
    #: Why it is to end, and since when it was asked to.
    ending: str = ""
    ending_since: float = 0.0
    is_cancelled: bool = False
    is_terminated: bool = False
    #: Its machine was taken away: tells that from an exit.
    reclaimed: bool = False

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def arn(self) -> str:
        return arn("job", self.id)

    def environment(self) -> dict[str, str]:
        return {entry["name"]: entry["value"] for entry in self.container["environment"]}

    def detail(self, states_of_children: dict[str, int] | None = None) -> Shape:
        return {
            **self.summary(states_of_children),
            "jobQueue": arn("job-queue", self.queue),
            "attempts": list(self.attempts),
            "dependsOn": self.depends_on,
            "parameters": {},
            "retryStrategy": self.retry,
            "container": {**self.container, **self._last_container()},
            **({"timeout": {"attemptDurationSeconds": self.timeout_s}} if self.timeout_s else {}),
        }

    def summary(self, states_of_children: dict[str, int] | None = None) -> Shape:
        shape: Shape = {
            "jobArn": self.arn,
            "jobId": self.id,
            "jobName": self.name,
            "jobDefinition": self.definition.arn,
            "status": self.state,
            "createdAt": self.created_ms,
            "container": self._last_container(),
            "isCancelled": self.is_cancelled,
            "isTerminated": self.is_terminated,
        }
        if self.reason:
            shape["statusReason"] = self.reason
        if self.started_ms:
            shape["startedAt"] = self.started_ms
        if self.stopped_ms:
            shape["stoppedAt"] = self.stopped_ms
        if self.children:
            shape["arrayProperties"] = {"size": len(self.children), "statusSummary": states_of_children or {}}
        if self.index is not None:
            shape["arrayProperties"] = {"index": self.index}
        return shape

    def _last_container(self) -> Shape:
        return dict(self.attempts[-1]["container"]) if self.attempts else {}

    def may_retry(self, exit_code: int | None, reason: str, status_reason: str) -> bool:
        """As `evaluateOnExit` has it: the first rule that fits decides; where none fits, attempts alone count."""
        if len(self.attempts) >= int(self.retry.get("attempts", 1)):
            return False
        told = {
            "onExitCode": "" if exit_code is None else str(exit_code),
            "onReason": reason,
            "onStatusReason": status_reason,
        }
        for rule in self.retry.get("evaluateOnExit", []):
            if all(fits(rule[key], value) for key, value in told.items() if key in rule):
                return str(rule["action"]).upper() == "RETRY"
        return True


def arn(kind: str, name: str) -> str:
    return f"arn:aws:batch:{REGION}:{ACCOUNT}:{kind}/{name}"


def bare(name_or_arn: Any) -> str:
    return str(name_or_arn or "").rpartition("/")[2]


def fits(pattern: str, value: str) -> bool:
    """Batch knows one wildcard: an asterisk at the end."""
    pattern, value = pattern.lower(), value.lower()
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def now_ms() -> int:
    return int(time.time() * 1000)


def check_definition(wanted: Shape) -> None:
    container = wanted.get("containerProperties") or {}
    if not wanted.get("jobDefinitionName") or wanted.get("type") != "container":
        raise ClientError("jobDefinitionName, and container for type, are needed; the stand-in has no other type")
    if not container.get("command"):
        raise ClientError("containerProperties.command is needed: the stand-in runs no image")
    _check_rest(wanted)


def new_job(wanted: Shape, queue: str, definition: Definition) -> Job:
    if not wanted.get("jobName"):
        raise ClientError("jobName is needed")
    if not wanted.get("shareIdentifier"):
        raise ClientError("shareIdentifier is needed: the queue has a scheduling policy")
    _check_rest(wanted)
    registered = definition.registered
    timeout = wanted.get("timeout") or registered.get("timeout") or {}
    return Job(
        id=str(uuid.uuid4()),
        name=str(wanted["jobName"]),
        queue=queue,
        definition=definition,
        container=_container(registered["containerProperties"], wanted.get("containerOverrides") or {}),
        retry=wanted.get("retryStrategy") or registered.get("retryStrategy") or {"attempts": 1},
        timeout_s=timeout.get("attemptDurationSeconds"),
        depends_on=wanted.get("dependsOn") or [],
        created_ms=now_ms(),
    )


def new_children(parent: Job, wanted: Shape) -> list[Job]:
    size = int((wanted.get("arrayProperties") or {}).get("size", 0))
    if size and not 2 <= size <= MAX_ARRAY:
        raise ClientError(f"arrayProperties.size must be from 2 to {MAX_ARRAY}, and is {size}")
    children = []
    for index in range(size):
        child = new_job(wanted, parent.queue, parent.definition)
        child.id, child.parent, child.index = f"{parent.id}:{index}", parent.id, index
        child.depends_on = [other for each in parent.depends_on for other in _for_child(each, parent, index)]
        children.append(child)
    return children


def _for_child(dependency: Shape, parent: Job, index: int) -> list[Shape]:
    match dependency.get("type"):
        case "SEQUENTIAL":
            return [{"jobId": f"{parent.id}:{index - 1}"}] if index else []
        case "N_TO_N":
            return [{"jobId": f"{dependency['jobId']}:{index}"}]
    return [{"jobId": dependency["jobId"]}]


def _container(registered: Shape, overrides: Shape) -> Shape:
    by_name = {
        entry["name"]: {"name": entry["name"], "value": str(entry["value"])}
        for entry in [*registered.get("environment", []), *overrides.get("environment", [])]
    }
    by_type = {
        entry["type"]: entry
        for entry in [*registered.get("resourceRequirements", []), *overrides.get("resourceRequirements", [])]
    }
    return {
        **registered,
        "command": [str(part) for part in overrides.get("command") or registered["command"]],
        "environment": list(by_name.values()),
        "resourceRequirements": list(by_type.values()),
    }


def _check_rest(wanted: Shape) -> None:
    retry = wanted.get("retryStrategy") or {}
    if not 1 <= int(retry.get("attempts", 1)) <= 10:
        raise ClientError("retryStrategy.attempts must be from 1 to 10")
    for rule in retry.get("evaluateOnExit", []):
        if str(rule.get("action", "")).upper() not in ("RETRY", "EXIT"):
            raise ClientError("retryStrategy.evaluateOnExit: action must be RETRY or EXIT")
    timeout = (wanted.get("timeout") or {}).get("attemptDurationSeconds")
    # Batch itself asks for 60; tests would wait too long.
    if timeout is not None and int(timeout) < MIN_TIMEOUT_S:
        raise ClientError(f"timeout.attemptDurationSeconds must be {MIN_TIMEOUT_S} or more")
