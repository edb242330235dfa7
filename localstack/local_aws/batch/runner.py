"""Runs jobs: one thread starts their processes, sees them end, and moves their states."""

import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

from .. import processes
from .jobs import (
    OVER,
    STATES,
    WAITING,
    ClientError,
    Definition,
    Job,
    Shape,
    bare,
    check_definition,
    fits,
    new_children,
    new_job,
    now_ms,
)

LOOK_S = 0.02
#: Between SIGTERM and SIGKILL, as Batch has it.
GRACE_S = 30.0
END_PATIENCE_S = 5.0
FORGET_EVERY_S = 5.0
KEPT_MS = 24 * 3600 * 1000
MAX_OVER = 10_000
MAX_OPEN = 20_000
MAX_REVISIONS = 1_000
MAX_PAGE = 1_000
EXITED = "Essential container in task exited"


class Runner:
    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        tell: Callable[[Shape], None],
        grace_s: float = GRACE_S,
    ) -> None:
        self.folder = folder
        self.environment = environment
        #: By the ARN of a job's role.
        self.credentials: dict[str, dict[str, str]] = {}
        self.tell = tell
        self.grace_s = grace_s
        self.lock = threading.RLock()
        #: By queue, how many may run.
        self.limits: dict[str, int] = {}
        self.definitions: dict[str, list[Definition]] = {}
        self.jobs: dict[str, Job] = {}
        # Which jobs the thread has to look at, so that it need not look at all.
        self.new: list[Job] = []
        self.pending: dict[str, Job] = {}
        self.runnable: dict[str, deque[Job]] = {}
        self.live: dict[str, Job] = {}
        self.some_over = True
        self.forgot_at = 0.0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join()

    # What is asked of it

    def add_queue(self, name: str, max_running: int) -> None:
        with self.lock:
            self.limits[name] = max_running
            self.runnable.setdefault(name, deque())

    def register(self, wanted: Shape) -> Definition:
        check_definition(wanted)
        with self.lock:
            revisions = self.definitions.setdefault(wanted["jobDefinitionName"], [])
            if sum(map(len, self.definitions.values())) >= MAX_REVISIONS:
                raise ClientError(f"{MAX_REVISIONS} job definitions are the most that are kept")
            revisions.append(Definition(wanted["jobDefinitionName"], len(revisions) + 1, wanted))
            return revisions[-1]

    def definition(self, named: str) -> Definition:
        name, _, revision = bare(named).partition(":")
        with self.lock:
            revisions = self.definitions.get(name, [])
            number = int(revision) if revision.isdigit() else len(revisions)
            if not 1 <= number <= len(revisions):
                known = ", ".join(sorted(self.definitions)) or "none"
                raise ClientError(f"JobDefinition {named} not found; registered are: {known}")
            return revisions[number - 1]

    def submit(self, wanted: Shape) -> Job:
        queue = self._queue(wanted.get("jobQueue"))
        definition = self.definition(str(wanted.get("jobDefinition", "")))
        job = new_job(wanted, queue, definition)
        children = new_children(job, wanted)
        job.children = [child.id for child in children]
        with self.lock:
            for other in job.depends_on:
                self._check_dependency(other, job)
            open_jobs = sum(not each.over for each in self.jobs.values())
            if open_jobs + 1 + len(children) > MAX_OPEN:
                raise ClientError(f"{MAX_OPEN} jobs are the most that may wait and run")
            for each in (job, *children):
                self.jobs[each.id] = each
                self.new.append(each)
                self._move(each, "SUBMITTED")
        return job

    def _check_dependency(self, dependency: Shape, job: Job) -> None:
        kind, other_id = dependency.get("type"), dependency.get("jobId")
        if kind in ("SEQUENTIAL", "N_TO_N") and not job.children:
            raise ClientError(f"dependsOn of type {kind} is for array jobs")
        if kind == "SEQUENTIAL":
            return
        other = self.jobs.get(str(other_id))
        if other is None:
            raise ClientError(f"dependsOn: job {other_id} not found")
        if kind == "N_TO_N" and len(other.children) != len(job.children):
            raise ClientError(f"dependsOn of type N_TO_N: job {other_id} is no array of the same size")

    def describe(self, ids: list[str]) -> list[Shape]:
        with self.lock:
            jobs = [self.jobs[bare(job)] for job in ids if bare(job) in self.jobs]
            return [job.detail(self._states_of_children(job)) for job in jobs]

    def listed(self, wanted: Shape) -> Shape:
        with self.lock:
            found = self._found(wanted)
            begin = int(wanted.get("nextToken") or 0)
            end = begin + min(int(wanted.get("maxResults") or 100), MAX_PAGE)
            page = [job.summary(self._states_of_children(job)) for job in found[begin:end]]
        return {"jobSummaryList": page, **({"nextToken": str(end)} if end < len(found) else {})}

    def _found(self, wanted: Shape) -> list[Job]:
        state = wanted.get("jobStatus") or "RUNNING"
        if state not in STATES:
            raise ClientError(f"jobStatus {state} is none of {', '.join(STATES)}")
        if wanted.get("arrayJobId"):
            parent = self.jobs.get(bare(wanted["arrayJobId"]))
            children = [self.jobs[child] for child in parent.children] if parent else []
            return [child for child in children if child.state == state]
        queue = self._queue(wanted.get("jobQueue"))
        jobs = [job for job in self.jobs.values() if job.queue == queue and job.parent is None]
        filters = wanted.get("filters") or []
        if not filters:
            return [job for job in jobs if job.state == state]
        if len(filters) > 1 or filters[0].get("name") != "JOB_NAME":
            raise ClientError("filters: the stand-in knows one, JOB_NAME")
        names = filters[0].get("values") or []
        return [job for job in reversed(jobs) if any(fits(name, job.name) for name in names)]

    def cancel(self, job_id: str, reason: str) -> None:
        with self.lock:
            for job in self._whole(job_id):
                if job.state in WAITING:
                    job.is_cancelled = True
                    self._end_waiting(job, reason)

    def terminate(self, job_id: str, reason: str) -> None:
        with self.lock:
            for job in self._whole(job_id):
                if job.over:
                    continue
                job.is_terminated = True
                if job.process:
                    self._ask_to_end(job, reason)
                else:
                    self._end_waiting(job, reason)

    def spot_reclaim(self, job_id: str) -> None:
        """Its machine vanishes: the job is not asked."""
        with self.lock:
            job = self._running(job_id)
            job.reclaimed = True
            assert job.process
            processes.kill_group(job.process)

    def say_failed(self, job_id: str) -> None:
        """A state that lies: the process lives on."""
        with self.lock:
            self._finish(self._running(job_id), "FAILED", _host_terminated())

    def _queue(self, named: object) -> str:
        queue = bare(named)
        if queue not in self.limits:
            raise ClientError(f"JobQueue {queue or '(none)'} not found; there are: {', '.join(sorted(self.limits))}")
        return queue

    def _running(self, job_id: str) -> Job:
        job = self.jobs.get(job_id)
        if job is None or job.process is None or job.over:
            raise ClientError(f"job {job_id} does not run")
        return job

    def _whole(self, job_id: str) -> list[Job]:
        """The job, with all children where it is an array."""
        job = self.jobs.get(bare(job_id))
        if job is None:
            raise ClientError(f"job {job_id} not found")
        return [job, *(self.jobs[child] for child in job.children)]

    # What its one thread does

    def _run(self) -> None:
        while not self.stopped.wait(LOOK_S):
            with self.lock:
                self._look()
        with self.lock:
            left = [job.process for job in self.live.values() if job.process]
        processes.end_all(left, min(self.grace_s, END_PATIENCE_S))

    def _look(self) -> None:
        for job in list(self.live.values()):
            self._look_at_process(job)
        while self.some_over:
            self.some_over = False
            for job in list(self.pending.values()):
                self._look_at_pending(job)
        self._take_new()
        for queue, jobs in self.runnable.items():
            self._start_some(jobs, self.limits[queue] - self._count_running(queue))
        if time.monotonic() - self.forgot_at > FORGET_EVERY_S:
            self.forgot_at = time.monotonic()
            self._forget()
            processes.bury_adopted()

    def _take_new(self) -> None:
        new, self.new = self.new, []
        for job in new:
            if job.over:
                continue
            if job.children or job.depends_on:
                self.pending[job.id] = job
                self.some_over = True
                self._move(job, "PENDING")
            else:
                self._make_runnable(job)

    def _look_at_pending(self, job: Job) -> None:
        if job.children:
            states = self._states_of_children(job)
            if sum(states.get(state, 0) for state in OVER) == len(job.children):
                failed = states.get("FAILED", 0) > 0
                self._finish(job, "FAILED" if failed else "SUCCEEDED", job.ending or ("Array Child Job FAILED" if failed else ""))
            return
        # A job that was forgotten succeeded: who depends on one that failed has failed with it.
        others = [self.jobs[other["jobId"]].state for other in job.depends_on if other["jobId"] in self.jobs]
        if "FAILED" in others:
            self._finish(job, "FAILED", "Dependent Job FAILED")
        elif all(state == "SUCCEEDED" for state in others):
            del self.pending[job.id]
            self._make_runnable(job)

    def _make_runnable(self, job: Job) -> None:
        self.runnable[job.queue].append(job)
        self._move(job, "RUNNABLE")

    def _count_running(self, queue: str) -> int:
        return sum(job.queue == queue and not job.over for job in self.live.values())

    def _start_some(self, jobs: deque[Job], room: int) -> None:
        while jobs and room > 0:
            job = jobs.popleft()
            if job.state == "RUNNABLE":
                self._start(job)
                room -= 1

    def _start(self, job: Job) -> None:
        self._move(job, "STARTING")
        job.started_ms = now_ms()
        folder = self._folder(job) / str(len(job.attempts) + 1)
        work = folder / "work"
        try:
            work.mkdir(parents=True)
            with (folder / "log").open("wb") as log:
                job.process = processes.start(
                    job.container["command"],
                    env=self._environment(job),
                    cwd=work,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        except (OSError, ValueError) as error:
            self._attempt_over(job, None, f"CannotStartContainerError: {error}")
            return
        self.live[job.id] = job
        self._move(job, "RUNNING")

    def _environment(self, job: Job) -> dict[str, str]:
        index = {} if job.index is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(job.index)}
        return {
            **self.environment,
            **self.credentials.get(job.container.get("jobRoleArn", ""), {}),
            **job.environment(),
            **index,
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(len(job.attempts) + 1),
            "AWS_BATCH_JQ_NAME": job.queue,
        }

    def _look_at_process(self, job: Job) -> None:
        assert job.process
        code = job.process.poll()
        if code is None:
            self._hurry(job, job.process)
            return
        # What it left behind goes with its container.
        processes.kill_group(job.process)
        shutil.rmtree(self._folder(job) / str(len(job.attempts) + 1) / "work", ignore_errors=True)
        job.process = None
        del self.live[job.id]
        if not job.over:
            self._attempt_over(job, code, "")

    def _hurry(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        if job.ending:
            if time.monotonic() - job.ending_since > self.grace_s:
                processes.kill_group(process)
        elif job.timeout_s and not job.over and now_ms() - job.started_ms > job.timeout_s * 1000:
            self._ask_to_end(job, "Job attempt duration exceeded timeout")

    def _ask_to_end(self, job: Job, reason: str) -> None:
        assert job.process
        if not job.ending:
            job.ending, job.ending_since = reason, time.monotonic()
            # As in a container, only the first process is asked.
            job.process.send_signal(signal.SIGTERM)

    def _attempt_over(self, job: Job, code: int | None, reason: str) -> None:
        reclaimed = job.reclaimed and code == -signal.SIGKILL
        job.reclaimed = False
        status_reason = job.ending or (_host_terminated() if reclaimed else reason or EXITED)
        container: Shape = {"reason": reason} if reason else {}
        # As a shell has it: 128 and the signal's number.
        exit_code = None if reclaimed or code is None else code if code >= 0 else 128 - code
        if exit_code is not None:
            container["exitCode"] = exit_code
        job.attempts.append(
            {
                "container": container,
                "startedAt": job.started_ms,
                "stoppedAt": now_ms(),
                "statusReason": status_reason,
            }
        )
        if job.ending:
            self._finish(job, "FAILED", status_reason)
        elif code == 0:
            self._finish(job, "SUCCEEDED", status_reason)
        elif job.may_retry(exit_code, reason, status_reason):
            self._make_runnable(job)
        else:
            self._finish(job, "FAILED", status_reason)

    def _end_waiting(self, job: Job, reason: str) -> None:
        if job.children:
            # It is over when all its children are.
            job.ending = reason
            self.some_over = True
        else:
            self._finish(job, "FAILED", reason)

    def _finish(self, job: Job, state: str, reason: str) -> None:
        job.stopped_ms, job.reason = now_ms(), reason
        self.pending.pop(job.id, None)
        self.some_over = True
        self._move(job, state)

    def _move(self, job: Job, state: str) -> None:
        job.state = state
        self.tell(job.detail(self._states_of_children(job)))

    def _states_of_children(self, job: Job) -> dict[str, int]:
        return dict(Counter(self.jobs[child].state for child in job.children if child in self.jobs))

    def _forget(self) -> None:
        """Arrays as a whole, the oldest first."""
        over = [job for job in self.jobs.values() if job.over and job.parent is None]
        kept = sum(1 + len(job.children) for job in over)
        for job in sorted(over, key=lambda job: job.stopped_ms):
            if kept <= MAX_OVER and job.stopped_ms > now_ms() - KEPT_MS:
                return
            whole = self._whole(job.id)
            if not any(each.process for each in whole):
                kept -= len(whole)
                for each in whole:
                    del self.jobs[each.id]
                    shutil.rmtree(self._folder(each), ignore_errors=True)

    def _folder(self, job: Job) -> Path:
        return self.folder / job.id.replace(":", "-")


def _host_terminated() -> str:
    return f"Host EC2 (instance i-{uuid.uuid4().hex[:17]}) terminated."
