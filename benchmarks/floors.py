"""What the machine can do at best, measured in the same run: products of matrices, and bytes to and from memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from algorithms.machine import cpu_count

ROUNDS = 5
SIDE = 1024  # of the factors; beyond some hundreds the rate does not depend on it
BYTES = 2**26  # a thread, beyond the caches


@dataclass(frozen=True)
class Rates:
    """flops: float32 a second in a product of two matrices, all cores; bytes: read and written a second, all cores."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Floor:
    """The least that a computation asks for, however it is written. Whatever takes longer binds."""

    flops: float = 0.0
    bytes: float = 0.0

    def seconds(self, rates: Rates) -> float:
        """The time below which no program can do it here."""
        return max(self.flops / rates.flops, self.bytes / rates.bytes)

    def binding(self, rates: Rates) -> str:
        """Which of the two it is."""
        return "flops" if self.flops / rates.flops >= self.bytes / rates.bytes else "bytes"


def rates() -> Rates:
    """Measures both, with all cores."""
    A, B = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32)
    product = np.empty_like(A)
    threads = cpu_count()
    source, target = np.ones((2, threads, BYTES // 4), np.float32)
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(np.copyto, target, source))

        return Rates(2 * SIDE**3 / _seconds(lambda: np.matmul(A, B, out=product)), 2 * source.nbytes / _seconds(copy))


def _seconds(work: Callable[[], object]) -> float:
    """The median; the first round warms up."""
    taken = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])
