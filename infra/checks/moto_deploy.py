#!/usr/bin/env python3
"""Deploys the CDK's stacks of an environment to moto's server, by CloudFormation, and asks it what is there.

    infra/checks/moto_deploy.py ENDPOINT [TEMPLATES]

Empties the server first; without templates, that is all. Exits 1 with each difference between what AWS Batch has and what
the templates say, or with what moto no longer lacks.
"""

import json
import sys
import time
import urllib.request
from collections import Counter
from functools import partial
from pathlib import Path

import boto3
from botocore.config import Config

from cloudformation import Template

# `proving` is the one that no other local AWS knows.
STACKS = ["state", "messaging", "proving"]
PLACE = {"account": "123456789012", "region": "us-east-1", "partition": "aws", "url_suffix": "amazonaws.com"}
# AWS gives each account this role with its first environment; moto asks for it.
SERVICE_ROLE = "AWSServiceRoleForBatch"
SERVICE_ROLE_PATH = "/aws-service-role/batch.amazonaws.com/"


def job_queue(properties):
    del properties["SchedulingPolicyArn"]
    for held in properties["ComputeEnvironmentOrder"]:
        held["ComputeEnvironment"] = {"Ref": held["ComputeEnvironment"]["Fn::GetAtt"][0]}


# What moto 5.2.5 cannot take of a template, and what it says. CHANGED is changed in the template that it gets.
CHANGED = {
    # `create_key`: KeyError 'TagKey', since CloudFormation's tags have a `Key`.
    "AWS::KMS::Key": lambda properties: properties.pop("Tags"),
    # `create_from_cloudformation_json`: KeyError 'ServiceRole', which AWS fills in.
    "AWS::Batch::ComputeEnvironment": lambda properties: properties.update(
        ServiceRole=f"arn:aws:iam::{PLACE['account']}:role{SERVICE_ROLE_PATH}{SERVICE_ROLE}"
    ),
    # Of `Fn::GetAtt`: 'ComputeEnvironment' object has no attribute 'get_cfn_attribute' (`Ref` gives the ARN as well), and
    # "references undefined resource Shares", since it passes over scheduling policies.
    "AWS::Batch::JobQueue": job_queue,
}
# "No Moto CloudFormation support for ...": it passes them over, and says CREATE_COMPLETE.
PASSED_OVER = {
    "AWS::Batch::SchedulingPolicy",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::Secret",
}


def deploy(formation, folder, stack):
    """What is wrong, and the resources as they were asked for."""
    started = time.monotonic()
    template = json.loads((folder / f"{stack}.template.json").read_text())
    asked = Template(template, PLACE).resolved()
    types = {id_: held["Type"] for id_, held in template["Resources"].items()}
    for held in template["Resources"].values():
        if held["Type"] in CHANGED:
            CHANGED[held["Type"]](held["Properties"])
    name = f"proofyard-{folder.name}-{stack}"
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"])
    status = formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    resources = formation.describe_stack_resources(StackName=name)["StackResources"]
    made = {held.get("LogicalResourceId") for held in resources}
    passed_over = Counter(type_ for id_, type_ in types.items() if id_ not in made)
    count = f"{len(types) - passed_over.total()} of {len(types)} resources"
    print(f"{name}: {status}, {count}, {time.monotonic() - started:.1f} s")
    for type_, number in sorted(passed_over.items()):
        print(f"  moto's CloudFormation passes over {number} {type_}")
    wrong = [] if status == "CREATE_COMPLETE" else [f"{name} is {status}"]
    known = PASSED_OVER & set(types.values())
    wrong += [f"{name}: {type_} was not made" for type_ in sorted(passed_over.keys() - known)]
    wrong += [f"{name}: moto makes {type_} by now: PASSED_OVER" for type_ in sorted(known - passed_over.keys())]
    return wrong, asked


def environment(held, versions):
    """As templates say it. The template of its machines must be there, in the version that is named."""
    resources = held["computeResources"]
    template = resources["launchTemplate"]["launchTemplateName"]
    return {
        "Type": held["type"],
        "State": held["state"],
        "machines": resources["type"],
        "allocation": resources["allocationStrategy"],
        "vcpus": (resources["minvCpus"], resources["maxvCpus"]),
        "types": resources["instanceTypes"],
        "profile": resources["instanceRole"],
        "images": [held["imageType"] for held in resources["ec2Configuration"]],
        "subnets": len(resources["subnets"]),
        "launch template": template,
        "is its newest version": resources["launchTemplate"]["version"] == versions.get(template),
    }


def environment_asked(properties):
    resources = properties["ComputeResources"]
    return {
        "Type": properties["Type"],
        "State": properties["State"],
        "machines": resources["Type"],
        "allocation": resources["AllocationStrategy"],
        "vcpus": (resources["MinvCpus"], resources["MaxvCpus"]),
        "types": resources["InstanceTypes"],
        "profile": resources["InstanceRole"],
        "images": [held["ImageType"] for held in resources["Ec2Configuration"]],
        "subnets": len(resources["Subnets"]),
        "launch template": resources["LaunchTemplate"]["LaunchTemplateName"],
        "is its newest version": True,
    }


def queue(held):
    order = sorted(held["computeEnvironmentOrder"], key=lambda environment: environment["order"])
    return {
        "State": held["state"],
        "Priority": held["priority"],
        "environments": [environment["computeEnvironment"] for environment in order],
    }


def queue_asked(properties):
    order = sorted(properties["ComputeEnvironmentOrder"], key=lambda environment: environment["Order"])
    return {
        "State": properties["State"],
        "Priority": properties["Priority"],
        "environments": [environment["ComputeEnvironment"] for environment in order],
    }


def definition(held):
    container = held["containerProperties"]
    return {
        "Type": held["type"],
        "image": container["image"],
        "command": container["command"],
        "roles": [container["jobRoleArn"], container["executionRoleArn"]],
        "environment": {pair["name"]: pair["value"] for pair in container["environment"]},
        "needs": {need["type"]: need["value"] for need in container["resourceRequirements"]},
        "attempts": held["retryStrategy"]["attempts"],
    }


def definition_asked(properties):
    container = properties["ContainerProperties"]
    return {
        "Type": properties["Type"],
        "image": container["Image"],
        "command": container["Command"],
        "roles": [container["JobRoleArn"], container["ExecutionRoleArn"]],
        "environment": {pair["Name"]: pair["Value"] for pair in container["Environment"]},
        "needs": {need["Type"]: need["Value"] for need in container["ResourceRequirements"]},
        "attempts": properties["RetryStrategy"]["Attempts"],
    }


def differences(what, found, asked):
    for name in sorted(found.keys() | asked.keys()):
        if name not in found or name not in asked:
            yield f"{what} {name} {'is not there' if name in asked else 'is in no template'}"
            continue
        for fact, value in asked[name].items():
            if found[name][fact] != value:
                yield f"{what} {name}: {fact}: there is {found[name][fact]!r}, the template says {value!r}"


def compared(client, resources):
    """What AWS Batch has otherwise than the templates, which are `resources`."""
    batch = client("batch")
    templates = client("ec2").describe_launch_templates()["LaunchTemplates"]
    versions = {held["LaunchTemplateName"]: str(held["LatestVersionNumber"]) for held in templates}

    def asked(type_, name, facts):
        return {held[name]: facts(held) for held_type, held in resources if held_type == f"AWS::Batch::{type_}"}

    environments = batch.describe_compute_environments()["computeEnvironments"]
    found = {held["computeEnvironmentName"]: environment(held, versions) for held in environments}
    yield from differences(
        "compute environment", found, asked("ComputeEnvironment", "ComputeEnvironmentName", environment_asked)
    )
    queues = {held["jobQueueName"]: queue(held) for held in batch.describe_job_queues()["jobQueues"]}
    yield from differences("job queue", queues, asked("JobQueue", "JobQueueName", queue_asked))
    jobs = {held["jobDefinitionName"]: definition(held) for held in batch.describe_job_definitions()["jobDefinitions"]}
    yield from differences("job definition", jobs, asked("JobDefinition", "JobDefinitionName", definition_asked))
    kinds = Counter(held["machines"] for held in found.values())
    print(
        f"  AWS Batch: {len(found)} compute environments ({kinds['SPOT']} spot, {kinds['EC2']} at full price),"
        f" {len(queues)} job queues, {len(jobs)} job definitions"
    )


def emptied(endpoint, client):
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "batch.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    client("iam").create_role(
        RoleName=SERVICE_ROLE, Path=SERVICE_ROLE_PATH, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", **trust})
    )


def main(endpoint, folder=None):
    session = boto3.Session(aws_access_key_id="moto", aws_secret_access_key="moto", region_name=PLACE["region"])
    # What moto fails at is not tried again.
    client = partial(session.client, endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))
    emptied(endpoint, client)
    if folder is None:
        return 0
    wrong, resources = [], []
    for stack in STACKS:
        told, asked = deploy(client("cloudformation"), Path(folder), stack)
        wrong += told
        resources += asked
    wrong += compared(client, resources)
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
