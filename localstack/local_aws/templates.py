"""What a yard consists of: the templates that `infra/cdk` makes, in `localstack/templates`, filled in for one yard.

They are kept in the repository so that the local AWS needs no Node.js; `infra/test.sh` compares them with what the CDK
makes.
"""

import json
import re
from pathlib import Path
from typing import Any

from .server import ACCOUNT, REGION

FOLDER = Path(__file__).resolve().parents[1] / "templates"
#: The yard's name in them.
PLACEHOLDER = "name-of-the-yard"
MAX_YARD_BYTES = 32
#: Says whether a judge looks at what is handed on.
JUDGE = "PROOFYARD_JUDGE"
PSEUDO = {
    "AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com",
}

Template = dict[str, Any]


class BadYard(Exception):
    """A yard's name, or a template, cannot be used; says why."""


def check_yard(yard: str) -> None:
    """As the yard's programs have it."""
    if len(yard) > MAX_YARD_BYTES or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", yard):
        raise BadYard(
            f"{yard!r} cannot name a yard: take up to {MAX_YARD_BYTES} of a-z, 0-9 and single dashes between them"
        )


def load(yard: str, part: str) -> Template:
    """One stack of a yard: state, messaging, functions, proving or observability."""
    check_yard(yard)
    place = FOLDER / f"{part}.json"
    try:
        return dict(json.loads(place.read_text().replace(PLACEHOLDER, yard)))
    except (OSError, ValueError) as error:
        raise BadYard(f"{place} cannot be read: {error}; make it with: bash infra/local-templates.sh") from error


def judged(template: Template) -> Template:
    """In which functions and jobs are told that a judge looks at what is handed on."""
    for function in of_type(template, "AWS::Lambda::Function"):
        function["Environment"]["Variables"][JUDGE] = "true"
    for job in of_type(template, "AWS::Batch::JobDefinition"):
        for variable in job["ContainerProperties"]["Environment"]:
            if variable["Name"] == JUDGE:
                variable["Value"] = "true"
    return template


def without_function(template: Template, binary: str) -> Template:
    """Without the function that runs this program, and without what refers to it."""
    resources = template["Resources"]
    gone = {
        key for key, each in resources.items()
        if each["Type"] == "AWS::Lambda::Function" and Path(each["Properties"]["Code"]["S3Key"]).stem == binary
    }
    stays = {key: each for key, each in resources.items() if key not in gone and not _refers_to(each["Properties"], gone)}
    return {**template, "Resources": stays}


def _refers_to(value: Any, names: set[str]) -> bool:
    if isinstance(value, list):
        return any(_refers_to(inner, names) for inner in value)
    if not isinstance(value, dict):
        return False
    named = value.get("Ref") in names if isinstance(value.get("Ref"), str) else False
    attribute = value.get("Fn::GetAtt")
    if isinstance(attribute, list):
        named = named or attribute[0] in names
    return named or any(_refers_to(inner, names) for inner in value.values())


def of_type(template: Template, kind: str) -> list[dict[str, Any]]:
    """The properties of a kind of resource."""
    return [each["Properties"] for each in template["Resources"].values() if each["Type"] == kind]


def with_pseudo_parameters(value: Any) -> Any:
    """With AWS's own names of account, region and so on put in: a template that is sent as it is has 51,200 bytes at most."""
    if isinstance(value, list):
        return [with_pseudo_parameters(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("Ref"), str):
        return PSEUDO.get(value["Ref"], value)
    held = {key: with_pseudo_parameters(inner) for key, inner in value.items()}
    if "Fn::Join" in held:
        between, parts = held["Fn::Join"]
        if all(isinstance(part, str) for part in parts):
            return str(between.join(parts))
    return held


def resolved(value: Any, template: Template) -> Any:
    """With what it refers to put in its place, as far as a name tells it."""
    if isinstance(value, list):
        return [resolved(inner, template) for inner in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Join" in value:
        between, parts = value["Fn::Join"]
        return between.join(map(str, resolved(parts, template)))
    if "Ref" in value:
        return PSEUDO.get(value["Ref"], value["Ref"])
    if "Fn::GetAtt" in value:
        return _attribute(template, *value["Fn::GetAtt"])
    return {key: resolved(inner, template) for key, inner in value.items()}


def _attribute(template: Template, name: str, attribute: str) -> str:
    resource = template["Resources"][name]
    if (resource["Type"], attribute) == ("AWS::IAM::Role", "Arn"):
        return f"arn:aws:iam::{ACCOUNT}:role/{resource['Properties']['RoleName']}"
    return f"{name}.{attribute}"


def without_tls(template: Template) -> Template:
    """Without the statements that refuse who speaks no TLS: nobody does on loopback."""
    for resource in template["Resources"].values():
        document = resource["Properties"].get("PolicyDocument")
        if document:
            document["Statement"] = [each for each in document["Statement"] if each.get("Sid") != "OnlyOverTls"]
    return {**template, "Resources": {key: each for key, each in template["Resources"].items() if _says_anything(each)}}


def _says_anything(resource: dict[str, Any]) -> bool:
    document = resource["Properties"].get("PolicyDocument")
    return document is None or bool(document["Statement"])


def pools(functions: Template) -> dict[str, dict[str, Any]]:
    """By pool, what functions are told of its jobs."""
    for function in of_type(functions, "AWS::Lambda::Function"):
        variables = resolved(function["Environment"]["Variables"], functions)
        if "PROOFYARD_POOLS" in variables:
            return dict(json.loads(variables["PROOFYARD_POOLS"]))
    raise BadYard(f"no function in {FOLDER / 'functions.json'} is told of pools")


def job_definitions(proving: Template) -> list[dict[str, Any]]:
    """As RegisterJobDefinition takes them."""
    return [_as_in_the_api(resolved(each, proving)) for each in of_type(proving, "AWS::Batch::JobDefinition")]


def _as_in_the_api(value: Any) -> Any:
    """CloudFormation's names of properties are the API's, but for a capital at their begin."""
    if isinstance(value, list):
        return [_as_in_the_api(inner) for inner in value]
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _as_in_the_api(inner) for key, inner in value.items()}
    return value
