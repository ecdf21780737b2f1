"""A client of many connections that each ask again as soon as they are answered; prints rate and latencies as JSON.

    python load.py PORT CONNECTIONS SECONDS < REQUEST

REQUEST: bytes, headers included. Every connection is answered once at least. The standard library only: one more
process of the machine that is measured, so it must start fast and take little.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time


class Connection:
    """One that asks and waits."""

    def __init__(self, port: int, request: bytes, selector: selectors.BaseSelector) -> None:
        self.port, self.request, self.selector = port, request, selector
        self.socket: socket.socket | None = None
        self.ask()

    def ask(self) -> None:
        """Sends the request, on a new socket where the server closed the last one."""
        self.started, self.unsent, self.answer = time.perf_counter(), memoryview(self.request), bytearray()
        self.length = -1
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.setblocking(False)
            self.fresh = True
            self.selector.register(self.socket, selectors.EVENT_READ, self)
        self.send()

    def send(self) -> None:
        """As much as the socket takes; an answer to a part of it is not waited for."""
        assert self.socket is not None
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            self.selector.modify(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
            return
        except (BrokenPipeError, ConnectionResetError):
            self.again()
            return
        self.selector.modify(self.socket, selectors.EVENT_READ, self)

    def receive(self) -> bool:
        """Whether the answer is complete."""
        assert self.socket is not None
        try:
            data = self.socket.recv(2**18)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self.again()
            return False
        self.answer += data
        if self.length < 0 and (end := self.answer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.answer[:end]).lower()
            if b" 200 " not in head[:20]:
                sys.exit(f"the server answered {bytes(self.answer[:500])!r}")
            self.length = end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            self.closes = b"connection: close" in head
        if not 0 <= self.length <= len(self.answer):
            return False
        self.fresh = False
        if self.closes:
            self.close()
        return True

    def again(self) -> None:
        """The server closed a connection that had been idle: HTTP allows it. Not one that it never answered on."""
        if self.fresh or self.answer:
            sys.exit("the server closed the connection without an answer")
        started = self.started
        self.close()
        self.ask()
        self.started = started

    def close(self) -> None:
        """Lets go of the socket."""
        if self.socket is not None:
            self.selector.unregister(self.socket)
            self.socket.close()
            self.socket = None


def main(port: int, connections: int, seconds: float) -> None:
    """Asks until the time is over, then waits for the answers that are due."""
    request, latencies = sys.stdin.buffer.read(), []
    selector = selectors.DefaultSelector()
    started = time.perf_counter()
    open_ = {Connection(port, request, selector) for _ in range(connections)}
    while open_:
        for key, events in selector.select(60) or sys.exit("the server did not answer for 60 seconds"):
            connection: Connection = key.data
            if events & selectors.EVENT_WRITE:
                connection.send()
            if events & selectors.EVENT_READ and connection.receive():
                now = time.perf_counter()
                latencies.append(now - connection.started)
                if now - started < seconds:
                    connection.ask()
                else:
                    connection.close()
                    open_.discard(connection)
    taken = time.perf_counter() - started
    latencies.sort()
    p50, p99 = (1e3 * latencies[min(len(latencies) - 1, int(share * len(latencies)))] for share in (0.5, 0.99))
    print(json.dumps({"seconds": taken / len(latencies), "p50 ms": p50, "p99 ms": p99, "requests": len(latencies)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
