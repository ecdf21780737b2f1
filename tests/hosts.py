"""Several hosts in the threads of one test, for algorithms whose hosts only add."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from algorithms.cluster import Cluster


def on_hosts(size: int, work: Callable[[Cluster], Any]) -> list[Any]:
    """`work(cluster)` on each of `size` hosts at once; their results in order of rank.

    Threads that meet at a barrier and add in order of rank stand in for the network: what is tested here is that the
    algorithm says the same in the same order on all hosts, and a sum is all it asks for. A host that fails breaks the
    barrier, so that a test fails instead of waiting. The engine itself is tested in tests/contract.
    """
    barrier, slots = threading.Barrier(size, timeout=20), [np.empty(0)] * size

    def add_as(rank: int) -> Callable[[np.ndarray], np.ndarray]:
        def add(array: np.ndarray) -> np.ndarray:
            slots[rank] = array.copy()
            barrier.wait()
            assert len({(part.shape, part.dtype) for part in slots}) == 1
            total = sum(slots[1:], start=slots[0]).astype(array.dtype)
            barrier.wait()
            return total

        return add

    def run(rank: int) -> Any:
        try:
            return work(Cluster(rank, size, add_as(rank)))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as threads:
        hosts = [threads.submit(run, rank) for rank in range(size)]
    failures = [error for host in hosts if (error := host.exception()) is not None]
    for error in failures:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [host.result() for host in hosts]
