"""Requests to our worker: answered as gunicorn's own threads do, but where they arrive if they are plain."""

import re
import time
from itertools import pairwise

import orjson
import pytest

from tests.job_folder import Served
from tests.serving.clients import HEAD, PLAIN, asked_here, raw

pytestmark = pytest.mark.usefixtures("unharmed")


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
