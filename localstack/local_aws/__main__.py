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

from . import processes, server, templates
from .batch.changes import Changes, to_queue, to_rules
from .batch.runner import GRACE_S, Runner
from .batch.service import Service
from .localstack import LocalStack
from .ministack import MiniStack
from .server import CannotStart, Server
from .stacks import Stacks, binaries_of, binary, client, is_known_to_localstack, is_known_to_ministack
from .table import database, make_table
from .templates import Template

ROOT = Path(__file__).resolve().parents[2]
LOOK_S = 0.2
ROLE_SESSION_S = 12 * 3600
PARTS = ("state", "messaging", "functions", "proving", "observability")
#: Functions' programs that are built apart, since few need them: a yard goes on without.
BUILT_APART = ("proofyard-follower", "proofyard-notifier", "proofyard-proposer")
SET_BY_RUNTIME = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"}


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
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--on", choices=("ministack", "localstack"), default="ministack", help="who plays AWS (default: ministack)"
    )
    which.add_argument("--endpoint", help="an AWS that runs already; none is started")
    parser.add_argument("--webhook-secret", default="local-secret", help="what senders of block events sign with (default: local-secret)")
    parser.add_argument("--judge", action="store_true", help="nothing is handed on before a judge has looked at it")
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
        self.templates = {part: templates.load(options.yard, part) for part in PARTS}
        if options.judge:
            self.templates = {part: templates.judged(template) for part, template in self.templates.items()}
        self.servers: list[Server] = []
        #: Where block events are sent to, once the functions are there.
        self.webhook = ""
        #: In the order in which they are stopped.
        self.to_stop: list[Callable[[], None]] = []

    def start(self) -> None:
        if not self.options.no_functions:
            self._leave_out_what_is_not_built()
            for name in binaries_of(self.templates["functions"]):
                binary(self.binaries, name)
        # Its port is known before anybody is told of it.
        server.check_port(self.options.batch_port, "--batch-port")
        self._start_aws()
        say(f"AWS answers at {self.endpoint}")
        self._deploy("state")
        self._deploy("messaging")
        self._deploy("proving")
        say("table, bucket and queues are there")
        self._start_batch()
        say(f"AWS Batch answers at {self.batch.endpoint}")
        if not self.options.no_functions:
            self._deploy_functions()
            self._deploy("observability")

    def _leave_out_what_is_not_built(self) -> None:
        for name in BUILT_APART:
            try:
                binary(self.binaries, name)
            except CannotStart:
                say(f"no function {name}, which is built apart: cargo build --release -p {name}")
                self.templates["functions"] = templates.without_function(self.templates["functions"], name)

    def _deploy(self, part: str) -> None:
        template = self.templates[part]
        began = time.monotonic()
        self.stacks.deploy(f"proofyard-{self.options.yard}-{part}", template)
        say(f"stack {part}: {len(template['Resources'])} resources in {time.monotonic() - began:.2f} s")

    def _start_aws(self) -> None:
        self.endpoint = self.table_endpoint = self.options.endpoint
        known = is_known_to_ministack
        if self.options.endpoint:
            server.check_reached(self.options.endpoint)
        elif self.options.on == "localstack":
            aws, table = LocalStack(self.options.port, self.state), database(self.state)
            self._run(table)
            self._run(aws)
            self.endpoint, self.table_endpoint = aws.endpoint, table.endpoint
            make_table(table.endpoint, self.templates["state"])
            known = is_known_to_localstack
        else:
            ministack = MiniStack(self.options.port, self.state)
            self._run(ministack)
            self.endpoint = self.table_endpoint = ministack.endpoint
        self.stacks = Stacks(self.endpoint, known)

    def _run(self, started: Server) -> None:
        self.servers.append(started)
        self.to_stop.append(started.stop)
        started.start()

    def _start_batch(self) -> None:
        changes = Changes(self._tell())
        # Filled in below: what jobs get names the port that the service has.
        environment: dict[str, str] = {}
        runner = Runner(self.state / "jobs", environment, changes.tell, self.options.grace)
        self.batch = Service(runner, self.options.batch_port)
        path = os.pathsep.join([*map(str, self.binaries), os.environ.get("PATH", os.defpath)])
        environment |= server.clean_environment() | {"PATH": path} | self._aws_environment()
        for pool in self._pools().values():
            runner.add_queue(pool["job_queue"], pool["max_workers"])
        for definition in templates.job_definitions(self.templates["proving"]):
            role = definition["containerProperties"]["jobRoleArn"]
            runner.credentials[role] = self._in_role(role)
            runner.register(definition)
        changes.start()
        self.batch.start()
        self.to_stop[:0] = [self.batch.stop, changes.stop]

    def _tell(self) -> Callable[[dict[str, Any]], None]:
        """How changes of jobs' states are told: by LocalStack's own rules. MiniStack's take no news of AWS's services."""
        if self.options.on == "localstack":
            return to_rules(client("events", self.endpoint))
        sqs = client("sqs", self.endpoint)
        return to_queue(sqs, sqs.get_queue_url(QueueName=f"proofyard-{self.options.yard}-results.fifo")["QueueUrl"])

    def _deploy_functions(self) -> None:
        template = with_environment(self.templates["functions"], self._aws_environment())
        if self.options.no_schedule:
            for rule in templates.of_type(template, "AWS::Events::Rule"):
                rule["State"] = "DISABLED"
        self.stacks.put_programs(template, self.binaries)
        self._deploy("functions")
        secret = templates.of_type(self.templates["state"], "AWS::SecretsManager::Secret")[0]["Name"]
        if self.options.webhook_secret:
            secrets = client("secretsmanager", self.endpoint)
            secrets.put_secret_value(SecretId=secret, SecretString=self.options.webhook_secret)
        if self.options.on == "localstack":
            say("no webhook: this LocalStack has no API Gateway")
            return
        [api] = client("apigatewayv2", self.endpoint).get_apis()["Items"]
        self.webhook = f"{self.endpoint}/_aws/execute-api/{api['ApiId']}/$default"
        say(f"webhook: {self.webhook}/CHAIN")

    def _in_role(self, role: str) -> dict[str, str]:
        """As whom a job acts."""
        assumed = client("sts", self.endpoint).assume_role(
            RoleArn=role, RoleSessionName="job", DurationSeconds=ROLE_SESSION_S
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": assumed["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": assumed["SecretAccessKey"],
            "AWS_SESSION_TOKEN": assumed["SessionToken"],
        }

    def _pools(self) -> dict[str, Any]:
        return templates.pools(self.templates["functions"])

    def _aws_environment(self) -> dict[str, str]:
        elsewhere = {"AWS_ENDPOINT_URL_DYNAMODB": self.table_endpoint} if self.table_endpoint != self.endpoint else {}
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            **elsewhere,
            "AWS_ENDPOINT_URL_BATCH": self.batch.endpoint,
            **server.CREDENTIALS,
            "AWS_REGION": server.REGION,
            "AWS_DEFAULT_REGION": server.REGION,
            # No SDK looks for a machine's role, or for news of it, where there is none.
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _yard_environment(self) -> dict[str, str]:
        return {
            "PROOFYARD_YARD": self.options.yard,
            "PROOFYARD_BUCKET": f"proofyard-{self.options.yard}-{server.ACCOUNT}",
            "PROOFYARD_POOLS": json.dumps(self._pools()),
            templates.JUDGE: "true" if self.options.judge else "false",
        }

    def environment(self) -> dict[str, str]:
        webhook = {"PROOFYARD_WEBHOOK": self.webhook} if self.webhook else {}
        return {**self._aws_environment(), **self._yard_environment(), **webhook}

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
            for running in self.servers:
                running.check()
            time.sleep(LOOK_S)

    def stop(self) -> None:
        (self.state / "env").unlink(missing_ok=True)
        for stop in self.to_stop:
            stop()


def with_environment(template: Template, more: dict[str, str]) -> Template:
    """Functions that know where this AWS is."""
    # The runtime sets these, and AWS refuses a function that brings its own.
    more = {name: value for name, value in more.items() if name not in SET_BY_RUNTIME}
    for function in templates.of_type(template, "AWS::Lambda::Function"):
        function["Environment"]["Variables"] |= more
    return template


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
    except (CannotStart, templates.BadYard) as error:
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
