"""One command: a local AWS with all that one yard needs, until it is told to stop."""

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from . import batch, ministack, processes, spec
from .ministack import CannotStart
from .resources import Functions, Resources

ROOT = Path(__file__).resolve().parents[2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="localstack/start.sh", description=__doc__)
    parser.add_argument("--yard", required=True, help="the yard's name")
    parser.add_argument("--port", type=int, default=4566, help="where AWS answers; 0: a free port")
    parser.add_argument("--batch-port", type=int, default=4567, help="where the stand-in for AWS Batch answers; 0: a free port")
    parser.add_argument("--state", type=Path, help="where logs and `env` are; a temporary folder without it")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target" / "release", help="where functions and workers are")
    parser.add_argument("--endpoint", help="an AWS that runs already, such as LocalStack; MiniStack is started without it")
    parser.add_argument("--webhook-secret", default="local-secret")
    parser.add_argument("--no-functions", action="store_true", help="queues alone: for `proofyard serve`")
    parser.add_argument("--until-stdin-ends", action="store_true", help="stop when whoever holds the standard input lets go of it")
    parser.add_argument("--no-schedule", action="store_true", help="nobody sends ticks but who wants to")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.until_stdin_ends:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), stop.set()), daemon=True).start()
    state = options.state or Path(tempfile.mkdtemp(prefix="proofyard-local-aws-"))
    state.mkdir(parents=True, exist_ok=True)
    started: list[Any] = []
    try:
        filled = spec.load(options.yard)
        endpoint, jobs = start(options, filled, state.resolve(), started)
        print(f"ready: yard {options.yard} at {endpoint}, Batch at {jobs}; use it with: . {state / 'env'}", flush=True)
        while not stop.wait(0.5) and all(process.poll() is None for process in started[:1]):
            pass
        if not stop.is_set():
            raise CannotStart(f"MiniStack has ended; see {state / 'ministack.log'}")
        return 0
    except (CannotStart, spec.BadSpec) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        for service in reversed(started):
            service.stop() if hasattr(service, "stop") else processes.end(service)
        if options.state is None:
            shutil.rmtree(state, ignore_errors=True)


def start(options: argparse.Namespace, filled: dict[str, Any], state: Path, started: list[Any]) -> tuple[str, str]:
    endpoint = options.endpoint
    if endpoint is None:
        port = options.port or ministack.free_port()
        started.append(ministack.start(port, state))
        endpoint = f"http://127.0.0.1:{port}"
    batch_port = options.batch_port or ministack.free_port()
    ministack.check_port(batch_port, "--batch-port")
    jobs = f"http://127.0.0.1:{batch_port}"
    environment = {
        **ministack.CREDENTIALS,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_BATCH": jobs,
        "AWS_REGION": ministack.REGION,
        "AWS_DEFAULT_REGION": ministack.REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PROOFYARD_YARD": options.yard,
        "PROOFYARD_BUCKET": filled["bucket"]["name"],
        "PROOFYARD_POOLS": json.dumps(filled["pools"]),
    }
    (state / "env").write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()))
    functions = None
    if not options.no_functions:
        inside = {**environment, "PROOFYARD_WEBHOOK_SECRET": options.webhook_secret, "RUST_LOG": "info"}
        functions = Functions(options.binaries.resolve(), inside, not options.no_schedule)
    resources = Resources(filled, endpoint)
    resources.make_all(functions)
    told = batch.QueueOfChanges(resources.client("sqs"), resources.queues["results"])
    path = f"{options.binaries.resolve()}{os.pathsep}{os.environ.get('PATH', '')}"
    service = batch.Service(batch.Runner(state / "jobs", {**environment, "PATH": path}, told), batch_port)
    service.start()
    started.append(service)
    for name, pool in filled["pools"].items():
        service.runner.queue(pool["job_queue"], pool["max_workers"])
        service.runner.register(definition(filled, name, pool))
    return endpoint, jobs


def definition(filled: dict[str, Any], name: str, pool: dict[str, Any]) -> dict[str, Any]:
    """The pool's job definition, as RegisterJobDefinition takes it."""
    command = [*filled["worker"]["command"], "--pool", name, "--idle-out-ms", str(pool["idle_out_ms"])]
    if pool["max_tasks"] > 0:
        command += ["--max-tasks", str(pool["max_tasks"])]
    resources = [
        {"type": "VCPU", "value": str(pool["vcpus"])},
        {"type": "MEMORY", "value": str(pool["memory_mb"])},
    ]
    if pool["gpus"] > 0:
        resources.append({"type": "GPU", "value": str(pool["gpus"])})
    return {
        "jobDefinitionName": pool["job_definition"],
        "type": "container",
        "containerProperties": {"image": "local", "command": command, "resourceRequirements": resources},
        "retryStrategy": {
            "attempts": pool["attempts"],
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                {"onReason": "*", "action": "EXIT"},
            ],
        },
        "timeout": {"attemptDurationSeconds": pool["timeout_s"]},
    }


if __name__ == "__main__":
    sys.exit(main())
