"""Requests a second, latencies, memory and start-up of our server beside those that a user would write."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import orjson

import algorithms
from benchmarks.measure import OURS, Absent, Row, Size, Timed
from benchmarks.servers import KINDS, Served, Server
from formats import recordio

CONNECTIONS = (1, 8, 64)
SECONDS = 0.3  # of a round


def rows(size: Size, base: Path) -> Iterator[Row]:
    """For each model that is served: start-up, then the requests."""
    for name in algorithms.names():
        if importlib.util.find_spec(f"benchmarks.{name}") is None:
            continue
        served = getattr(importlib.import_module(f"benchmarks.{name}"), "SERVED", None)
        if served is not None:
            yield from of_model(name, served, size, base / name)


def of_model(name: str, served: Served, size: Size, folder: Path) -> Iterator[Row]:
    """All sides are up at once, and idle but for the one that is asked."""
    folder.mkdir()
    counts = served.counts[: size(3, 2)]
    X = served.make(folder, max(counts))

    def started(kind: str) -> Timed:
        server = Server(KINDS[kind], name, folder)
        memory = server.memory()
        server.stop()
        return Timed(server.startup, {"PSS MB": memory})

    def starts(kind: str) -> Callable[[], Timed]:
        return lambda: started(kind)

    peers = {kind: starts(kind) for kind in KINDS if kind != OURS}
    yield Row(f"{name}: start-up, until it says that it is ready", 1, "starts", starts(OURS), peers)
    with contextlib.ExitStack() as stack:
        up: dict[str, Server | Absent] = {}
        for kind, how in KINDS.items():
            try:
                server = Server(how, name, folder)
            except Absent as error:
                up[kind] = error
            else:
                stack.callback(server.stop)
                up[kind] = server
        for count in counts:
            for content_type, body in bodies(X[:count]).items():
                for connections in CONNECTIONS[: size(3, 2)]:
                    yield asked(name, count, X, content_type, body, connections, up, size)


def asked(
    name: str,
    count: int,
    X: np.ndarray,
    content_type: str,
    body: bytes,
    connections: int,
    up: Mapping[str, Server | Absent],
    size: Size,
) -> Row:
    """One request, again and again. MLServer has a format of its own, which stands beside JSON."""
    accept = "text/csv" if content_type == "text/csv" else "application/json"
    seconds = size(4, 1) * SECONDS / 4

    def ask(kind: str) -> Callable[[], Timed]:
        def run() -> Timed:
            server = up[kind]
            if isinstance(server, Absent):
                raise server
            sent = inference_request(X[:count]) if kind == "MLServer" else body
            return server.asked(sent, content_type, accept, connections, seconds)

        return run

    kinds = [kind for kind in up if kind != "MLServer" or content_type == "application/json"]
    what = f"{count:,} row{'s' if count > 1 else ''} of {X.shape[1]}, {content_type.partition('/')[2]}"
    return Row(
        f"{name}: {what}, {connections} connection{'s' if connections > 1 else ''}",
        1,
        "requests",
        ask(OURS),
        {kind: ask(kind) for kind in kinds if kind != OURS},
    )


def bodies(X: np.ndarray) -> dict[str, bytes]:
    """The rows in each format, numbers in their shortest form."""
    lines = [",".join(map(str, row.tolist())) for row in X]
    return {
        "text/csv": "\n".join(lines).encode(),
        "application/json": orjson.dumps({"instances": [{"features": row.tolist()} for row in X]}),
        "application/x-recordio-protobuf": recordio.encode_features(X),
    }


def inference_request(X: np.ndarray) -> bytes:
    """Of the Open Inference Protocol, version 2."""
    data = {"name": "rows", "shape": list(X.shape), "datatype": "FP32", "data": X.reshape(-1).tolist()}
    return orjson.dumps({"inputs": [data]})
