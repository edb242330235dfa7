"""The resources of a Terraform plan, as `terraform show -json PLAN` writes it.

What a plan cannot know yet, since AWS alone does, becomes a `Reference` to the kind of resource that it is taken from.
"""

import json
from pathlib import Path

from cloudformation import Reference


def modules(module, address=""):
    """Each module's address with its configuration."""
    yield address, module
    for name, call in module.get("module_calls", {}).items():
        yield from modules(call["module"], f"{address}module.{name}.")


def filled(values, unknown, expressions):
    """`values`, with a reference in the place of each unknown value that is another resource's."""
    for key, held in unknown.items():
        expression = expressions.get(key, {})
        if held is True:
            reference = referred(expression)
            if reference is not None:
                values[key] = reference
        elif isinstance(held, list) and isinstance(expression, list):
            for place, inner in enumerate(held):
                if isinstance(inner, dict) and place < len(values[key]):
                    filled(values[key][place], inner, expression[min(place, len(expression) - 1)])
    return values


def referred(expression):
    names = expression.get("references", []) if isinstance(expression, dict) else []
    types = [name.split(".")[0] for name in names if name.startswith("aws_")]
    return Reference(types[0]) if types else None


def opened(value):
    """With what is JSON in a text as what it says."""
    if isinstance(value, dict):
        return {key: opened(held) for key, held in value.items()}
    if isinstance(value, list):
        return [opened(held) for held in value]
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def resources(file):
    """(type, values) of each that AWS would be asked for."""
    plan = json.loads(Path(file).read_text())
    written = {
        f"{address}{held['address']}": held.get("expressions", {})
        for address, module in modules(plan["configuration"]["root_module"])
        for held in module.get("resources", [])
    }
    found = []
    for change in plan["resource_changes"]:
        if change["mode"] == "managed" and change["type"].startswith("aws_"):
            module = f"{change['module_address']}." if "module_address" in change else ""
            expressions = written[f"{module}{change['type']}.{change['name']}"]
            values = filled(change["change"]["after"], change["change"]["after_unknown"], expressions)
            found.append((change["type"], opened(values)))
    return found
