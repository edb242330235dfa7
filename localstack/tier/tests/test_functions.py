"""Functions as processes: what they are asked and answer, and what becomes of those that end, hang, or never begin."""

import json
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from functions import ProcessExecutor

TIMEOUT_S = 2
FUNCTION = f"""#!{sys.executable}
import http.client, json, os, sys, time
begin = "/2018-06-01/runtime/invocation/"
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    connection.request("GET", begin + "next")
    answer = connection.getresponse()
    request, event = answer.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(answer.read())
    print("asked to", event, flush=True)
    if event == "end":
        sys.exit(3)
    if event == "hang":
        time.sleep(60)
    # In parts, as some runtimes send it.
    parts = iter([b'{{"process": ', str(os.getpid()).encode(), b"}}"])
    how = "error" if event == "fail" else "response"
    connection.request("POST", begin + request + "/" + how, parts, {{"Transfer-Encoding": "chunked"}}, encode_chunked=True)
    connection.getresponse().read()
"""


class Functions(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        os.environ["FUNCTION_LOGS"] = str(self.folder / "logs")
        self.program(FUNCTION)
        code = SimpleNamespace(get_unzipped_code_location=lambda: self.folder)
        config = SimpleNamespace(code=code, timeout=TIMEOUT_S)
        version: Any = SimpleNamespace(id=SimpleNamespace(function_name="function"), config=config)
        self.executor = ProcessExecutor("environment", version)
        self.addCleanup(self.executor.stop)

    def program(self, text: str) -> None:
        place = self.folder / "bootstrap"
        place.write_text(text)
        place.chmod(0o755)

    def ask(self, event: str) -> tuple[bool, dict[str, Any], str]:
        asked = {"invoke-id": "one", "invoked-function-arn": "arn", "trace-id": "trace", "payload": json.dumps(event)}
        answer = self.executor.invoke(asked)
        return answer.is_error, json.loads(answer.payload), answer.logs

    def test_a_process_answers_one_event_after_the_other(self) -> None:
        self.executor.start({"SOME": 1})
        (failed, first, logs), (again_failed, second, more) = self.ask("work"), self.ask("work")
        self.assertEqual((failed, again_failed), (False, False))
        self.assertEqual(first, second, "of one process")
        self.assertEqual((logs, more), ("asked to work\n", "asked to work\n"))
        self.assertEqual(self.executor.get_logs(), "asked to work\n" * 2)

    def test_a_function_says_that_it_failed(self) -> None:
        self.executor.start({})
        self.assertTrue(self.ask("fail")[0])
        self.assertFalse(self.ask("work")[0])

    def test_one_that_ends_is_started_anew_for_the_next_event(self) -> None:
        self.executor.start({})
        failed, said, _ = self.ask("end")
        self.assertEqual((failed, said["errorType"]), (True, "Runtime.ExitError"))
        self.assertIn("exit status 3", said["errorMessage"])
        self.assertFalse(self.ask("work")[0])

    def test_one_that_takes_too_long_is_killed_and_started_anew(self) -> None:
        self.executor.start({})
        process = self.ask("work")[1]["process"]
        began = time.monotonic()
        failed, said, _ = self.ask("hang")
        self.assertLess(time.monotonic() - began, TIMEOUT_S + 3)
        self.assertEqual((failed, said["errorType"]), (True, "Sandbox.Timedout"))
        self.assertFalse(Path(f"/proc/{process}").exists())
        self.assertFalse(self.ask("work")[0])

    def test_one_that_never_asks_for_an_event_is_told(self) -> None:
        self.program("#!/bin/sh\necho no\nexit 1\n")
        with self.assertRaisesRegex(RuntimeError, "did not ask for an event"):
            self.executor.start({})
        self.assertEqual(self.executor.get_logs(), "no\n")


if __name__ == "__main__":
    unittest.main()
