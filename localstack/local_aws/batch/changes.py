"""Tells state changes, in order: by EventBridge, or to the queue as a rule of EventBridge does it."""

import json
import queue
import sys
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..server import ACCOUNT, REGION
from .jobs import Shape

MAX_UNTOLD = 20_000
END_PATIENCE_S = 2.0


class Changes:
    """A thread of its own sends them: a slow queue holds up no job."""

    def __init__(self, send: Callable[[Shape], None]) -> None:
        self.send = send
        #: What of a job is told. None: no more will come.
        self.untold: queue.Queue[Shape | None] = queue.Queue(MAX_UNTOLD)
        self.thread = threading.Thread(target=self._run, name="changes", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def tell(self, detail: Shape) -> None:
        try:
            self.untold.put_nowait(event(detail))
        except queue.Full:
            _lost(f"{MAX_UNTOLD} changes wait to be told")

    def stop(self) -> None:
        try:
            self.untold.put_nowait(None)
        except queue.Full:
            return
        self.thread.join(END_PATIENCE_S)

    def _run(self) -> None:
        while (change := self.untold.get()) is not None:
            try:
                self.send(change)
            except Exception as error:  # A hint, as from EventBridge: whoever misses it finds out later.
                _lost(str(error))


def to_queue(sqs: Any, url: str) -> Callable[[Shape], None]:
    """As a rule does it that has a FIFO queue for its target."""
    return lambda change: sqs.send_message(QueueUrl=url, MessageBody=json.dumps(change), MessageGroupId="batch")


def to_rules(events: Any) -> Callable[[Shape], None]:
    """To EventBridge, which has the rules: one that takes what AWS's own services tell from anybody."""

    def put(change: Shape) -> None:
        entry = {
            "Source": change["source"],
            "DetailType": change["detail-type"],
            "Detail": json.dumps(change["detail"]),
            "Resources": change["resources"],
        }
        put = events.put_events(Entries=[entry])
        if put["FailedEntryCount"]:
            raise RuntimeError(str(put["Entries"]))

    return put


def event(detail: Shape) -> Shape:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [detail["jobArn"]],
        "detail": detail,
    }


def _lost(why: str) -> None:
    print(f"a change of a job's state was not told: {why}", file=sys.stderr, flush=True)
