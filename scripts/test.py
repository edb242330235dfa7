"""Runs the tests of the whole project, or the steps that are named.

What builds comes first, alone, and uses every core as it is; what is built from nothing is linted by that. Then three lanes go
beside each other, longest first: one for what computes, and two for what mostly waits, for processes, queues and clocks. What a job printed is shown when it ends, in
one piece; all of it is in target/tests. The end is a table of where the time went.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "target" / "tests"
# A job that takes longer hangs; on two cores the longest takes some six minutes.
LIMIT_S = 30 * 60
CARGO = ["--release", "--locked"]
# Built apart, each by its own step: what they bring in is needed for nothing else.
APART = [
    "proofyard-simulation", "proofyard-baselines", "proofyard-engine", "proofyard-node", "proofyard-node-cli", "proofyard-follower",
    "proofyard-aws-follower-cli", "proofyard-contract", "proofyard-proposer",
]
WORKSPACE = ["--workspace", *(argument for package in APART for argument in ("--exclude", package))]
PACKAGES = ["batch-jobs", "crates", "functions", "tests"]
DEMO = ["-p", "proofyard", "-p", "proofyard-miden"]

STEPS = {
    "format": "the format of the Rust sources",
    "reuse": "nothing that the demo has built is built again for the tests",
    "lints": "clippy, on all that is Rust; where all is built from nothing, by that",
    "crates": "the tests of crates/, functions/ and the worker",
    "provers": "the tests of the provers here, with real proofs",
    "examples": "the pipelines of examples/, with real proofs",
    "faults": "the command under kills, power loss, bad provers and bad input",
    "hostile": "the command with provers that would forge; needs Python 3, and root for all of it",
    "follow": "yards that follow a node, with anvil and nodes that fail, here and on the local AWS, or stand between two clients; contracts on anvil; needs npm",
    "baselines": "what people use today, under the loads of the bench; a server that is not installed is named",
    "aws": "yards on the local AWS: MiniStack and a stand-in for AWS Batch",
    "localstack": "the local AWS itself",
    "tier": "a yard on LocalStack itself; needs Python 3.13",
    "infra": "what deploys a yard: the CDK, Terraform, and that both make the same",
    "simulation": "the handlers under thousands of fault schedules",
    "demo": "the demo, as a newcomer runs it",
}
QUICK = ["format", "reuse", "lints", "crates", "faults", "simulation"]
QUICK_SIMULATION_S = 30

# Where a package's tests belong; the first that fits. All else is of `crates`.
STEP_OF = [
    ("batch-jobs/provers/statement/", "crates"),
    ("batch-jobs/provers/", "provers"),
    ("tests/baselines/", "baselines"),
    ("tests/follow/", "follow"),
    ("tests/contracts/", "follow"),
    ("crates/contract/", "follow"),
    ("crates/node/", "follow"),
    ("crates/engine/", "follow"),
    ("functions/follower/", "follow"),
    ("functions/proposer/", "follow"),
    ("functions/notifier/", "aws"),
    ("tests/examples/", "examples"),
    ("tests/faults/", "faults"),
    ("tests/hostile/", "hostile"),
    ("tests/aws/", "aws"),
]
# Those that mostly wait, by step or test binary.
WAITS = {"aws", "baselines", "faults", "follow", "hostile", "localstack", "tier", "command", "runner", "conformance", "working", "disk", "remote"}
# About how long the longest take, in seconds, so that they start first; what is not here is short.
SECONDS = {
    "examples": 300, "aws": 300, "infra": 170, "simulation": 120, "nova": 105, "miden": 85, "tier": 75, "faults": 70,
    "groth16": 85, "command": 60, "hostile": 30, "localstack": 60, "follow": 60, "demo": 40, "report": 20, "baselines": 15, "disk": 15, "conformance": 15,
}
TESTS = re.compile(r"^running (\d+) tests?$", re.MULTILINE)


@dataclass
class Job:
    step: str
    name: str
    command: list[str]
    folder: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    #: Of a test binary only its summary is shown, if it passes.
    is_tests: bool = False
    code: int | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    output: str = ""

    @property
    def label(self) -> str:
        return self.step if self.name == self.step else f"{self.step}: {self.name}"

    @property
    def waits(self) -> bool:
        return self.step in WAITS or self.name.rsplit("/", 1)[-1] in WAITS

    @property
    def weight(self) -> int:
        parts = {self.step, *self.name.split("/")} if self.step in ("crates", "provers") else {self.step}
        return max(SECONDS.get(part, 1) for part in parts)


class Failed(Exception):
    """Nothing more can be done."""


class Runner:
    def __init__(self) -> None:
        self.done: list[Job] = []
        self.running: set[int] = set()
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.stopped = False

    def run(self, job: Job) -> bool:
        """Runs a job, and shows what it printed."""
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / (re.sub(r"[^a-z0-9-]+", "-", job.label.lower()) + ".log")
        began = time.monotonic()
        with log.open("wb") as out:
            # A session of its own, so that all of it can be ended.
            process = subprocess.Popen(
                job.command, cwd=job.folder, env=os.environ | job.environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
            with self.lock:
                self.running.add(process.pid)
                if self.stopped:
                    end(process.pid)
            limit = threading.Timer(LIMIT_S, end, [process.pid])
            limit.start()
            _, status, usage = os.wait4(process.pid, 0)
            limit.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            with self.lock:
                self.running.discard(process.pid)
        job.wall_s, job.cpu_s = time.monotonic() - began, usage.ru_utime + usage.ru_stime
        job.code, job.output = process.returncode, log.read_text(errors="replace")
        with self.lock:
            self.done.append(job)
            self.show(job, log)
        return job.code == 0

    def show(self, job: Job, log: Path) -> None:
        shown = job.output.rstrip()
        if job.is_tests and job.code == 0:
            shown = "\n".join(line for line in shown.splitlines() if line.startswith("test result:"))
        if shown:
            print(shown)
        ended = "ok" if job.code == 0 else f"FAILED with {job.code}; see {log.relative_to(ROOT)}"
        if job.wall_s >= LIMIT_S:
            ended += f"; it was ended after {LIMIT_S} s"
        at = time.monotonic() - self.began
        print(f"== {job.label}: {ended} ({job.wall_s:.1f} s, {job.cpu_s:.1f} s of CPU; at {at:.0f} s)", flush=True)

    def run_beside(self, jobs: list[Job]) -> None:
        """Three lanes, each longest first; a lane that is through helps the others."""
        queues = [[job for job in jobs if job.waits is waits] for waits in (False, True)]
        for queue in queues:
            queue.sort(key=lambda job: -job.weight)

        def lane(own: list[Job], other: list[Job]) -> None:
            while not self.stopped:
                with self.lock:
                    queue = own or other
                    if not queue:
                        return
                    job = queue.pop(0)
                self.run(job)

        computing, waiting = queues
        orders = [(computing, waiting), (waiting, computing), (waiting, computing)]
        lanes = [threading.Thread(target=lane, args=order) for order in orders]
        for each in lanes:
            each.start()
        for each in lanes:
            each.join()

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for pid in self.running:
                end(pid)

    def table(self) -> str:
        """Where the time went: each step, and what takes long within it."""
        lines = [f"{'step':<14} {'':<34} {'wall':>8} {'CPU':>8}"]
        steps: dict[str, list[Job]] = {}
        for job in self.done:
            steps.setdefault(job.step, []).append(job)
        for step, jobs in sorted(steps.items(), key=lambda each: -sum(job.wall_s for job in each[1])):
            wall, cpu = sum(job.wall_s for job in jobs), sum(job.cpu_s for job in jobs)
            lines.append(f"{step:<14} {'':<34} {wall:7.1f}s {cpu:7.1f}s")
            if len(jobs) > 1:
                for job in sorted(jobs, key=lambda job: -job.wall_s)[:10]:
                    lines.append(f"{'':<14} {job.name:<34} {job.wall_s:7.1f}s {job.cpu_s:7.1f}s")
        lines.append(f"{'all':<14} {'(steps go beside each other)':<34} {time.monotonic() - self.began:7.1f}s"
                     f" {sum(job.cpu_s for job in self.done):7.1f}s")
        return "\n".join(lines)


def end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def cargo_json(*arguments: str, environment: dict[str, str] = {}) -> list[dict]:
    """What Cargo says of what it built. Mistakes are shown as they come."""
    command = ["cargo", *arguments, "--message-format", "json-render-diagnostics"]
    process = subprocess.run(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        raise Failed(f"{' '.join(command)} failed")
    return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]


def artifacts(messages: list[dict]) -> list[dict]:
    return [message for message in messages if message["reason"] == "compiler-artifact"]


def test_binaries(messages: list[dict]) -> list[Job]:
    jobs = []
    for built in artifacts(messages):
        if not built["profile"]["test"] or not built["executable"] or "bench" in built["target"]["kind"]:
            continue
        folder = Path(built["manifest_path"]).parent
        place = f"{folder.relative_to(ROOT)}/"
        step = next((step for prefix, step in STEP_OF if place.startswith(prefix)), "crates")
        package = folder.name
        target = built["target"]["name"]
        if package == "aws" and target == "localstack":
            step = "tier"
        name = package if "lib" in built["target"]["kind"] else f"{package}/{target}"
        jobs.append(Job(step, name, [built["executable"]], folder, {"PROOFYARD_PROGRAMS": str(programs())}, is_tests=True))
    return jobs


def programs() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"


def is_linted_by_the_build(wanted: set[str]) -> bool:
    """Whether all that is Rust is compiled now, so that Clippy's driver can do it: what is there already it would not see."""
    return wanted == set(STEPS) and not (programs() / ".fingerprint").exists()


def build(runner: Runner, wanted: set[str]) -> list[Job]:
    """Builds all programs, and the tests of what is wanted; answers the test binaries."""
    began = time.monotonic()
    targets, benches, environment = ["--bins", "--tests"], [], {}
    if is_linted_by_the_build(wanted):
        # With --benches it would compile each library once more, for benches of its own.
        targets, benches = ["--lib", "--bins", "--tests", "--examples"], ["--bench", "*"]
        environment = {"RUSTC_WRAPPER": str(ROOT / "scripts" / "clippy-too.sh")}

    def built(*packages: str) -> list[Job]:
        return test_binaries(cargo_json("build", *CARGO, *packages, *targets, environment=environment))

    with Memory() as memory:
        jobs = [job for job in built(*WORKSPACE, *benches) if job.step in wanted]
        if "simulation" in wanted:
            simulation = built("-p", "proofyard-simulation")
            jobs += [Job("simulation", job.name, job.command, job.folder) for job in simulation]
        if "follow" in wanted:
            packages = [package for package in APART if package not in ("proofyard-simulation", "proofyard-baselines")]
            node = [argument for package in packages for argument in ("-p", package)]
            jobs += built(*node)
        if "baselines" in wanted:
            jobs += built("-p", "proofyard-baselines")
    done = Job("build", "build", [], code=0, wall_s=time.monotonic() - began)
    done.cpu_s = cpu_of_children()
    runner.done.append(done)
    memory_gib = memory.peak_bytes / 2**30
    print(f"== build: ok ({done.wall_s:.1f} s, {done.cpu_s:.1f} s of CPU, at most {memory_gib:.1f} GiB of memory)", flush=True)
    return jobs


class Memory:
    """The most memory that the processes of this session have had at once, looked at twice a second."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> "Memory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def watch(self) -> None:
        page_bytes, session = os.sysconf("SC_PAGE_SIZE"), str(os.getsid(0))
        while not self.ended.wait(0.5):
            pages = 0
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    # After the program's name, which may hold anything: state, parent, group, session.
                    if (process / "stat").read_text().rpartition(")")[2].split()[3] == session:
                        pages += int((process / "statm").read_text().split()[1])
                except (OSError, IndexError):
                    continue  # It has ended meanwhile.
            self.peak_bytes = max(self.peak_bytes, pages * page_bytes)


def cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def check_reuse() -> None:
    """Fails if the demo's packages, built by themselves, share less than they could with the whole workspace."""
    again = [built for built in artifacts(cargo_json("build", *CARGO, *DEMO)) if not built["fresh"]]
    if again:
        lines = [f"  {built['package_id'].split('#')[-1]}: {', '.join(built['features'])}" for built in again]
        raise Failed(
            "the demo's build compiled these again, with these features; see crates/features/Cargo.toml:\n" + "\n".join(lines)
        )


def fixed_jobs() -> list[Job]:
    demo = "data=$(mktemp -d) && trap 'rm -rf \"$data\"' EXIT && bash scripts/demo.sh --data \"$data/yard\""
    return [
        Job("infra", "infra", ["bash", "infra/test.sh"]),
        Job("localstack", "localstack", ["bash", "localstack/test.sh"]),
        Job("tier", "functions", ["bash", "localstack/tier/test.sh"]),
        Job("demo", "demo", ["bash", "-c", demo]),
    ]


def check_counts(runner: Runner) -> None:
    """Every test that is written is run: a target with `test = false` may hide some."""
    written = 0
    for path in (path for part in PACKAGES for path in (ROOT / part).rglob("*.rs")):
        written += len(re.findall(r"^\s*#\[(?:tokio::)?test(?:\(|\])", path.read_text(), re.MULTILINE))
    run = sum(int(number) for job in runner.done if job.is_tests or job.step == "simulation" for number in TESTS.findall(job.output))
    print(f"{run} of {written} tests that are written were run")
    if run != written:
        raise Failed("some tests are written and not run, or the other way round: is a target of theirs `test = false`?")


def arguments() -> argparse.Namespace:
    steps = "\n".join(f"  {name:<12} {what}" for name, what in STEPS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/test.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs all tests, or the steps that are named.", epilog=f"steps:\n{steps}",
    )
    parser.add_argument("--quick", action="store_true", help=f"for daily work: {', '.join(QUICK)}, the simulation for {QUICK_SIMULATION_S} s")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="only these; all by default")
    options = parser.parse_args()
    unknown = [step for step in options.steps if step not in STEPS]
    if unknown:
        parser.error(f"there is no step {', '.join(unknown)}; there are {', '.join(STEPS)}")
    return options


def work(options: argparse.Namespace, runner: Runner) -> None:
    wanted = set(options.steps or (QUICK if options.quick else STEPS))
    if options.quick:
        os.environ.setdefault("SIMULATION_SECONDS", str(QUICK_SIMULATION_S))
    if "format" in wanted and not runner.run(Job("format", "format", ["cargo", "fmt", "--all", "--check"])):
        raise Failed("run: cargo fmt --all")
    jobs = [job for job in fixed_jobs() if job.step in wanted]
    is_linted = is_linted_by_the_build(wanted)
    if wanted - {"format", "lints", "infra", "localstack"}:
        jobs += build(runner, wanted)
    if "reuse" in wanted:
        check_reuse()
    if "lints" in wanted and not is_linted:
        clippy = ["cargo", "clippy", *CARGO, "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]
        runner.run(Job("lints", "lints", clippy))
    runner.run_beside(jobs)
    failed = [job.label for job in runner.done if job.code != 0]
    if failed:
        raise Failed(f"failed: {', '.join(failed)}")
    if set(STEPS) == wanted:
        check_counts(runner)


def main() -> int:
    options, runner = arguments(), Runner()

    def stop(number: int, _frame: object) -> None:
        runner.stop()
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        work(options, runner)
    except Failed as failure:
        print(f"\n{runner.table()}\n\n{failure}", flush=True)
        return 1
    print(f"\n{runner.table()}\n\nall passed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
