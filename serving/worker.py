"""A gunicorn worker that answers small requests where they arrive, and leaves all others to threads.

In gunicorn's threaded worker each request goes from the main thread to another and back, and the two take turns with
the interpreter's lock: that takes several times as long as to answer a row. Here the main thread reads and answers a
request itself where that keeps nobody waiting: it is complete, small and plain, and nothing long is computed. Any other
request is gunicorn's, from its first byte on.
"""

from __future__ import annotations

import errno
import io
import math
import re
import select
import socket
import time
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from typing import TYPE_CHECKING

from gunicorn import SERVER, util
from gunicorn.http.wsgi import base_environ
from gunicorn.workers.gthread import TConn, ThreadWorker

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SMALL = 2**16  # bytes of a request
PIECE = 2**14  # bytes read at first: those of a request that is handed over are kept until a thread has time for it
QUICK = 0.01  # seconds that an answer may take here
SOON = 0.001  # seconds for the rest of a request to come: many clients send the head and the body apart
HEAD = re.compile(
    rb"(GET|POST) (/[a-z-]*) HTTP/1\.1\r\n"  # no query, nothing to unquote
    rb"((?:[A-Za-z0-9-]{1,100}:[\t -~]{,4000}\r\n){1,100})\r\n"
)
UNUSUAL = {"EXPECT", "HTTP2_SETTINGS", "TE", "TRAILER", "TRANSFER_ENCODING", "UPGRADE"}  # headers that ask for more


class Connection(TConn):  # type: ignore[misc]
    """A client's.

    length: bytes in the body of its request, if that is small
    long: whether a thread is at a request that may take long
    ended: whether all has been answered, and what may come yet is not read
    """

    length, long, ended = 0, False, False


class Worker(ThreadWorker):  # type: ignore[misc]
    """Answers what it can at once."""

    def init_process(self) -> None:
        """Works until the server ends."""
        self._long = 0  # connections
        self._took, self._length = math.inf, 1  # seconds for the last small request, bytes in its body
        self._environ = base_environ(self.cfg) | {
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
        }
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """A new connection waits for its request in the poller, where it holds no thread."""
        try:
            client, address = listener.accept()
        except OSError as error:  # another worker was first, or the client is gone
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.keepalived_conns:
                self._close(self.keepalived_conns[0])  # and it is tried again
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, client, address, listener.getsockname())
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self.poller.register(client, EVENT_READ, partial(self.on_client_socket_readable, conn))
        self.on_client_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Answers a request, or hands it to a thread with what has come of it."""
        try:
            data = client.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(conn)
            return
        if conn.ended:
            return
        data, environ = self._understood(conn, data)
        asks = environ is None or environ["REQUEST_METHOD"] == "POST"  # the model, and not how the server is
        conn.length = int(environ.get("CONTENT_LENGTH", 0)) if environ else 0
        quick = environ is not None and (not asks or self._took * max(1, conn.length / self._length) < QUICK)
        if environ and quick and self.alive and not (asks and self._long):
            self._answer(conn, environ)
            return
        self._hand_over(conn, data)
        if quick:  # as soon as what takes long has ended
            super().enqueue_req(conn)
        else:
            self.enqueue_req(conn)

    def _understood(self, conn: Connection, data: bytes) -> tuple[bytes, WSGIEnvironment | None]:
        """All that has come of a request, and what it says if it is complete, small and plain."""
        head = HEAD.match(data)
        if head is None:
            return data, None
        method, path, lines = (part.decode() for part in head.groups())
        environ = self._environ | {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "RAW_URI": path,
            "REMOTE_ADDR": conn.client[0],
            "REMOTE_PORT": str(conn.client[1]),
            "SERVER_NAME": conn.server[0],
            "SERVER_PORT": str(conn.server[1]),
        }
        for line in lines.splitlines():
            name, _, value = line.partition(":")
            name, value = name.upper().replace("-", "_"), value.strip(" \t")
            key = name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{name}"
            if key in environ or name in UNUSUAL:
                return data, None
            environ[key] = value
        if environ.get("HTTP_CONNECTION", "close").lower() not in ("close", "keep-alive"):
            return data, None
        length = environ.get("CONTENT_LENGTH", "0" if method == "GET" else "")
        if not length.isdecimal() or head.end() + int(length) >= SMALL:
            return data, None
        missing = head.end() + int(length) - len(data)
        if missing > 0:
            more = _soon(conn.sock, missing)
            data, missing = data + more, missing - len(more)
        environ["wsgi.input"] = io.BytesIO(data[head.end() :])
        return data, None if missing else environ

    def _answer(self, conn: Connection, environ: WSGIEnvironment) -> None:
        """Asks the application and sends what it says."""
        self.notify()  # many may be answered before the loop comes round
        wanted = environ.get("HTTP_CONNECTION", "keep-alive").lower() == "keep-alive"
        kept = wanted and len(self.keepalived_conns) <= self.max_keepalived
        connection = "keep-alive" if kept else "close"
        lines = [f"Server: {SERVER}", f"Date: {util.http_date()}", f"Connection: {connection}"]

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> None:
            lines.insert(0, f"HTTP/1.1 {status}")
            lines.extend(f"{name}: {value}" for name, value in headers)

        started = time.perf_counter()
        try:
            parts = self.wsgi(environ, start_response)
            body = b"".join(parts)
            if hasattr(parts, "close"):
                parts.close()
            answer = "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body
        except Exception as error:
            self.handle_error(None, conn.sock, conn.client, error)
            self._close(conn)
            return
        if environ["REQUEST_METHOD"] == "POST":
            self._learn(time.perf_counter() - started, conn.length)
        try:
            sent = conn.sock.send(answer)
            if sent == len(answer) and not kept:  # to close it would take from the client what it has not read
                conn.sock.shutdown(socket.SHUT_WR)
                conn.ended = True
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(conn)
            return
        if sent == len(answer):
            self.keepalived_conns.remove(conn)  # they are in the order in which they will have waited too long
            conn.set_timeout()
            self.keepalived_conns.append(conn)
        else:  # the client reads slowly
            self._hand_over(conn)
            sending = self.tpool.submit(_send, conn, answer[sent:], kept)
            sending.add_done_callback(partial(self.method_queue.defer, self.finish_request, conn))

    def _hand_over(self, conn: Connection, data: bytes = b"") -> None:
        """Makes a connection gunicorn's, for a thread to go on with; data: read, and not answered."""
        self._forget(conn)
        conn.data_ready = True
        conn.init()
        conn.sock.setblocking(True)
        conn.parser.unreader.unread(data)

    def _forget(self, conn: Connection) -> None:
        self.poller.unregister(conn.sock)
        self.keepalived_conns.remove(conn)

    def _close(self, conn: Connection) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def enqueue_req(self, conn: Connection) -> None:
        """Has a thread answer a request that may take long."""
        conn.long = True
        self._long += 1
        super().enqueue_req(conn)

    def handle(self, conn: Connection) -> object:
        """In a thread; the seconds are the processor's, not those of a client that sends slowly."""
        started = time.thread_time()
        kept = super().handle(conn)
        if conn.length:
            self._learn(time.thread_time() - started, conn.length)
        return kept

    def _learn(self, seconds: float, length: int) -> None:
        self._took, self._length = seconds, max(1, length)

    def finish_request(self, conn: Connection, fs: Future[object]) -> None:
        """In the main thread, after a thread."""
        if conn.long:
            conn.long = False
            self._long -= 1
        super().finish_request(conn, fs)


def _soon(client: socket.socket, missing: int) -> bytes:
    """So much of a request, or less if it does not come at once."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    end, parts = time.monotonic() + SOON, []
    while missing and time.monotonic() < end and poll.poll(1000 * SOON):
        try:
            part = client.recv(missing)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _send(conn: Connection, rest: bytes, kept: bool) -> bool:
    """In a thread; whether the connection goes on."""
    conn.sock.sendall(rest)
    return kept
