"""Whoever calls has the permissions of its role, and no others."""

import unittest
from typing import Any

import boto3
from botocore.exceptions import ClientError
from local_aws.server import ACCOUNT, REGION
from local_aws.stacks import client
from support import YARD, Local

TABLE = f"proofyard-{YARD}"


class Roles(unittest.TestCase):
    local: Local

    @classmethod
    def setUpClass(cls) -> None:
        cls.local = Local()
        cls.addClassCleanup(cls.local.close)

    def in_role(self, role: str, service: str) -> Any:
        endpoint = self.local.environment["AWS_ENDPOINT_URL"]
        arn = f"arn:aws:iam::{ACCOUNT}:role/proofyard-{YARD}-{role}"
        session = client("sts", endpoint).assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return boto3.Session(
            session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"], region_name=REGION
        ).client(service, endpoint_url=endpoint)

    def refused(self, call: Any, **arguments: Any) -> None:
        with self.assertRaises(ClientError) as refused:
            call(**arguments)
        self.assertIn("AccessDenied", refused.exception.response["Error"]["Code"])

    def test_a_worker_that_records_writes_its_own_items_alone(self) -> None:
        table = self.in_role("worker-cpu", "dynamodb")
        for partition in ("T#s#prove", "M#s#prove", "R#cpu#c#0", "W#worker"):
            table.put_item(TableName=TABLE, Item=item(partition))
            table.delete_item(TableName=TABLE, Key=item(partition))
        for partition in ("S#s", "C#c", "H#c#0", "O#c#prove", "K#c#range", "L#c", "Y", "X"):
            self.refused(table.put_item, TableName=TABLE, Item=item(partition))
            self.refused(table.delete_item, TableName=TABLE, Key=item(partition))

    def test_a_worker_that_records_reads_what_it_must(self) -> None:
        table = self.in_role("worker-cpu", "dynamodb")
        asked = {"TableName": TABLE, "KeyConditionExpression": "p = :p AND s >= :s"}
        for partition in ("T#s#prove", "S#s", "C#c"):
            table.get_item(TableName=TABLE, Key=item(partition))
            table.query(**asked, ExpressionAttributeValues={":p": {"S": partition}, ":s": {"S": "a"}})
        for partition in ("H#c#0", "O#c#prove", "Y"):
            self.refused(table.get_item, TableName=TABLE, Key=item(partition))
            self.refused(table.query, **asked, ExpressionAttributeValues={":p": {"S": partition}, ":s": {"S": "a"}})
        self.refused(table.scan, TableName=TABLE)

    def test_a_transaction_is_allowed_only_if_all_of_it_is(self) -> None:
        table = self.in_role("worker-cpu", "dynamodb")
        ours = {"Put": {"TableName": TABLE, "Item": item("T#s#prove")}}
        looks = {"ConditionCheck": {"TableName": TABLE, "Key": item("S#s"), "ConditionExpression": "attribute_not_exists(p)"}}
        table.transact_write_items(TransactItems=[ours, looks])
        writes = {"Put": {"TableName": TABLE, "Item": item("S#s")}}
        self.refused(table.transact_write_items, TransactItems=[ours, writes])
        self.refused(table.transact_write_items, TransactItems=[ours, looks, {"Delete": {"TableName": TABLE, "Key": item("C#c")}}])

    def test_a_worker_that_advances_may_write_the_whole_table(self) -> None:
        self.in_role("worker-gpu", "dynamodb").put_item(TableName=TABLE, Item=item("S#s"))

    def test_the_judge_writes_what_it_found_and_nobody_else_does(self) -> None:
        judge = self.in_role("worker-judge", "dynamodb")
        judge.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": item("V#s#prove")}}])
        judge.put_item(TableName=TABLE, Item=item("V#s#join"))
        for partition in ("T#s#prove", "S#s", "C#c", "O#c#commits", "W#worker"):
            judge.get_item(TableName=TABLE, Key=item(partition))
            self.refused(judge.put_item, TableName=TABLE, Item=item(partition))
        self.refused(judge.delete_item, TableName=TABLE, Key=item("V#s#prove"))
        for role in ("worker-cpu", "worker-gpu"):
            table = self.in_role(role, "dynamodb")
            self.refused(table.put_item, TableName=TABLE, Item=item("V#s#prove"))
            self.refused(table.delete_item, TableName=TABLE, Key=item("V#s#prove"))
        # What workers that advance and functions write: all else.
        for partition in ("Y", "Y#sweep", "C#c", "H#c#0", "K#c#cut", "S#s", "T#s#p", "M#s#p", "R#cpu", "W#w", "O#c#commits"):
            table.put_item(TableName=TABLE, Item=item(partition))
        table.get_item(TableName=TABLE, Key=item("V#s#prove"))

    def test_the_judge_tells_of_results_alone(self) -> None:
        judge = self.in_role("worker-judge", "sqs")
        told = {"Id": "0", "MessageBody": "{}", "MessageGroupId": "g", "MessageDeduplicationId": "j"}
        url = {name: self.local.sqs.get_queue_url(QueueName=f"proofyard-{YARD}-{name}")["QueueUrl"] for name in ("blocks.fifo", "results.fifo")}
        judge.send_message_batch(QueueUrl=url["results.fifo"], Entries=[told])
        self.refused(judge.send_message_batch, QueueUrl=url["blocks.fifo"], Entries=[told])

    def test_nobody_takes_what_is_another_ones(self) -> None:
        queue = {
            name: self.local.sqs.get_queue_url(QueueName=f"proofyard-{YARD}-{name}.fifo")["QueueUrl"]
            for name in ("blocks", "results")
        }
        told = {"Id": "0", "MessageBody": "{}", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
        for role in ("worker-cpu", "worker-gpu"):
            worker = self.in_role(role, "sqs")
            worker.send_message_batch(QueueUrl=queue["results"], Entries=[told])
            self.refused(worker.receive_message, QueueUrl=queue["results"])
            # Who may write to it says what the chain is.
            self.refused(worker.send_message_batch, QueueUrl=queue["blocks"], Entries=[told])
        self.assertIn("Messages", self.local.sqs.receive_message(QueueUrl=queue["results"]))
        bucket = self.local.environment["PROOFYARD_BUCKET"]
        files = self.in_role("worker-cpu", "s3")
        files.put_object(Bucket=bucket, Key="artifacts/ab/abc", Body=b"")
        self.refused(files.put_object, Bucket=bucket, Key="sinks/c/out.jsonl/0.json", Body=b"")
        self.refused(files.delete_object, Bucket=bucket, Key="artifacts/ab/abc")
        secrets = self.in_role("worker-cpu", "secretsmanager")
        self.refused(secrets.get_secret_value, SecretId=f"proofyard/{YARD}/webhook")


def item(partition: str) -> dict[str, Any]:
    return {"p": {"S": partition}, "s": {"S": "s"}}
