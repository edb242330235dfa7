"""What both front ends' facts are brought to, so that only what AWS would see is compared."""

import base64
import json

from cloudformation import Reference


def at(value, path):
    """What is there under `A.B.C`; a block, which is a list of one, counts as what it holds."""
    for key in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def read(path, as_=None, default=None):
    """A fact that is read from one place. `default` is what AWS takes where nothing is said."""

    def fact(values):
        found = at(values, path)
        found = default if found is None else found
        return found if as_ is None or found is None else as_(found)

    return fact


def each(path, as_=list, **parts):
    """A fact that is a list, each entry with these parts."""
    readers = {name: part if callable(part) else read(part) for name, part in parts.items()}

    def fact(values):
        held = at(values, path) or []
        return as_([{name: reader(item) for name, reader in readers.items()} for item in held])

    return fact


def unordered(values):
    return sorted(values or [], key=lambda value: json.dumps(value, sort_keys=True, default=str))


def policy(document):
    """What a policy says, whatever the order of its statements and of what they list."""
    document = parsed(document)
    statements = [{key: listed(held) for key, held in statement.items()} for statement in document["Statement"]]
    return {"version": document["Version"], "statements": unordered(statements)}


def listed(value):
    """AWS reads a text as a list of one, and no list of a policy in any order."""
    if isinstance(value, dict):
        return {key: listed(held) for key, held in value.items()}
    return sorted(value) if isinstance(value, list) else [value]


def parsed(text):
    return json.loads(text) if isinstance(text, str) else text


def variables(held):
    """Of a function; what is told of the pools is JSON."""
    return {name: parsed(value) if name == "PROOFYARD_POOLS" else value for name, value in held.items()}


def decoded(text):
    return base64.b64decode(text).decode()


def alarms_of(rule):
    return sorted(rule.split(" OR "))


def truth(value):
    """Terraform keeps some as texts."""
    return value in (True, "true")


def last_of_arn(arn):
    """The name in it."""
    return arn.rsplit(":", 1)[-1].rsplit("/", 1)[-1]


def pairs(held, name="Name", value="Value"):
    """CloudFormation lists some maps as pairs."""
    return {pair[name]: pair[value] for pair in held} if isinstance(held, list) else held


def tags(held):
    return pairs(held, "Key", "Value")


def plain(value, kinds):
    """A fact as it is compared and shown: nothing said is none, a reference is to a kind."""
    if isinstance(value, Reference):
        return f"the id of: {kinds.get(value.type, value.type)}"
    if isinstance(value, dict):
        held = {key: plain(inner, kinds) for key, inner in value.items()}
        return {key: inner for key, inner in held.items() if inner is not None} or None
    if isinstance(value, list):
        return [plain(held, kinds) for held in value] or None
    return None if value == "" else value


class Watched(dict):
    """Remembers which of its fields were read, so that none is passed over in silence."""

    def __init__(self, held):
        super().__init__({key: watched(inner) for key, inner in held.items()})
        self.read = set()

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def items(self):
        self.read.update(self)
        return super().items()

    def items_unread(self):
        """As `items`, which does not count as reading."""
        return super().items()


def watched(value):
    if isinstance(value, dict):
        return Watched(value)
    return [watched(item) for item in value] if isinstance(value, list) else value


def unread(value, path=""):
    """(place, value) of what nobody read."""
    if isinstance(value, list):
        for item in value:
            yield from unread(item, path)
    elif isinstance(value, Watched):
        for key, held in value.items_unread():
            if key in value.read:
                yield from unread(held, f"{path}{key}.")
            else:
                yield path + key, held
