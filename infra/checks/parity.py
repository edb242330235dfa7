#!/usr/bin/env python3
"""Says whether both front ends make the same of an environment: the CDK's templates against a Terraform plan.

    infra/checks/parity.py TEMPLATES PLAN.json [--account 123456789012] [--region us-east-1]

Exits 1 with each difference if they do not. Both are read as facts (of a queue: how long a message stays invisible,
what its policy says), so that only what AWS would be told is compared.
"""

import argparse
import json
import sys
from collections import Counter

import cloudformation
import cloudformation_facts
import plan
import terraform_facts
from facts import plain, unread, watched

ALL = {"all of it"}
# What is not compared, and why. Whatever else is given and not among the facts counts as a difference.
LEFT_OUT = {
    # The CDK takes them from AWS as it deploys, Terraform from `var.zones`.
    "AWS::EC2::Subnet": {"AvailabilityZone"},
    "aws_subnet": {"availability_zone"},
    # A plan says of them only that they come from `local.vpc` and `local.subnets`, which may also be given ones. The
    # provider has no argument for how the CDK updates an environment in place.
    "AWS::EC2::SecurityGroup": {"VpcId"},
    "aws_security_group": {"vpc_id"},
    "AWS::Batch::ComputeEnvironment": {
        "ComputeResources.Subnets",
        "ComputeResources.UpdateToLatestImageVersion",
        "ReplaceComputeEnvironment",
    },
    "aws_batch_compute_environment": {"compute_resources.subnets"},
    # A place in a bucket there, a file here. Both change only when the program does.
    "AWS::Lambda::Function": {"Code"},
    "aws_lambda_function": {"filename", "s3_bucket", "s3_key", "source_code_hash"},
    # What a destroy does is `DeletionPolicy` there, which is no property.
    "aws_kms_key": {"deletion_window_in_days"},
    "aws_s3_bucket": {"force_destroy"},
    "aws_secretsmanager_secret": {"recovery_window_in_days"},
    # Here an ephemeral resource makes the secret, which no plan shows.
    "AWS::SecretsManager::Secret": {"GenerateSecretString"},
    "aws_secretsmanager_secret_version": ALL,
    # There is one gateway, and here no attachment apart from it.
    "AWS::EC2::VPCGatewayAttachment": {"InternetGatewayId"},
    # CloudFormation cannot tag the one, the provider not the other.
    "aws_iam_instance_profile": {"tags"},
    "AWS::CloudWatch::Dashboard": {"Tags"},
    # Tables are encrypted under a key that is named, or not at all.
    "AWS::DynamoDB::Table": {"SSESpecification.SSEType"},
}


def gathered(described, facts_of):
    """(kind, name): facts. `described` has (type, values) of each resource; those without a name are numbered."""
    kinds = {type_: kind for type_, (kind, _, _) in facts_of.TYPES.items()}
    found = {}
    unnamed = Counter()
    for type_, values in described:
        left_out = LEFT_OUT.get(type_, set())
        if left_out is ALL:
            continue
        kind, name, facts = facts_of.TYPES.get(type_, (type_, None, {}))
        values = watched(values)
        key = (kind, f"number {unnamed[type_]}" if name is None else name(values))
        unnamed[type_] += 1
        read = {fact: plain(reader(values), kinds) for fact, reader in facts.items()}
        for place, held in unread(values):
            if place not in left_out and not facts_of.says_nothing(type_, place, held):
                read[f"{type_}.{place}"] = "is there, and is not among the facts"
        found.setdefault(key, {}).update({fact: value for fact, value in read.items() if value is not None})
    return found


def differences(cdk, terraform):
    """A line for each fact that one says otherwise."""
    for key in sorted(cdk.keys() | terraform.keys()):
        kind, name = key
        if key not in terraform:
            yield f"{kind} {name}: the CDK makes it, Terraform does not"
        elif key not in cdk:
            yield f"{kind} {name}: Terraform makes it, the CDK does not"
        else:
            for fact in sorted(cdk[key].keys() | terraform[key].keys()):
                ours, theirs = cdk[key].get(fact), terraform[key].get(fact)
                if ours != theirs:
                    said = f"\n    the CDK says    {shown(ours, theirs)}\n    Terraform says  {shown(theirs, ours)}"
                    yield f"{kind} {name}: {fact}:{said}"


def shown(value, other):
    """Of a list or a map only what the other lacks."""
    return "nothing" if value is None else json.dumps(lacking(value, other), ensure_ascii=False)


def lacking(value, other):
    if isinstance(value, list) and isinstance(other, list):
        return [item for item in value if item not in other] or value
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: lacking(held, other.get(key)) for key, held in value.items() if other.get(key) != held}
    return value


def parity(of_cdk, of_terraform):
    """The differences, and one line that sums up."""
    cdk = gathered(of_cdk, cloudformation_facts)
    terraform = gathered(of_terraform, terraform_facts)
    found = list(differences(cdk, terraform))
    facts = sum(len(cdk[key].keys() | terraform[key].keys()) for key in cdk.keys() & terraform.keys())
    what = f"{len(found)} differences in" if found else "Both say the same in"
    made = f"{len(of_cdk)} resources of the CDK and {len(of_terraform)} of Terraform"
    return found, f"{what} {facts} facts of {len(cdk.keys() | terraform.keys())} things, from {made}."


def main(arguments):
    parser = argparse.ArgumentParser(description="compares the CDK's templates of an environment with a Terraform plan")
    parser.add_argument("templates", help="the folder with the templates")
    parser.add_argument("plan", help="what `terraform show -json` wrote")
    parser.add_argument("--account", default="123456789012")
    parser.add_argument("--region", default="us-east-1")
    asked = parser.parse_args(arguments)
    place = {"account": asked.account, "region": asked.region, "partition": "aws", "url_suffix": "amazonaws.com"}
    found, sum_ = parity(cloudformation.resources(asked.templates, place), plan.resources(asked.plan))
    print(*found, sum_, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
