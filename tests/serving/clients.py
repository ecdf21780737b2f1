"""Clients of the plain server, and the server that they ask."""

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from tests.job_folder import PATIENCE, Served, free_port

HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
PLAIN = HEAD + b"Content-Length: 5\r\n\r\n1,2,3"


@contextmanager
def running(worker_class: str = "", *, timeout: int = 60, files: int = 1100) -> Iterator[Served]:
    """The plain server while the block runs. files: that it may have open."""
    port = free_port()
    command = [sys.executable, "-m", "tests.serving.plain_server", str(port), str(timeout), *worker_class.split()]
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        served = Served(port, process)
        served.wait_until_ready()
        yield served
    finally:
        process.terminate()
        process.wait(PATIENCE)


def asked(connection: http.client.HTTPConnection, body: bytes = b"1,2,3", **headers: str) -> dict[str, Any]:
    """What the application says of a request."""
    connection.request("POST", "/invocations", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200
    return orjson.loads(answer.read())


def asked_here(connect: Callable[[], http.client.HTTPConnection], body: bytes = b"1,2,3") -> dict[str, Any]:
    """An answer of the main thread: at once, unless the machine was busy when one before it was made."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = asked(connect(), body)
        if answer["main"]:
            return answer
    raise AssertionError("no request was answered where it arrived")


def raw(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that is answered to these bytes until the server closes or says no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        for i, piece in enumerate(pieces):
            time.sleep(pause if i else 0.0)
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(2**16), b""))
