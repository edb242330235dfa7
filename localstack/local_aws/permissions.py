"""MiniStack with permissions: whoever calls may do what the policies of its role say, and nothing else.

MiniStack evaluates policies itself. What it lacks is `dynamodb:LeadingKeys`, by which a yard's workers are limited to
their own items, and that SQS authorizes its batches as what they are batches of; this adds both, for the version that
requirements.txt pins, and starts it.
"""

import json
import os
import re
from collections import deque
from contextvars import ContextVar
from typing import Any

import uvicorn
from ministack.core import iam_actions, iam_evaluator

KEY = "dynamodb:LeadingKeys"
#: What a request names its table's partition key, in its key, its item, or the values of its conditions.
PARTITION = "p"
CONDITION = re.compile(rf"^\s*{PARTITION}\s*=\s*(:\w+)")

SQS_BATCHES = {f"{action}Batch": action for action in ("sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")}

#: The leading keys of a transaction's items that are still to be checked, in their order.
_items: ContextVar[deque[str]] = ContextVar("items", default=deque())

_service_context = iam_actions.dynamodb_service_context
_transaction_checks = iam_actions.dynamodb_transaction_checks
_enforce = iam_evaluator.enforce


def leading_key(call: dict[str, Any]) -> str | None:
    """The partition key that a call, or one item of a transaction, is about."""
    held = (call.get("Key") or call.get("Item") or {}).get(PARTITION)
    if held is None and (named := CONDITION.match(call.get("KeyConditionExpression", ""))):
        held = call.get("ExpressionAttributeValues", {}).get(named[1])
    return held.get("S") if held else None


def leading_keys(call: dict[str, Any]) -> list[str]:
    """The partition keys of a call: of a batch, those of all its items."""
    batch = [key for table in call.get("RequestItems", {}).values() for key in table.get("Keys", [])]
    keys = [leading_key({"Key": key}) for key in batch] or [leading_key(call)]
    return [key for key in keys if key is not None]


def service_context(body: bytes) -> dict[str, Any]:
    keys = leading_keys(_read(body))
    return _service_context(body) | ({KEY: keys} if keys else {})


def transaction_checks(action: str, body: bytes, region: str, account: str) -> list[tuple[str, str]]:
    checks = _transaction_checks(action, body, region, account)
    members = [member for item in _read(body).get("TransactItems", []) for member in item.values()]
    _items.set(deque(leading_key(member) or "" for member in members if isinstance(member, dict)))
    return checks


def enforce(
    access_key: str, action: str, *arguments: Any, service_context: dict[str, Any] | None = None, **more: Any
) -> Any:
    action = SQS_BATCHES.get(action, action)
    if service_context and "dynamodb:EnclosingOperation" in service_context and (items := _items.get()):
        service_context = service_context | {KEY: [items.popleft()]}
    return _enforce(access_key, action, *arguments, service_context=service_context, **more)


def _read(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body or b"{}"))
    except ValueError:
        return {}


def main() -> None:
    # It asks for them at each request.
    iam_actions.dynamodb_service_context = service_context
    iam_actions.dynamodb_transaction_checks = transaction_checks
    iam_evaluator.enforce = enforce
    from ministack.app import app

    # By uvicorn, whose parser and loop are not Python: MiniStack's own server takes half of the time of a request.
    uvicorn.run(
        app, host=os.environ["BIND_HOST"], port=int(os.environ["GATEWAY_PORT"]), loop="uvloop", http="httptools", ws="none",
        log_level="warning", access_log=False, timeout_keep_alive=75, server_header=False, date_header=False,
    )


if __name__ == "__main__":
    main()
