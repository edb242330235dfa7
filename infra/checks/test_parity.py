"""Shows that the parity check catches drift: a change on one side alone is told by the name of what drifted.

Needs no CDK and no Terraform: a few resources as both write them stand for a yard. With PROOFYARD_TEMPLATES, a folder,
and PROOFYARD_PLAN, a file, it changes each property of a yard as it is made, too.
"""

import copy
import os
import unittest

import cloudformation
import cloudformation_facts
import plan
import terraform_facts
from parity import ALL, LEFT_OUT, gathered, parity

PLACE = {"account": "123456789012", "region": "us-east-1", "partition": "aws", "url_suffix": "amazonaws.com"}
QUEUE = "arn:aws:sqs:us-east-1:123456789012:proofyard-dev-ticks"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/proofyard-dev"


def join(*parts):
    return {"Fn::Join": ["", list(parts)]}


def assume(service):
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def only_tls(arn):
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyOverTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": arn,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def record(table, actions, keys):
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": actions,
                "Resource": [table],
                "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}},
            }
        ],
    }


def template():
    account, region, partition = {"Ref": "AWS::AccountId"}, {"Ref": "AWS::Region"}, {"Ref": "AWS::Partition"}
    table = join("arn:", partition, ":dynamodb:", region, ":", account, ":table/proofyard-dev")
    queue = {"QueueName": "proofyard-dev-ticks", "MessageRetentionPeriod": 60, "KmsMasterKeyId": "alias/proofyard-dev"}
    alarm = {
        "AlarmName": "proofyard-dev-halted",
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "EvaluationPeriods": 1,
        "Dimensions": [{"Name": "Yard", "Value": "dev"}],
        "OKActions": [],
    }
    role = {
        "RoleName": "proofyard-dev-worker-cpu",
        "AssumeRolePolicyDocument": assume("ecs-tasks.amazonaws.com"),
        "Policies": [
            {
                "PolicyName": "yard",
                "PolicyDocument": record(table, ["dynamodb:PutItem", "dynamodb:GetItem"], ["T#*", "M#*"]),
            }
        ],
    }
    resources = {
        "Key": ("AWS::KMS::Key", {"EnableKeyRotation": True}),
        "KeyAlias": ("AWS::KMS::Alias", {"AliasName": "alias/proofyard-dev", "TargetKeyId": {"Ref": "Key"}}),
        "QueueTicks": ("AWS::SQS::Queue", {**queue, "VisibilityTimeout": 30}),
        "QueueTicksPolicy": (
            "AWS::SQS::QueuePolicy",
            {
                "Queues": [{"Ref": "QueueTicks"}],
                "PolicyDocument": only_tls({"Fn::GetAtt": ["QueueTicks", "Arn"]}),
            },
        ),
        "Alarm": ("AWS::CloudWatch::Alarm", alarm),
        "Role": ("AWS::IAM::Role", role),
    }
    return {"Resources": {id_: {"Type": type_, "Properties": held} for id_, (type_, held) in resources.items()}}


def planned():
    """(type, values), as `plan.resources` has them."""
    role = "proofyard-dev-worker-cpu"
    statements = record(TABLE, ["dynamodb:GetItem", "dynamodb:PutItem"], ["M#*", "T#*"])
    queue = {
        "name": "proofyard-dev-ticks",
        "fifo_queue": False,
        "content_based_deduplication": False,
        "message_retention_seconds": 60,
        "visibility_timeout_seconds": 30,
        "kms_master_key_id": "alias/proofyard-dev",
        "policy": only_tls(QUEUE),
    }
    alarm = {
        "alarm_name": "proofyard-dev-halted",
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 0,
        "evaluation_periods": 1,
        "dimensions": {"Yard": "dev"},
        "ok_actions": None,
    }
    return [
        ("aws_kms_key", {"enable_key_rotation": True}),
        ("aws_kms_alias", {"name": "alias/proofyard-dev", "target_key_id": cloudformation.Reference("aws_kms_key")}),
        ("aws_sqs_queue", queue),
        ("aws_cloudwatch_metric_alarm", alarm),
        ("aws_iam_role", {"name": role, "assume_role_policy": assume("ecs-tasks.amazonaws.com")}),
        ("aws_iam_role_policy", {"name": "yard", "role": role, "policy": statements}),
    ]


def differences(content, resources):
    return parity(cloudformation.Template(content, PLACE).resolved(), resources)[0]


class Parity(unittest.TestCase):
    def setUp(self):
        self.template = template()
        self.planned = planned()

    def properties(self, id_):
        return self.template["Resources"][id_]["Properties"]

    def values(self, type_):
        return next(values for held, values in self.planned if held == type_)

    def said(self):
        return differences(self.template, self.planned)

    def assert_told(self, start):
        """One difference, that begins so."""
        told = self.said()
        self.assertEqual(len(told), 1, told)
        self.assertTrue(told[0].startswith(start), told[0])

    def test_the_same(self):
        self.assertEqual(self.said(), [])

    def test_visibility_of_a_queue(self):
        self.properties("QueueTicks")["VisibilityTimeout"] = 31
        self.assert_told("queue proofyard-dev-ticks: visibility_s:\n    the CDK says    31\n    Terraform says  30")

    def test_leading_key_of_a_policy(self):
        document = self.properties("Role")["Policies"][0]["PolicyDocument"]
        document["Statement"][0]["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"].append("C#*")
        self.assert_told("role proofyard-dev-worker-cpu: policies:")
        self.assertIn("C#*", self.said()[0])

    def test_statement_of_a_queues_policy(self):
        self.values("aws_sqs_queue")["policy"] = {"Version": "2012-10-17", "Statement": []}
        self.assert_told("queue proofyard-dev-ticks: policy:")

    def test_threshold_of_an_alarm(self):
        self.values("aws_cloudwatch_metric_alarm")["threshold"] = 1
        self.assert_told("alarm proofyard-dev-halted: threshold:\n    the CDK says    0\n    Terraform says  1")

    def test_queue_that_terraform_lacks(self):
        self.planned = [held for held in self.planned if held[0] != "aws_sqs_queue"]
        self.assert_told("queue proofyard-dev-ticks: the CDK makes it, Terraform does not")

    def test_queue_that_the_cdk_lacks(self):
        del self.template["Resources"]["QueueTicks"], self.template["Resources"]["QueueTicksPolicy"]
        self.assert_told("queue proofyard-dev-ticks: Terraform makes it, the CDK does not")

    def test_key_of_another_kind(self):
        self.values("aws_kms_alias")["target_key_id"] = cloudformation.Reference("aws_s3_bucket")
        self.assert_told("alias alias/proofyard-dev: key:\n    the CDK says    \"the id of: key\"")

    def test_property_that_is_not_among_the_facts(self):
        self.properties("QueueTicks")["DelaySeconds"] = 5
        self.assert_told("queue proofyard-dev-ticks: AWS::SQS::Queue.DelaySeconds:")

    def test_default_that_is_changed(self):
        self.values("aws_kms_key")["is_enabled"] = False
        self.assert_told("key the yard's: aws_kms_key.is_enabled:")

    def test_argument_that_is_not_among_the_facts(self):
        self.values("aws_sqs_queue")["delay_seconds"] = 5
        self.assert_told("queue proofyard-dev-ticks: aws_sqs_queue.delay_seconds:")

    def test_type_that_is_not_known(self):
        self.template["Resources"]["Trail"] = {"Type": "AWS::CloudTrail::Trail", "Properties": {}}
        self.assert_told("AWS::CloudTrail::Trail number 0: the CDK makes it, Terraform does not")

    def test_sum(self):
        _, sum_ = parity(cloudformation.Template(self.template, PLACE).resolved(), self.planned)
        self.assertIn("things, from 6 resources of the CDK and 6 of Terraform", sum_)


class Resolver(unittest.TestCase):
    def value(self, value):
        return cloudformation.Template(template(), PLACE).value(value)

    def test_functions(self):
        for said, value in [
            ("proofyard-123456789012", join("proofyard-", {"Ref": "AWS::AccountId"})),
            ("a-us-east-1", {"Fn::Sub": "a-${AWS::Region}"}),
            ("b", {"Fn::Select": [1, ["a", "b"]]}),
            ("c2g=", {"Fn::Base64": "sh"}),
            (QUEUE, {"Fn::GetAtt": ["QueueTicks", "Arn"]}),
        ]:
            with self.subTest(value=value):
                self.assertEqual(self.value(value), said)

    def test_what_aws_alone_knows(self):
        self.assertEqual(self.value({"Ref": "Key"}).type, "AWS::KMS::Key")
        self.assertEqual(self.value(join("a/", {"Ref": "Key"})).type, "AWS::KMS::Key")

    def test_function_that_is_not_known(self):
        with self.assertRaises(ValueError):
            self.value({"Fn::ImportValue": "a"})


MADE = [os.environ.get(name) for name in ("PROOFYARD_TEMPLATES", "PROOFYARD_PLAN")]


@unittest.skipUnless(all(MADE), "PROOFYARD_TEMPLATES and PROOFYARD_PLAN are not set")
class Made(unittest.TestCase):
    def test_each_property_that_changes_is_told(self):
        """Whatever is given, on either side: if it changes, the facts do, and so differ from the other's."""
        cdk, terraform = cloudformation.resources(MADE[0], PLACE), plan.resources(MADE[1])
        self.assertEqual(parity(cdk, terraform)[0], [])
        silent = {
            f"{type_} {place}"
            for resources, facts_of in [(cdk, cloudformation_facts), (terraform, terraform_facts)]
            for type_, values in resources
            for place in unnoticed(type_, values, facts_of)
        }
        self.assertEqual(silent, set())


def unnoticed(type_, values, facts_of):
    """The places of a resource that no fact comes from."""
    facts = gathered([(type_, values)], facts_of)
    for path in leaves(values):
        place = ".".join(key for key in path if isinstance(key, str))
        if gathered([(type_, mutated(values, path))], facts_of) == facts and not left_out(type_, place):
            yield place


def left_out(type_, place):
    known = LEFT_OUT.get(type_, set()) | {"tags_all"}
    return known >= ALL or any(place == path or place.startswith(f"{path}.") for path in known)


def leaves(value, path=()):
    if isinstance(value, (dict, list)):
        for key, held in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(held, (*path, key))
    elif isinstance(value, (str, int, float)):
        yield path


def mutated(value, path):
    if path:
        copied = copy.copy(value)
        copied[path[0]] = mutated(value[path[0]], path[1:])
        return copied
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        # JSON stays so, and the machines' user data stays base64.
        if value.startswith("{"):
            return f'{{"changed": 1, {value[1:]}'
        return f"IyEj{value}" if len(value) > 1_000 else f"{value}-changed"
    return value + 1


if __name__ == "__main__":
    unittest.main()
