"""The shared spec, `infra/spec/yard.json`: read, checked for keys that nobody knows, and filled in for one yard."""

import json
import re
from pathlib import Path
from typing import Any

PLACE = Path(__file__).resolve().parents[2] / "infra" / "spec" / "yard.json"
ACCOUNT = "000000000000"
MAX_YARD_BYTES = 32

KEY = {"name", "type"}
#: By place in the spec: the keys that must be there, and those that may.
KEYS: dict[str, tuple[set[str], set[str]]] = {
    "": (
        {"table", "bucket", "queues", "queue_defaults", "functions", "function_defaults", "pools", "worker"},
        {"names"},
    ),
    "/table": ({"name", "partition_key", "sort_key", "ttl_attribute", "index"}, set()),
    "/table/partition_key": (KEY, set()),
    "/table/sort_key": (KEY, set()),
    "/table/index": ({"name", "partition_key", "sort_key"}, set()),
    "/table/index/partition_key": (KEY, set()),
    "/table/index/sort_key": (KEY, set()),
    "/bucket": ({"name", "abort_uploads_after_days"}, set()),
    "/queues": ({"blocks", "results", "ticks", "wake"}, set()),
    "/queues/*": ({"name", "fifo"}, {"content_based_deduplication", "each_pool", "retention_s"}),
    "/queue_defaults": ({"visibility_s", "retention_s", "receives_before_dead_letter", "dead_letter_suffix"}, set()),
    "/functions/*": ({"binary"}, {"webhook", "queue", "batch_size", "schedule"}),
    "/function_defaults": ({"name", "runtime", "timeout_s", "memory_mb"}, set()),
    "/pools/*": (
        {
            "job_queue", "job_definition", "max_workers", "max_tasks", "idle_out_ms",
            "vcpus", "memory_mb", "gpus", "attempts", "timeout_s",
        },
        set(),
    ),
    "/worker": ({"command"}, set()),
}


class BadSpec(Exception):
    """The spec, or a yard's name, cannot be used; says where and why."""


def load(yard: str, place: Path = PLACE) -> dict[str, Any]:
    check_yard(yard)
    try:
        spec = json.loads(place.read_text())
    except (OSError, ValueError) as error:
        raise BadSpec(f"{place} cannot be read: {error}") from error
    check(spec, place)
    return filled(spec, yard)


def check_yard(yard: str) -> None:
    """As the yard's programs have it."""
    if len(yard) > MAX_YARD_BYTES or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", yard):
        raise BadSpec(
            f"{yard!r} cannot name a yard: take up to {MAX_YARD_BYTES} of a-z, 0-9 and single dashes between them"
        )


def check(spec: Any, place: Path = PLACE) -> None:
    for pattern, (needed, possible) in KEYS.items():
        for where, table in _tables(spec, pattern):
            if not isinstance(table, dict):
                raise BadSpec(f"{place}: {where or '/'} must be an object")
            known = ", ".join(sorted(needed | possible))
            for key in sorted(table.keys() - needed - possible):
                raise BadSpec(f"{place}: {where}/{key} is not a key that localstack/ knows; it knows: {known}")
            for key in sorted(needed - table.keys()):
                raise BadSpec(f"{place}: {where}/{key} is missing")
    for name, function in spec["functions"].items():
        if function.get("queue", "ticks") not in spec["queues"]:
            raise BadSpec(f"{place}: /functions/{name}/queue names no queue of /queues")


def _tables(spec: Any, pattern: str) -> list[tuple[str, Any]]:
    """All that a pattern names, with its place; what holds it was checked before."""
    found: list[tuple[str, Any]] = [("", spec)]
    for part in pattern.split("/")[1:]:
        if part == "*":
            found = [(f"{where}/{name}", inner) for where, table in found for name, inner in table.items()]
        else:
            found = [(f"{where}/{part}", table[part]) for where, table in found]
    return found


def filled(spec: dict[str, Any], yard: str) -> dict[str, Any]:
    values = {"yard": yard, "account": ACCOUNT}
    whole = _filled({key: value for key, value in spec.items() if key != "names"}, values)
    whole["pools"] = {name: _filled(pool, {"pool": name}) for name, pool in whole["pools"].items()}
    whole["functions"] = {name: {**function, "name": function_name(whole, name)} for name, function in whole["functions"].items()}
    return whole


def function_name(spec: dict[str, Any], function: str) -> str:
    return str(_filled(spec["function_defaults"]["name"], {"function": function}))


def queue_names(spec: dict[str, Any], queue: str) -> list[str]:
    """The queue's name, or one for each pool."""
    described = spec["queues"][queue]
    if not described.get("each_pool"):
        return [described["name"]]
    return [_filled(described["name"], {"pool": pool}) for pool in spec["pools"]]


def dead_letter_name(spec: dict[str, Any], queue: str) -> str:
    suffix = spec["queue_defaults"]["dead_letter_suffix"]
    return f"{queue.removesuffix('.fifo')}{suffix}{'.fifo' if queue.endswith('.fifo') else ''}"


def _filled(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace(f"{{{name}}}", text)
    return value
