#!/usr/bin/env python3
"""How long a function takes from the start of its process until it asks for its first event.

Plays Lambda's runtime API: starts the program as Lambda does, notes when it asks, kills it, and does so again. Plays the
yard's table too, which a function asks for its format before: one that is empty, and answers at once.
What Lambda adds, the download and the machine, is not in it.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NEXT = b"GET /2018-06-01/runtime/invocation/next "
PATIENCE_S = 30


class EmptyTable(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def environment(port: int, table: int) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": "cold-start",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{table}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "PROOFYARD_YARD": "cold-start",
        "PROOFYARD_BUCKET": "none",
        "PROOFYARD_WEBHOOK_SECRET_ID": "none",
    }


def start_ms(program: str, runtime: socket.socket, table: int) -> float:
    port = runtime.getsockname()[1]
    began = time.perf_counter()
    process = subprocess.Popen([program], env=environment(port, table), stdout=subprocess.DEVNULL)
    connection = None
    try:
        connection, _ = runtime.accept()
        connection.settimeout(PATIENCE_S)
        asked = connection.recv(len(NEXT), socket.MSG_WAITALL)
        took_ms = (time.perf_counter() - began) * 1_000
        if asked != NEXT:
            raise SystemExit(f"{program} asks for something else first: {asked!r}")
        return took_ms
    finally:
        # Before the connection: it would complain of that.
        process.kill()
        process.wait()
        if connection:
            connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM", help="such as target/lambda/proofyard-ingest/bootstrap")
    parser.add_argument("--starts", type=int, default=50, metavar="N", help="of each program (default: 50)")
    options = parser.parse_args()
    table = ThreadingHTTPServer(("127.0.0.1", 0), EmptyTable)
    threading.Thread(target=table.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as runtime:
        runtime.settimeout(PATIENCE_S)
        for program in options.programs:
            # The first start reads the program from the disk.
            start_ms(program, runtime, table.server_port)
            took = [start_ms(program, runtime, table.server_port) for _ in range(options.starts)]
            print(f"{program}: median {statistics.median(took):.1f} ms, max {max(took):.1f} ms of {len(took)} starts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
