"""The hosts of one training job: what they add up, and how they notice that one of them is lost.

One host is a cluster of one. What several hosts talk through is in ring.py.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from algorithms.errors import PlatformError
from algorithms.ring import Ring
from formats.batch import Batch

Scalar = TypeVar("Scalar", np.float32, np.float64, np.int32, np.int64)
Result = TypeVar("Result")

# Long, because a host that reads or computes for minutes between two steps is slow, not lost: it must outlast the
# difference between the hosts, not a step. A host whose process or machine ends closes its sockets and is noticed at
# once; only a frozen host or a cut network takes this long. The hosted algorithms wait 15 minutes for host names.
TIMEOUT = 900.0  # seconds
MEETING = 1.0  # seconds between two meetings of hosts that need nothing of each other


def _itself(array: NDArray[Any]) -> NDArray[Any]:
    return array


def _called(function: Callable[[], Any]) -> Any:
    return function()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What one host sees of all hosts; made without arguments, the cluster of one host.

    Every host must call the same methods in the same order, with arrays of the same shape and dtype. Each method raises
    PlatformError when another host is lost.

    rank: place of this host in the sorted names, 0 is the leader
    add:  an array of any shape -> the sum of the hosts' arrays
    call: a function -> what it returns, called where the engine of ring.py is connected to the other hosts
    """

    rank: int = 0
    size: int = 1
    add: Callable[[NDArray[Any]], NDArray[Any]] = _itself
    call: Callable[[Callable[[], Any]], Any] = _called

    @property
    def is_leader(self) -> bool:
        """True on one host only: the one that writes the model."""
        return self.rank == 0

    def all_reduce(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """The sum over the hosts, the same bits on all of them; on one host `array` itself."""
        return self.add(array)

    def total(self, count: int) -> int:
        """The sum of the hosts' counts or flags."""
        return int(self.add(np.array([count], np.int64))[0])

    def numbers(self, number: int) -> NDArray[np.int64]:
        """The hosts' numbers, by rank."""
        mine = np.zeros(self.size, np.int64)
        mine[self.rank] = number
        return self.add(mine)

    def broadcast(self, array: NDArray[Scalar], root: int = 0) -> NDArray[Scalar]:
        """The array of host `root`, bit for bit; the other hosts' arrays give only the shape and the dtype.

        The engine's own broadcast pickles, and unpickling what a network port brings would run anybody's code.
        """
        bits = np.ascontiguousarray(array).view(f"i{array.itemsize}")  # integers, or -0.0 + 0.0 would lose its sign
        return self.add(bits if self.rank == root else np.zeros_like(bits)).view(array.dtype).reshape(array.shape)

    def gather(self, array: NDArray[Scalar]) -> list[NDArray[Scalar]]:
        """The hosts' arrays by rank, bit for bit; they may differ in their first dimension, and in no other."""
        ends = np.cumsum(self.numbers(len(array)))
        every = np.zeros((int(ends[-1]), *array.shape[1:]), f"i{array.itemsize}")  # integers, as in broadcast
        stop = int(ends[self.rank])
        every[stop - len(array) : stop] = np.ascontiguousarray(array).view(every.dtype)
        return np.split(self.add(every).view(array.dtype), ends[:-1])

    def run(self, function: Callable[[], Result]) -> Result:
        """Calls `function` in the thread of ring.py's engine, which it may use too; all hosts do so in the same step.

        What it does with this cluster goes on working in it. Raises PlatformError when a host is lost meanwhile.
        """
        result: Result = self.call(function)
        return result

    def in_step(self, batches: Iterable[Batch], width: int, stopped: Callable[[], bool]) -> Iterator[Batch]:
        """One batch a step on every host, until all are out of batches or one was told to stop.

        A host that ran out brings `Batch.empty(width)`. A stop ends all hosts in the same step; a batch that was read
        for that step is dropped.
        """
        source = iter(batches)
        while True:
            batch = None if stopped() else next(source, None)
            present, stops = self.add(np.array([batch is not None, stopped()], np.int64))
            if stops or not present:
                return
            yield Batch.empty(width) if batch is None else batch

    def together(
        self, batches: Iterable[Batch], stopped: Callable[[], bool], seconds: float = MEETING
    ) -> Iterator[Batch]:
        """This host's batches, for a state that is added up in the end: meanwhile the hosts only meet now and then.

        Each host waits for all others to be out of batches, so that one with little data takes none for lost. A stop
        of one ends all, a batch later or `seconds`.
        """
        source = iter(batches)
        batch = None if stopped() else next(source, None)
        while True:
            present, stops = self.add(np.array([batch is not None, stopped()], np.int64))
            if stops or not present:
                return
            met = time.monotonic()
            while batch is not None and not stopped():
                yield batch
                batch = None if stopped() else next(source, None)
                if time.monotonic() - met >= seconds:
                    break


@contextmanager
def connect(
    hosts: Sequence[str],
    current_host: str,
    port: int = 9099,
    timeout: float = TIMEOUT,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Cluster]:
    """The cluster of all `hosts`, which every one of them enters; the first in sorted order leads, on `port`.

    timeout: seconds for all hosts to come, and later for one host to wait in a step for the slowest one.
    stopped: looked at while other hosts are waited for. Raises NothingLearned then.
    Raises PlatformError when a host cannot be found, does not come in time, or is lost. Leaving the block closes the
    connections to the other hosts, which tells those that still wait for this one.
    """
    ordered = sorted(hosts)
    if len(ordered) == 1:
        yield Cluster()
        return
    ring = Ring(ordered, current_host, timeout, stopped)
    done = False
    try:
        cluster = Cluster(*ring.join(port), ring.add, ring.run)
        _agree(cluster, ordered, current_host)
        yield cluster
        done = cluster.total(1) == len(ordered)  # all of them got here: nobody is lost unnoticed after the last step
    finally:
        ring.leave(done)


def _agree(cluster: Cluster, hosts: Sequence[str], current_host: str) -> None:
    """Raises PlatformError on all hosts unless all were given the same names, each host its own."""
    digest = hashlib.sha256("\n".join(hosts).encode()).digest()
    mine = np.frombuffer(digest[:8], np.int64)
    same = np.array_equal(mine, cluster.broadcast(mine))
    if cluster.total(not (same and hosts[cluster.rank] == current_host)):
        raise PlatformError(
            f"the hosts of this training job were given different names; this one is '{current_host}' of "
            f"{', '.join(hosts)}. Please give all of them the same list, and each its own name in it."
        )
