"""LocalStack without Docker: `run.py DESCRIPTOR`, in LocalStack's own Python environment.

It is LocalStack as its makers publish it, and four things that its image brings are arranged here: the socket it listens
on is the one that it is given; functions are processes of this machine; mappings wait for messages as AWS's do; and
DynamoDB, which LocalStack would download and has Amazon's licence, is not there.
"""

import socket
import sys

from functions import ProcessExecutor
from localstack.runtime.main import main
from localstack.services.dynamodb.server import DynamodbServer
from localstack.services.lambda_.event_source_mapping.pollers.sqs_poller import SqsPoller
from localstack.services.lambda_.invocation import runtime_executor
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from twisted.internet import endpoints

#: Of one receive, in seconds. A mapping that is switched off goes on for so long.
WAIT_S = 1


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    def load(self) -> type[ProcessExecutor]:
        return ProcessExecutor


def listen_on(descriptor: int) -> None:
    """LocalStack would listen on all addresses of this machine, and on a port that another may have taken meanwhile."""
    endpoints.TCP4ServerEndpoint = lambda reactor, port: endpoints.AdoptedStreamServerEndpoint(
        reactor, descriptor, socket.AF_INET
    )


def run_functions_here() -> None:
    runtime_executor.EXECUTOR_PLUGIN_MANAGER.load = lambda name: ProcessExecutorPlugin()


def mappings_wait_for_messages() -> None:
    """LocalStack's look, and rest for a second or more where they find nothing."""
    init = SqsPoller.__init__

    def init_with_wait(poller: SqsPoller, *arguments: object, **more: object) -> None:
        init(poller, *arguments, **more)
        poller.maximum_batching_window = poller.maximum_batching_window or WAIT_S

    SqsPoller.__init__ = init_with_wait


def have_no_dynamodb() -> None:
    def refuse(server: DynamodbServer) -> None:
        raise RuntimeError("this LocalStack has no DynamoDB: it is at AWS_ENDPOINT_URL_DYNAMODB")

    DynamodbServer.start_dynamodb = refuse


if __name__ == "__main__":
    listen_on(int(sys.argv[1]))
    run_functions_here()
    mappings_wait_for_messages()
    have_no_dynamodb()
    main()
