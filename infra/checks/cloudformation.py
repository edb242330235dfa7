"""The resources of CloudFormation templates, with what refers to a name or an ARN put in its place.

A reference to what AWS alone knows (the id of a key, of a subnet) becomes a `Reference` to that kind of resource.
"""

import base64
import json
import re
from pathlib import Path

STACKS = ["state", "messaging", "functions", "proving", "observability"]

# What `Ref` of a type gives, as a property of it or as an ARN; of other types it gives an id.
REFS = {
    "AWS::SNS::Topic": "arn:{partition}:sns:{region}:{account}:{TopicName}",
    "AWS::SQS::Queue": "https://sqs.{region}.{url_suffix}/{account}/{QueueName}",
    "AWS::Logs::LogGroup": "{LogGroupName}",
    "AWS::Lambda::Function": "{FunctionName}",
    "AWS::Events::Rule": "{Name}",
    "AWS::IAM::Role": "{RoleName}",
    "AWS::IAM::InstanceProfile": "{InstanceProfileName}",
    "AWS::S3::Bucket": "{BucketName}",
    "AWS::DynamoDB::Table": "{TableName}",
    "AWS::CloudWatch::Alarm": "{AlarmName}",
}
# The ARN that `Fn::GetAtt` gives; of other types AWS alone knows it.
ARNS = {
    "AWS::S3::Bucket": "arn:{partition}:s3:::{BucketName}",
    "AWS::SQS::Queue": "arn:{partition}:sqs:{region}:{account}:{QueueName}",
    "AWS::Lambda::Function": "arn:{partition}:lambda:{region}:{account}:function:{FunctionName}",
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role/{RoleName}",
    "AWS::IAM::InstanceProfile": "arn:{partition}:iam::{account}:instance-profile/{InstanceProfileName}",
    "AWS::Events::Rule": "arn:{partition}:events:{region}:{account}:rule/{Name}",
    # CloudFormation gives it with `:*` after it, which says the same.
    "AWS::Logs::LogGroup": "arn:{partition}:logs:{region}:{account}:log-group:{LogGroupName}",
    "AWS::Batch::ComputeEnvironment": (
        "arn:{partition}:batch:{region}:{account}:compute-environment/{ComputeEnvironmentName}"
    ),
    "AWS::Batch::SchedulingPolicy": "arn:{partition}:batch:{region}:{account}:scheduling-policy/{Name}",
}
PSEUDO = {
    "AWS::AccountId": "account",
    "AWS::Region": "region",
    "AWS::Partition": "partition",
    "AWS::URLSuffix": "url_suffix",
}


class Reference:
    """To a resource of this type, by what AWS alone knows of it."""

    def __init__(self, type_):
        self.type = type_


class Template:
    def __init__(self, content, place):
        self.resources = content["Resources"]
        self.place = place

    def resolved(self):
        """(type, properties) of each."""
        return [(held["Type"], self.value(held.get("Properties", {}))) for held in self.resources.values()]

    def value(self, value):
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref":
                return self.ref(argument)
            if name.startswith("Fn::"):
                return self.call(name, argument)
        return {key: self.value(held) for key, held in value.items()}

    def ref(self, name):
        if name in PSEUDO:
            return self.place[PSEUDO[name]]
        return self.known(name, REFS)

    def known(self, id_, texts):
        type_ = self.resources[id_]["Type"]
        if type_ not in texts:
            return Reference(type_)
        properties = self.resources[id_]["Properties"]
        names = {key: self.value(properties[key]) for key in re.findall(r"{([A-Z]\w*)}", texts[type_])}
        return texts[type_].format(**self.place, **names)

    def call(self, name, argument):
        if name == "Fn::GetAtt":
            id_, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
            return self.known(id_, ARNS if attribute.endswith("Arn") else {})
        if name == "Fn::Join":
            return joined(argument[0], self.value(argument[1]))
        if name == "Fn::Sub":
            return re.sub(r"\$\{([^}]+)\}", lambda found: str(self.ref(found[1])), argument)
        if name == "Fn::Select":
            return self.value(argument[1])[int(argument[0])]
        if name == "Fn::GetAZs":
            return [Zone() for _ in range(10)]
        if name == "Fn::Base64":
            return base64.b64encode(self.value(argument).encode()).decode()
        raise ValueError(f"{name} is not known here")


class Zone(Reference):
    def __init__(self):
        super().__init__("availability zone")


def joined(between, parts):
    """As one text; with a part that AWS alone knows, the reference."""
    unknown = [part for part in parts if isinstance(part, Reference)]
    return unknown[0] if unknown else between.join(str(part) for part in parts)


def resources(folder, place):
    """Those of all stacks of a yard. `place` has account, region, partition, url_suffix."""
    found = []
    for stack in STACKS:
        content = json.loads((Path(folder) / f"{stack}.template.json").read_text())
        found += Template(content, place).resolved()
    return found
