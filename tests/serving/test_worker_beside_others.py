"""Clients of our worker that ask for much, are slow, leave, or are many: nobody waits for them, and nothing is lost."""

import http.client
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import orjson
import pytest

from tests.job_folder import PATIENCE, Served
from tests.serving.clients import HEAD, PLAIN, asked, asked_here, running

pytestmark = pytest.mark.usefixtures("unharmed")


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
