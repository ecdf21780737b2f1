"""Runs inside a training container in the place of `train`, and writes down when hosts meet and what crosses the wire.

A clock that all containers of a machine share tells the time of each sum over the hosts, so that waiting for a later
host and the exchange itself are told apart. Python of the image only; it must not be imported elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import algorithms

PLAIN, A_NUMBER_EACH, GATHERED = range(3)  # how a sum's size depends on the number of hosts: not, as it, its rows do
NETWORK = Path("/sys/class/net")
QUOTAS = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"))  # control groups, version 2 and 1

calls: list[tuple[float, float, int, int, int]] = []  # begin, end, elements, bytes of one, kind
kinds = [PLAIN]
found: dict[str, Any] = {}


def network() -> dict[str, int]:
    """Bytes that this container sent and received so far, headers included."""
    links = [link for link in NETWORK.iterdir() if link.name != "lo"]
    names = ("tx_bytes", "rx_bytes")
    return {name: sum(int((link / "statistics" / name).read_text()) for link in links) for name in names}


def stalled() -> float:
    """Seconds for which the engine's CPU quota has stopped this container, 0 where nobody says."""
    for path in QUOTAS:
        with suppress(OSError):
            fields = dict(line.split() for line in path.read_text().splitlines())
            return int(fields.get("throttled_usec", 0)) / 1e6 + int(fields.get("throttled_time", 0)) / 1e9
    return 0.0


def timed(add: Callable[..., Any]) -> Callable[..., Any]:
    """`Ring.add`, told."""

    def told(self: Any, array: Any) -> Any:
        began = time.monotonic()
        result = add(self, array)
        calls.append((began, time.monotonic(), array.size, array.itemsize, kinds[-1]))
        return result

    return told


def marked(method: Callable[..., Any], kind: int) -> Callable[..., Any]:
    """A method of Cluster whose sums are of this kind."""

    def told(*arguments: Any, **named: Any) -> Any:
        kinds.append(kind)
        try:
            return method(*arguments, **named)
        finally:
            kinds.pop()

    return told


def fitted(fit: Callable[..., Any]) -> Callable[..., Any]:
    """`Algorithm.fit`, told: reading and learning, without the start of the program and the writing of the model."""

    def told(*arguments: Any, **named: Any) -> Any:
        first, before, held = len(calls), network(), stalled()
        began, spent = time.monotonic(), time.process_time()
        model = fit(*arguments, **named)
        found.update(began=began, ended=time.monotonic(), cpu=time.process_time() - spent, stalled=stalled() - held)
        found["calls"] = calls[first:]
        found["network"] = {name: value - before[name] for name, value in network().items()}
        return model

    return told


def main() -> int:
    """The program `train`, told. What loads NumPy is imported here, because some variables must be set before."""
    from algorithms.machine import limit_threads

    limit_threads()
    from algorithms import cluster, ring, train

    find = algorithms.find

    def told(name: str) -> Any:
        algorithm = find(name)
        return replace(algorithm, fit=fitted(algorithm.fit))

    algorithms.find = told
    ring.Ring.add = timed(ring.Ring.add)  # type: ignore[method-assign]
    cluster.Cluster.numbers = marked(cluster.Cluster.numbers, A_NUMBER_EACH)  # type: ignore[method-assign]
    cluster.Cluster.gather = marked(cluster.Cluster.gather, GATHERED)  # type: ignore[method-assign]
    code = train.main()
    Path("/opt/ml/output/data/probe.json").write_text(json.dumps(found | {"network_of_the_job": network()}))
    return code


if __name__ == "__main__":
    sys.exit(main())
