#!/usr/bin/env python3
"""Says what a Terraform plan wants of a yard that was just applied to moto's server: nothing but what moto forgets.

    infra/checks/moto_again.py PLAN.json [--machine]

With `--machine`, `machine.sh` was changed since: the launch templates change, and with them, in place, the compute
environments. Exits 1 with each other difference.
"""

import json
import sys
from collections import Counter
from pathlib import Path

# What moto 5.2.5 takes and does not give back: its answers to `Describe...` and `Get...` lack it.
FORGOTTEN = {
    "aws_batch_compute_environment": {"update_policy"},
    "aws_batch_job_definition": {"scheduling_priority"},
    "aws_batch_job_queue": {"job_state_time_limit_action"},
    "aws_lambda_function": {"logging_config"},
    # It gives it back with other white space.
    "aws_sqs_queue": {"redrive_policy"},
}
ENVIRONMENTS = "aws_batch_compute_environment"
TEMPLATES = "aws_launch_template"


def changed(change):
    """The arguments that a plan changes."""
    before, after, unknown = change["before"] or {}, change["after"] or {}, change["after_unknown"]
    return {name for name in before.keys() | after.keys() if name in after and before.get(name) != after[name]} | {
        name for name, held in unknown.items() if held is True
    }


def launch_version_unknown(change):
    (resources,) = change["after_unknown"].get("compute_resources") or [{}]
    (template,) = resources.get("launch_template") or [{}]
    return template.get("version", False)


def main(file, machine=None):
    wrong, forgotten, reached = [], Counter(), Counter()
    managed = [held for held in json.loads(Path(file).read_text())["resource_changes"] if held["mode"] == "managed"]
    for held in managed:
        type_, change = held["type"], held["change"]
        if change["actions"] == ["no-op"]:
            continue
        others = changed(change) - FORGOTTEN.get(type_, set())
        if machine and type_ == TEMPLATES and change["actions"] == ["update"]:
            reached[type_] += 1
            others = set()
        elif machine and type_ == ENVIRONMENTS and launch_version_unknown(change):
            reached[type_] += 1
            others -= {"compute_resources"}
        if change["actions"] != ["update"] or others:
            wrong.append(f"{held['address']}: {', '.join(change['actions'])}: {', '.join(sorted(others))}")
        for name in changed(change) & FORGOTTEN.get(type_, set()):
            forgotten[f"{type_}.{name}"] += 1
    if machine:
        count = Counter(held["type"] for held in managed)
        print(f"  in place: {reached[TEMPLATES]} launch templates, {reached[ENVIRONMENTS]} compute environments")
        for type_ in (TEMPLATES, ENVIRONMENTS):
            if reached[type_] != count[type_]:
                wrong.append(f"{type_}: {reached[type_]} of {count[type_]} change")
    else:
        print(f"  {len(managed)} resources; the plan is {'not ' if forgotten or wrong else ''}empty")
        for what, number in sorted(forgotten.items()):
            print(f"  moto forgets {number} {what}")
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
