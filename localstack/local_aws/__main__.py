"""One command: a local AWS with all that one yard needs, until it is told to stop."""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import ministack, processes, spec
from .batch.changes import Changes
from .batch.runner import GRACE_S, Runner
from .batch.service import Service
from .ministack import CannotStart, MiniStack
from .resources import Functions, Resources, binary, client

ROOT = Path(__file__).resolve().parents[2]
LOOK_S = 0.2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="localstack/start.sh", description=__doc__)
    parser.add_argument("--yard", required=True, help="the yard's name")
    parser.add_argument("--port", type=int, default=4566, help="where AWS answers; 0: a free port (default: 4566)")
    parser.add_argument(
        "--batch-port", type=int, default=4567, help="where AWS Batch answers; 0: a free port (default: 4567)"
    )
    parser.add_argument("--state", type=Path, help="where `env` and logs go (default: a folder that goes in the end)")
    parser.add_argument(
        "--binaries", default=str(ROOT / "target" / "release"), metavar="DIR[:DIR...]",
        help="where the programs are; functions also as functions/build.sh leaves them, in target/lambda (default: target/release)",
    )
    parser.add_argument("--endpoint", help="an AWS that runs already, such as LocalStack; MiniStack is not started")
    parser.add_argument("--webhook-secret", default="local-secret", help="of the ingest function (default: local-secret)")
    parser.add_argument("--no-functions", action="store_true", help="no functions: something else takes from the queues")
    parser.add_argument("--no-schedule", action="store_true", help="nothing wakes the sweeper each minute")
    parser.add_argument("--until-stdin-ends", action="store_true", help="stop when nobody holds the standard input any more")
    parser.add_argument(
        "--grace", type=float, default=GRACE_S, metavar="SECONDS", help="from SIGTERM to SIGKILL for a job (default: 30)"
    )
    return parser.parse_args()


class LocalAws:
    def __init__(self, options: argparse.Namespace, state: Path) -> None:
        self.options = options
        self.state = state
        self.binaries = [Path(folder).resolve() for folder in options.binaries.split(os.pathsep)]
        self.spec = spec.load(options.yard)
        self.ministack: MiniStack | None = None
        #: In the order in which they are stopped.
        self.to_stop: list[Callable[[], None]] = []

    def start(self) -> None:
        if not self.options.no_functions:
            for function in self.spec["functions"].values():
                binary(self.binaries, function["binary"])
        # Its port is known before anybody is told of it.
        ministack.check_port(self.options.batch_port, "--batch-port")
        self.endpoint = self._endpoint()
        say(f"AWS answers at {self.endpoint}")
        resources = Resources(self.spec, self.endpoint)
        resources.make()
        say("table, bucket and queues are there")
        self._start_batch(resources)
        say(f"AWS Batch answers at {self.batch.endpoint}")
        if not self.options.no_functions:
            self._make_functions(resources)

    def _endpoint(self) -> str:
        if self.options.endpoint:
            ministack.wait_for(self.options.endpoint, "start that AWS first, or leave out --endpoint")
            return str(self.options.endpoint)
        self.ministack = MiniStack(self.options.port, self.state)
        self.to_stop.append(self.ministack.stop)
        self.ministack.start()
        return self.ministack.endpoint

    def _start_batch(self, resources: Resources) -> None:
        changes = Changes(client("sqs", self.endpoint), resources.queue_urls["results"])
        # Filled in below: what jobs get names the port that the service has.
        environment: dict[str, str] = {}
        runner = Runner(self.state / "jobs", environment, changes.tell, self.options.grace)
        self.batch = Service(runner, self.options.batch_port)
        path = os.pathsep.join([*map(str, self.binaries), os.environ.get("PATH", os.defpath)])
        environment |= ministack.clean_environment() | {"PATH": path} | self._aws_environment()
        for name, pool in self.spec["pools"].items():
            runner.add_queue(pool["job_queue"], pool["max_workers"])
            runner.register(job_definition(self.spec, name, self._yard_environment()))
        changes.start()
        self.batch.start()
        self.to_stop[:0] = [self.batch.stop, changes.stop]

    def _make_functions(self, resources: Resources) -> None:
        inside = {"PROOFYARD_WEBHOOK_SECRET": self.options.webhook_secret, "RUST_LOG": "info"}
        functions = Functions(resources, self.binaries, {**self.environment(), **inside})
        urls = functions.make(with_schedule=not self.options.no_schedule)
        say(f"functions are there: {', '.join(self.spec['functions'])}")
        for name, url in urls.items():
            host = url.split("//")[1].strip("/")
            say(f"webhook {name}: curl --header 'Host: {host}' {self.endpoint}/")

    def _aws_environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_BATCH": self.batch.endpoint,
            **ministack.CREDENTIALS,
            "AWS_REGION": ministack.REGION,
            "AWS_DEFAULT_REGION": ministack.REGION,
            # No SDK looks for a machine's role, or for news of it, where there is none.
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _yard_environment(self) -> dict[str, str]:
        return {
            "PROOFYARD_YARD": self.options.yard,
            "PROOFYARD_BUCKET": self.spec["bucket"]["name"],
            "PROOFYARD_POOLS": json.dumps(self.spec["pools"]),
        }

    def environment(self) -> dict[str, str]:
        return {**self._aws_environment(), **self._yard_environment()}

    def tell_ready(self) -> None:
        place = self.state / "env"
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self.environment().items()]
        # Whoever waits for the file finds it whole.
        half = place.with_suffix(".new")
        half.write_text("".join(lines))
        half.rename(place)
        print(f"ready: yard {self.options.yard} at {self.endpoint}; use it with: . {shlex.quote(str(place))}", flush=True)

    def watch(self) -> None:
        while True:
            if self.ministack:
                self.ministack.check()
            time.sleep(LOOK_S)

    def stop(self) -> None:
        (self.state / "env").unlink(missing_ok=True)
        for stop in self.to_stop:
            stop()


def job_definition(described: dict[str, Any], name: str, environment: dict[str, str]) -> dict[str, Any]:
    """A pool's job definition, as RegisterJobDefinition takes it."""
    pool = described["pools"][name]
    command = [*described["worker"]["command"], "--pool", name]
    if pool["max_tasks"] > 0:
        command += ["--max-tasks", str(pool["max_tasks"])]
    command += ["--idle-out-ms", str(pool["idle_out_ms"])]
    needs = {"VCPU": pool["vcpus"], "MEMORY": pool["memory_mb"], "GPU": pool["gpus"]}
    return {
        "jobDefinitionName": pool["job_definition"],
        "type": "container",
        "containerProperties": {
            "image": "local",
            "command": command,
            "environment": [{"name": key, "value": value} for key, value in environment.items()],
            "resourceRequirements": [{"type": kind, "value": str(value)} for kind, value in needs.items() if value > 0],
        },
        "retryStrategy": {
            "attempts": pool["attempts"],
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                {"onReason": "*", "action": "EXIT"},
            ],
        },
        "timeout": {"attemptDurationSeconds": pool["timeout_s"]},
    }


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def work(options: argparse.Namespace, state: Path) -> int:
    local: LocalAws | None = None
    if options.until_stdin_ends:
        processes.stop_when_stdin_ends()
    try:
        local = LocalAws(options, state)
        local.start()
        local.tell_ready()
        local.watch()
    except (CannotStart, spec.BadSpec) as error:
        say(f"error: {error}")
    finally:
        if local:
            local.stop()
        if not options.state:
            shutil.rmtree(state, ignore_errors=True)
    return 2


def main() -> int:
    options = arguments()
    if options.state:
        options.state.mkdir(parents=True, exist_ok=True)
        return processes.watched(lambda: work(options, options.state.resolve()))
    state = Path(tempfile.mkdtemp(prefix="proofyard-local-aws-"))
    try:
        return processes.watched(lambda: work(options, state))
    finally:
        # Where the second process could not.
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
