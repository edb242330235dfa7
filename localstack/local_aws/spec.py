"""The shared spec, `infra/spec/yard.json`: read, checked for keys that nobody knows, and filled in for one yard."""

import json
from pathlib import Path
from typing import Any

PLACE = Path(__file__).resolve().parents[2] / "infra" / "spec" / "yard.json"
ACCOUNT = "000000000000"

KEYS = {
    "": {"names", "table", "bucket", "queues", "queue_defaults", "functions", "function_defaults", "pools", "worker"},
    "/table": {"name", "partition_key", "sort_key", "index"},
    "/table/index": {"name", "partition_key", "sort_key"},
    "/bucket": {"name"},
    "/queues/*": {"name", "fifo", "content_based_deduplication", "each_pool", "retention_s"},
    "/queue_defaults": {"visibility_s", "retention_s", "receives_before_dead_letter", "dead_letter_suffix"},
    "/functions/*": {"binary", "webhook", "queue", "batch_size", "schedule"},
    "/function_defaults": {"name", "runtime", "timeout_s", "memory_mb"},
    "/pools/*": {
        "job_queue", "job_definition", "max_workers", "max_tasks", "idle_out_ms",
        "vcpus", "memory_mb", "gpus", "attempts", "timeout_s",
    },
    "/worker": {"command"},
}


class BadSpec(Exception):
    """The spec, or a yard's name, cannot be used; says where and why."""


def check(spec: dict[str, Any], place: Path = PLACE) -> None:
    for pattern, known in KEYS.items():
        for where, table in _tables(spec, pattern):
            if not isinstance(table, dict):
                raise BadSpec(f"{place}{where}: this must be a table")
            for key in table.keys() - known:
                raise BadSpec(f"{place}{where}/{key}: nobody knows this key; there are: {', '.join(sorted(known))}")


def _tables(spec: dict[str, Any], pattern: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [("", spec)]
    for part in pattern.split("/")[1:]:
        if part == "*":
            found = [(f"{where}/{name}", inner) for where, table in found for name, inner in table.items()]
        else:
            found = [(f"{where}/{part}", table[part]) for where, table in found if part in table]
    return found


def load(yard: str, place: Path = PLACE) -> dict[str, Any]:
    spec = json.loads(place.read_text())
    check(spec, place)
    return _filled(spec, yard, "")


def _filled(value: Any, yard: str, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, yard, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, yard, where) for inner in value]
    if isinstance(value, str) and where != "names":
        return value.replace("{yard}", yard).replace("{account}", ACCOUNT)
    return value
