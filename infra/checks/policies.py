"""Every policy of an environment's templates, read by parliament: actions that AWS does not have, actions that are of
another service than their resource, conditions that an action does not know."""

import argparse
import json
import sys
from pathlib import Path

import cloudformation
from parliament import analyze_policy_string

PLACE = {"account": "123456789012", "region": "us-east-1", "partition": "aws", "url_suffix": "amazonaws.com"}
# What parliament says and AWS does not mean, by how it begins.
ACCEPTED = {
    "RESOURCE_MISMATCH [{'action': 'batch:SubmitJob', 'required_format': 'arn:*:batch:*:*:job/*'}]":
        "a job has no name before it is submitted; AWS's guide limits the action to queues and definitions",
    "RESOURCE_STAR ['ecs:DeregisterContainerInstance'":
        "AWS Batch makes the cluster, under a name of its own; see the exceptions of infra/cdk/test/policies.test.ts",
}


def policies(folder):
    """(name, document) of each policy of a role."""
    for type_, properties in cloudformation.resources(folder, PLACE):
        for policy in properties.get("Policies", []) if type_ == "AWS::IAM::Role" else []:
            yield properties["RoleName"], policy["PolicyDocument"]


def complaints(document):
    found = analyze_policy_string(json.dumps(document)).findings
    said = [f"{finding.issue} {finding.detail} {finding.location.get('string', '')}".strip() for finding in found]
    return [what for what in said if not any(what.startswith(accepted) for accepted in ACCEPTED)]


def main(arguments):
    parser = argparse.ArgumentParser(description="has parliament read the policies of an environment's roles")
    parser.add_argument("templates", type=Path, help="the folder with the templates")
    read = list(policies(parser.parse_args(arguments).templates))
    found = [f"{name}: {complaint}" for name, document in read for complaint in complaints(document)]
    print(*found, f"{len(read)} policies of roles read, {len(found)} complaints", sep="\n")
    return 1 if found or not read else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
