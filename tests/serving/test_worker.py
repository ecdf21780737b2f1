"""A real server with our worker, beside one with gunicorn's own threads."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import orjson
import pytest

from tests.job_folder import PATIENCE, Served, free_port

HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"


@contextmanager
def running(worker_class: str = "", *, timeout: int = 60, files: int = 1100) -> Iterator[Served]:
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


@pytest.fixture(scope="module")
def ours() -> Iterator[Served]:
    with running() as served:
        yield served


@pytest.fixture(scope="module")
def threads() -> Iterator[Served]:
    with running("gthread") as served:
        yield served


@pytest.fixture(autouse=True)
def unharmed(ours: Served) -> Iterator[None]:
    """The server would start another worker if one died."""

    def process() -> int:
        return orjson.loads(ours.request("/ping").body)["process"]

    before = process()
    yield
    assert process() == before


@pytest.fixture
def connect(ours: Served) -> Iterator[Callable[[], http.client.HTTPConnection]]:
    made = []

    def make() -> http.client.HTTPConnection:
        made.append(http.client.HTTPConnection("127.0.0.1", ours.port, timeout=PATIENCE))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


def asked(connection: http.client.HTTPConnection, body: bytes = b"1,2,3", **headers: str) -> dict[str, Any]:
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


def without_the_moment(answer: bytes) -> bytes:
    """Less what differs between any two answers: date, port of the client and of the server, the thread."""
    for pattern in (
        rb"Date: [^\r]*",
        rb'"(REMOTE|SERVER)_PORT":"\d+"',
        rb'"(main|process)":\w+',
        rb"Content-Length: \d+",
    ):
        answer = re.sub(pattern, b"", answer)
    return answer


@pytest.mark.parametrize("body", [b"1,2,3", b"", b"1" * 60_000])
def test_plain_requests_are_answered_where_they_arrive(connect, body: bytes) -> None:
    assert asked_here(connect, body)["length"] == len(body)
    connection = connect()
    connection.request("GET", "/ping")
    assert orjson.loads(connection.getresponse().read())["main"]


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nAccept: */*\r\nX-Amzn-SageMaker-Custom-Attributes:\t a, b \t\r\nx-empty:\r\n",
        b"content-length:5\r\nCONNECTION: Keep-Alive\r\nAccept-Encoding: identity\r\nX-Forwarded-For: 1.2.3.4\r\n",
        b'Content-Length: 5\r\nConnection: close\r\nContent-Encoding: gzip\r\nUser-Agent: a/1 (b; c) "d"\r\n',
    ],
)
def test_what_the_application_is_told(ours: Served, threads: Served, headers: bytes) -> None:
    """As gunicorn tells it."""
    request, deadline = HEAD + headers + b"\r\n1,2,3", time.monotonic() + 20
    answer = raw(ours.port, request)
    while b'"main":false' in answer and time.monotonic() < deadline:
        answer = raw(ours.port, request)
    assert b'"main":true' in answer
    assert without_the_moment(answer) == without_the_moment(raw(threads.port, request))


PLAIN = HEAD + b"Content-Length: 5\r\n\r\n1,2,3"


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n1,2,3\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\n1,2,3\r\n0\r\n\r\n",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"Content-Length: 5\r\nContent-Length: 3\r\n\r\n1,2,3",
        HEAD + b"Content-Length: 5, 5\r\n\r\n1,2,3",
        HEAD + b"Content-Length: +5\r\n\r\n1,2,3",
        HEAD + b"Content-Length: -5\r\n\r\n1,2,3",
        HEAD + b"Content-Length: 0x5\r\n\r\n1,2,3",
        HEAD + b"Content-Length: " + b"9" * 3999 + b"\r\n\r\n1,2,3",
        HEAD + b"Content-Length: 9\r\n\r\n1,2,3",
        HEAD + b"Content-Length:\r\n\r\n1,2,3",
        HEAD + b"\r\n1,2,3",
        HEAD + b"Accept: a\r\nAccept: b\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"X_Under: a\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"Script_Name: /a\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"X-A : a\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"X-A: a\r\n b\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"X-A: \x00\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"X-A: \xc3\xa9\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b": a\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"X-A: " + b"a" * 9000 + b"\r\nContent-Length: 5\r\n\r\n1,2,3",
        HEAD + b"".join(b"X-%d: a\r\n" % i for i in range(120)) + b"Content-Length: 5\r\n\r\n1,2,3",
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/3.1"),
        PLAIN.replace(b"/invocations", b"/invocations?a=b"),
        PLAIN.replace(b"/invocations", b"/invocation%73"),
        PLAIN.replace(b"/invocations", b"http://localhost/invocations"),
        PLAIN.replace(b"/invocations", b"invocations"),
        PLAIN.replace(b"POST", b"PUT"),
        PLAIN.replace(b"POST", b"post"),
        PLAIN.replace(b"POST", b"HEAD"),
        b"\r\n" + PLAIN,
        PLAIN + PLAIN,
        PLAIN + b"nonsense",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n1,2,3",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ],
)
def test_all_others_are_answered_as_gunicorn_does(ours: Served, threads: Served, request_: bytes) -> None:
    expected = without_the_moment(raw(threads.port, request_))
    assert without_the_moment(raw(ours.port, request_)) == expected


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("cuts", [(1,), (40,), (len(HEAD) + 2,), (len(PLAIN) - 5,), (len(PLAIN) - 1,), (9, 50, 100)])
def test_requests_in_pieces(ours: Served, cuts: tuple[int, ...], pause: float) -> None:
    bounds = (0, *cuts, len(PLAIN))
    pieces = [PLAIN[start:end] for start, end in pairwise(bounds)]
    assert b'"length":5' in raw(ours.port, *pieces, pause=pause)


def test_a_body_that_follows_its_head_at_once_needs_no_thread(connect) -> None:
    """As most clients send it."""
    asked_here(connect)
    connection, here = connect(), []
    for _ in range(10):
        connection.putrequest("POST", "/invocations")
        connection.putheader("Content-Length", "5")
        connection.endheaders()
        connection.send(b"1,2,3")
        here.append(orjson.loads(connection.getresponse().read())["main"])
    assert any(here)


def test_answers_that_will_take_long_are_left_to_threads(connect) -> None:
    """As those to the first request may, to one after a slow one, and to one that is much larger than a quick one."""
    with running() as fresh:
        connection = http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=PATIENCE)
        assert not asked(connection)["main"]
        connection.close()
    asked_here(connect, b"sleep 0.005")
    assert not asked(connect(), b"quick" * 1000)["main"]
    asked_here(connect, b"quick" * 1000)
    assert not all(asked(connect(), b"sleep 0.1")["main"] for _ in range(2))
    asked_here(connect)


def test_ping_while_long_requests_hold_every_thread(ours: Served, connect) -> None:
    """And requests are answered again where they arrive when those have ended."""
    with ThreadPoolExecutor(6) as pool:
        body = b"sleep 1" + b" " * 70_000
        long = [pool.submit(asked, connect(), body) for _ in range(6)]
        time.sleep(0.3)
        started = time.monotonic()
        for _ in range(10):
            assert ours.request("/ping").status == 200
        assert time.monotonic() - started < 0.6
        assert [each.result()["main"] for each in long] == [False] * 6
    asked_here(connect)


def test_small_requests_beside_a_long_one(connect) -> None:
    asked_here(connect)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(asked, connect(), b"sleep 1" + b" " * 70_000)
        time.sleep(0.3)
        started = time.monotonic()
        answer = asked(connect())
        assert time.monotonic() - started < 0.5
        assert not answer["main"]
        long.result()


@pytest.mark.parametrize("before", [b"", b"GET /ping?a HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("after", [b"", b"Connection: close\r\n"])
def test_a_client_that_reads_slowly(ours: Served, connect, before: bytes, after: bytes) -> None:
    """Holds nobody up, gets all of its answer, and may ask again; before: what a thread has answered to it."""
    length = 30_000_000
    with socket.create_connection(("127.0.0.1", ours.port), timeout=PATIENCE) as client:
        if before:
            client.sendall(before)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert not orjson.loads(answer.read())["main"]
        asked_here(connect)
        order = b"large %d" % length
        client.sendall(HEAD + after + b"Content-Length: %d\r\n\r\n" % len(order) + order)
        time.sleep(0.2)
        assert asked(connect())["length"] == 5
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert len(answer.read()) == length
        if not after:
            client.sendall(PLAIN)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert orjson.loads(answer.read())["length"] == 5


def test_an_answer_is_not_lost_to_what_is_sent_after_the_last_request(ours: Served, connect) -> None:
    """Such as the line end of old clients."""
    asked_here(connect)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", ours.port))
        client.sendall(HEAD + b"Connection: close\r\nContent-Length: 13\r\n\r\nlarge 1000000")
        time.sleep(0.1)
        client.sendall(b"\r\n")
        answer = b"".join(iter(lambda: client.recv(2**16), b""))
    assert answer.endswith(b"x" * 1_000_000)


def test_as_many_connections_as_a_worker_keeps(ours: Served, connect) -> None:
    """The last ones are answered and closed, and there is room for others."""
    with ExitStack() as stack:
        for _ in range(1010):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", ours.port), timeout=PATIENCE))
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = client.recv(2**16)
            assert answer.startswith(b"HTTP/1.1 200 ")
            if b"Connection: close" in answer:
                client.close()
        assert b"Connection: close" in answer
    assert asked(connect())["length"] == 5


def test_too_few_files_for_all_connections() -> None:
    """The one that has waited longest makes room."""
    with running(files=40) as served, ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(60)]
        for client in clients[-5:]:
            client.settimeout(PATIENCE)
            client.sendall(PLAIN)
            assert client.recv(2**16).startswith(b"HTTP/1.1 200 ")


def test_many_answers_beside_a_short_timeout() -> None:
    """Each of them is a sign of life, though they are asked for at once and take longer together."""
    request = HEAD + b"Content-Length: 11\r\n\r\nsleep 0.009"
    with running(timeout=2) as served, ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(400)]
        for some in (clients[:1], clients):
            for client in some:
                client.settimeout(PATIENCE)
                client.sendall(request)
            answers = [client.recv(2**16) for client in some]
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


def test_an_application_that_fails(ours: Served, connect) -> None:
    for _ in range(2):
        assert ours.request("/invocations", b"fail").status == 500
    assert asked(connect())["length"] == 5


def test_clients_that_leave(ours: Served, connect) -> None:
    order = b"large 30000000"
    for request in (b"", HEAD, HEAD + b"Content-Length: %d\r\n\r\n" % len(order) + order):
        with socket.create_connection(("127.0.0.1", ours.port)) as client:
            client.sendall(request)
            time.sleep(0.05)
    assert asked(connect())["length"] == 5


def test_the_server_ends_soon_and_answers_first() -> None:
    with running() as served:
        idle = socket.create_connection(("127.0.0.1", served.port))
        kept = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
        asked(kept)
        kept.request("POST", "/invocations", b"sleep 0.5")
        time.sleep(0.1)
        served.process.send_signal(signal.SIGTERM)
        answer = kept.getresponse()
        assert orjson.loads(answer.read())["length"] == 9
        started = time.monotonic()
        assert served.process.wait(PATIENCE) == 0
        assert time.monotonic() - started < 5
        idle.close()
        kept.close()
