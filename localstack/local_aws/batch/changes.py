"""Tells state changes, in order, as an EventBridge rule does that has a FIFO queue for its target."""

import json
import queue
import sys
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

from ..ministack import ACCOUNT, REGION
from .jobs import Shape

MAX_UNTOLD = 20_000
END_PATIENCE_S = 2.0


class Changes:
    """A thread of its own sends them: a slow queue holds up no job."""

    def __init__(self, sqs: Any, url: str) -> None:
        self.sqs = sqs
        self.url = url
        self.untold: queue.Queue[str | None] = queue.Queue(MAX_UNTOLD)
        self.thread = threading.Thread(target=self._run, name="changes", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def tell(self, detail: Shape) -> None:
        try:
            self.untold.put_nowait(json.dumps(event(detail)))
        except queue.Full:
            _lost(f"{MAX_UNTOLD} changes wait to be told")

    def stop(self) -> None:
        try:
            self.untold.put_nowait(None)
        except queue.Full:
            return
        self.thread.join(END_PATIENCE_S)

    def _run(self) -> None:
        while (body := self.untold.get()) is not None:
            try:
                self.sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageGroupId="batch")
            except Exception as error:  # A hint, as from EventBridge: whoever misses it finds out later.
                _lost(str(error))


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
