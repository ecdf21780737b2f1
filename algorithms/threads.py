"""Rows shared out among threads in each of which BLAS keeps to that thread.

OpenBLAS' own threads wait for each other in every product, spinning, and products of a piece of rows that stays in the
cache are short. Threads that each go through rows of their own, adding up sums of their own, meet once a block instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import scipy.linalg.blas  # noqa: F401 - loads the BLAS that is to be found
from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")

NUMBERS = 2**24  # in the sums of all threads, at most: products that are added to larger ones are long enough for BLAS'
WORTH = 2**25  # multiplications, about a millisecond's, from which threads are started
_LOCK = threading.Lock()  # BLAS has one number of threads for the whole process


def threads_for(size: int) -> int:
    """Threads to go through rows with, each with sums of `size` numbers: as many as BLAS would take, or one."""
    threads = _blas_threads()
    return threads if threads * size <= NUMBERS else 1


def shared(work: Callable[[int, slice], Result], rows: int, cost: float, threads: int) -> list[Result]:
    """What `work(i, rows of thread i)` returns, by i. cost: multiplications for a row.

    With the same `threads` the same rows are shared out in the same way, so that sums are the same bit for bit.
    """
    if threads == 1:
        return [work(0, slice(0, rows))]
    with alone():
        if rows * cost < WORTH:
            return [work(0, slice(0, rows))]
        bounds = [rows * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads, "rows") as pool:
            return list(pool.map(work, range(threads), map(slice, bounds, bounds[1:])))


@contextmanager
def alone() -> Iterator[None]:
    """BLAS keeps to the threads that call it; where it cannot be told, it does what it does."""
    with _LOCK, _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    """NumPy's and SciPy's, which may be one."""
    return ThreadpoolController().select(user_api="blas")


@cache
def _blas_threads() -> int:
    """The number that BLAS starts with, from the environment; 1 where it cannot be told to use fewer."""
    return min((each["num_threads"] for each in _blas().info()), default=1)
