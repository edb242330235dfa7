"""The stand-in for AWS Batch, as boto3 speaks to it: jobs are lines of shell."""

import json
import os
import time
import unittest
from typing import Any

from botocore.exceptions import ClientError
from support import QUEUE, YARD, Local, soon

local: Local


def setUpModule() -> None:
    global local
    local = Local()


def tearDownModule() -> None:
    local.close()


class Jobs(unittest.TestCase):
    def test_a_job_succeeds_and_has_its_environment(self) -> None:
        overrides = {"environment": [{"name": "HELLO", "value": "world"}]}
        job = local.submit("env; pwd; touch left", overrides=overrides)
        told = local.until_over(job)
        self.assertEqual(told["status"], "SUCCEEDED")
        self.assertEqual(told["container"]["exitCode"], 0)
        self.assertLessEqual(told["createdAt"], told["startedAt"])
        self.assertLessEqual(told["startedAt"], told["stoppedAt"])
        lines = local.log(job).splitlines()
        wanted = {
            "HELLO": "world",
            "AWS_BATCH_JOB_ID": job,
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "AWS_BATCH_JQ_NAME": QUEUE,
            "PROOFYARD_YARD": YARD,
            **{name: local.environment[name] for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BATCH", "PROOFYARD_BUCKET")},
        }
        for name, value in wanted.items():
            self.assertIn(f"{name}={value}", lines)
        self.assertFalse(os.path.exists(lines[-1]), "its folder goes with it")

    def test_a_job_fails_with_its_exit_code_and_is_not_tried_again(self) -> None:
        told = local.until_over(local.submit("exit 3"))
        self.assertEqual((told["status"], told["container"]["exitCode"], len(told["attempts"])), ("FAILED", 3, 1))
        self.assertEqual(told["statusReason"], "Essential container in task exited")

    def test_a_command_that_is_not_there_is_told(self) -> None:
        told = local.until_over(local.submit("", overrides={"command": ["no-such-program"]}))
        self.assertEqual(told["status"], "FAILED")
        self.assertIn("no-such-program", told["attempts"][0]["container"]["reason"])

    def test_without_rules_each_failure_is_tried_again(self) -> None:
        told = local.until_over(local.submit("exit 3", retryStrategy={"attempts": 2}))
        self.assertEqual((told["status"], len(told["attempts"])), ("FAILED", 2))

    def test_a_job_whose_machine_vanishes_is_tried_again(self) -> None:
        job = local.submit('test "$AWS_BATCH_JOB_ATTEMPT" = 2 || sleep 60')
        local.until(job, "RUNNING")
        local.control("spot-reclaim", job)
        told = local.until_over(job)
        self.assertEqual((told["status"], len(told["attempts"])), ("SUCCEEDED", 2))
        self.assertRegex(told["attempts"][0]["statusReason"], r"^Host EC2 \(instance i-\w+\) terminated\.$")
        self.assertNotIn("exitCode", told["attempts"][0]["container"])

    def test_a_state_can_lie(self) -> None:
        job = local.submit("echo $$; exec sleep 61")
        local.until(job, "RUNNING")
        pid = int(soon(lambda: local.log(job)))
        local.control("say-failed", job)
        self.assertEqual(local.job(job)["status"], "FAILED")
        time.sleep(0.1)
        os.kill(pid, 9)
        # Its end is no news.
        time.sleep(0.1)
        self.assertEqual(local.job(job)["attempts"], [])

    def test_a_job_has_its_time(self) -> None:
        told = local.until_over(local.submit("sleep 60", timeout={"attemptDurationSeconds": 1}))
        self.assertEqual((told["status"], told["statusReason"]), ("FAILED", "Job attempt duration exceeded timeout"))
        self.assertEqual(len(told["attempts"]), 1)

    def test_a_job_waits_for_those_it_depends_on(self) -> None:
        go = local.state / "go"
        first = local.submit(f"while [ ! -e {go} ]; do sleep 0.1; done")
        second = local.submit("true", dependsOn=[{"jobId": first}])
        self.assertEqual(local.until(second, "PENDING")["dependsOn"], [{"jobId": first}])
        go.touch()
        told = local.until_over(second)
        self.assertEqual(told["status"], "SUCCEEDED")
        self.assertGreaterEqual(told["startedAt"], local.job(first)["stoppedAt"])

    def test_a_job_fails_with_what_it_depends_on(self) -> None:
        first = local.submit("exit 1")
        told = local.until_over(local.submit("true", dependsOn=[{"jobId": first}]))
        self.assertEqual((told["status"], told["attempts"]), ("FAILED", []))

    def test_children_of_an_array_have_an_index(self) -> None:
        job = local.submit('echo "index $AWS_BATCH_JOB_ARRAY_INDEX"', arrayProperties={"size": 3})
        told = local.until_over(job)
        self.assertEqual(told["status"], "SUCCEEDED")
        self.assertEqual(told["arrayProperties"], {"size": 3, "statusSummary": {"SUCCEEDED": 3}})
        for index in range(3):
            self.assertEqual(local.log(f"{job}:{index}"), f"index {index}\n")
        listed = local.batch.list_jobs(arrayJobId=job, jobStatus="SUCCEEDED")["jobSummaryList"]
        self.assertEqual([child["arrayProperties"]["index"] for child in listed], [0, 1, 2])

    def test_children_run_one_after_the_other_and_pair_by_pair(self) -> None:
        array = {"arrayProperties": {"size": 2}}
        one = local.submit("sleep 0.1", dependsOn=[{"type": "SEQUENTIAL"}], **array)
        other = local.submit("true", dependsOn=[{"type": "N_TO_N", "jobId": one}], **array)
        self.assertEqual(local.until_over(other)["status"], "SUCCEEDED")
        first, second = (local.job(f"{one}:{index}") for index in range(2))
        self.assertGreaterEqual(second["startedAt"], first["stoppedAt"])
        self.assertGreaterEqual(local.job(f"{other}:0")["startedAt"], first["stoppedAt"])

    def test_no_more_run_than_the_pool_has_workers(self) -> None:
        jobs = [local.submit("sleep 60") for _ in range(3)]
        for job in jobs:
            # Where this test fails, the others have their workers nevertheless.
            self.addCleanup(local.batch.terminate_job, jobId=job, reason="the test is over")
        for job in jobs[:2]:
            local.until(job, "RUNNING")
        local.until(jobs[2], "RUNNABLE")
        local.batch.cancel_job(jobId=jobs[2], reason="not needed")
        told = local.until_over(jobs[2])
        self.assertEqual((told["statusReason"], told["isCancelled"]), ("not needed", True))
        for job in jobs[:2]:
            local.batch.cancel_job(jobId=job, reason="comes too late")
            self.assertEqual(local.job(job)["status"], "RUNNING")
            local.batch.terminate_job(jobId=job, reason="enough")
        for job in jobs[:2]:
            told = local.until_over(job)
            self.assertEqual((told["status"], told["statusReason"]), ("FAILED", "enough"))
            self.assertEqual(told["container"]["exitCode"], 143)

    def test_who_does_not_end_when_asked_is_killed(self) -> None:
        job = local.submit("trap '' TERM; echo on; while true; do sleep 0.1; done")
        soon(lambda: local.job(job)["status"] == "RUNNING" and local.log(job))
        begun = time.monotonic()
        local.batch.terminate_job(jobId=job, reason="enough")
        self.assertEqual(local.until_over(job)["container"]["exitCode"], 137)
        self.assertGreater(time.monotonic() - begun, 0.9)

    def test_jobs_are_listed_by_state_and_by_name(self) -> None:
        done = local.submit("true", jobName="Listed-one")
        local.until_over(done)
        runs = local.submit("sleep 60", jobName="listed-two")
        local.until(runs, "RUNNING")

        def ids(**wanted: Any) -> list[str]:
            return [job["jobId"] for job in local.batch.list_jobs(jobQueue=QUEUE, **wanted)["jobSummaryList"]]

        self.assertEqual(ids(), [runs], "without a state those that run")
        self.assertIn(done, ids(jobStatus="SUCCEEDED"))
        self.assertEqual(ids(filters=[{"name": "JOB_NAME", "values": ["listed-*"]}]), [runs, done])
        self.assertEqual(ids(filters=[{"name": "JOB_NAME", "values": ["listed-one"]}]), [done])
        pages = local.batch.get_paginator("list_jobs").paginate(
            jobQueue=QUEUE, filters=[{"name": "JOB_NAME", "values": ["listed-*"]}], PaginationConfig={"PageSize": 1}
        )
        self.assertEqual([len(page["jobSummaryList"]) for page in pages], [1, 1])
        local.batch.terminate_job(jobId=runs, reason="enough")
        local.until_over(runs)

    def test_changes_are_told_in_order(self) -> None:
        url = local.sqs.get_queue_url(QueueName=f"proofyard-{YARD}-results.fifo")["QueueUrl"]
        job = local.submit("exit 7", jobName="told")
        local.until_over(job)
        events: list[dict[str, Any]] = []

        def last_is_told() -> bool:
            got = local.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"])
            for message in got.get("Messages", []):
                self.assertEqual(message["Attributes"]["MessageGroupId"], "batch")
                events.append(json.loads(message["Body"]))
                local.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return any(event["detail"]["jobId"] == job and event["detail"]["status"] == "FAILED" for event in events)

        soon(last_is_told)
        told = [event for event in events if event["detail"]["jobId"] == job]
        states = [event["detail"]["status"] for event in told]
        self.assertEqual(states, ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "FAILED"])
        last = told[-1]
        self.assertEqual((last["source"], last["detail-type"]), ("aws.batch", "Batch Job State Change"))
        self.assertEqual(last["resources"], [last["detail"]["jobArn"]])
        self.assertEqual(last["detail"]["container"]["exitCode"], 7)
        self.assertTrue(last["detail"]["jobQueue"].endswith(f":job-queue/{QUEUE}"))


class Definitions(unittest.TestCase):
    def test_what_is_not_there_is_refused(self) -> None:
        cases = {
            "shareIdentifier is needed": {"shareIdentifier": ""},
            "JobDefinition nothing not found": {"jobDefinition": "nothing"},
            "JobQueue nowhere not found": {"jobQueue": "nowhere"},
            "job nobody not found": {"dependsOn": [{"jobId": "nobody"}]},
            "N_TO_N": {"dependsOn": [{"type": "N_TO_N", "jobId": "nobody"}]},
        }
        for told, wanted in cases.items():
            with self.assertRaises(ClientError) as refused:
                local.submit("true", **wanted)
            answer = refused.exception.response
            self.assertEqual(answer["Error"]["Code"], "ClientException")
            self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 400)
            self.assertIn(told, answer["Error"]["Message"])

    def test_each_pool_has_a_job_definition_as_described(self) -> None:
        [definition] = local.batch.describe_job_definitions(jobDefinitionName=QUEUE)["jobDefinitions"]
        container = definition["containerProperties"]
        self.assertEqual(container["command"], ["proofyard-worker", "--pool", "cpu", "--idle-out-ms", "60000"])
        self.assertEqual(definition["timeout"], {"attemptDurationSeconds": 86_400})
        self.assertEqual(definition["retryStrategy"]["attempts"], 3)
        self.assertIn({"type": "VCPU", "value": "2"}, container["resourceRequirements"])
        [queue] = local.batch.describe_job_queues(jobQueues=[QUEUE])["jobQueues"]
        self.assertEqual(queue["state"], "ENABLED")

    def test_revisions_count(self) -> None:
        for revision in (1, 2):
            container = {"image": "local", "command": ["sh", "-c", f"exit {revision}"]}
            made = local.batch.register_job_definition(
                jobDefinitionName="other", type="container", containerProperties=container
            )
            self.assertEqual(made["revision"], revision)
        for named, code in (("other:1", 1), ("other", 2), (made["jobDefinitionArn"], 2)):
            job = local.batch.submit_job(jobName="job", jobQueue=QUEUE, jobDefinition=named, shareIdentifier="warm")["jobId"]
            self.assertEqual(local.until_over(job)["container"]["exitCode"], code)
