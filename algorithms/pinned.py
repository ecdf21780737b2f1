"""Mini-batches on their way to a GPU: the next is copied, through pinned memory, while one is computed with.

Of pinned memory the device reads by itself, at the full speed of its bus and beside its own computing; other memory the
driver would first copy, and the host would wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.machine import cpu_count
from formats import Batch

PLACES = 2  # one that is computed with, one that is copied to
PIECE = 2**18  # numbers that a thread copies at a time: 1 MiB
THREADS = 4  # one alone cannot fill the bus


def ahead(cupy: Any, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches with features and labels on the device, valid until the next is asked for.

    The current stream computes with them. Sparse ones are made dense, as rows among dense ones are.
    """
    stream = cupy.cuda.Stream(non_blocking=True)
    places = [_Place(cupy) for _ in range(PLACES)]
    current = cupy.cuda.get_current_stream()
    with ThreadPoolExecutor(min(THREADS, cpu_count()), "pin") as pool:
        try:
            for number, batch in enumerate(batches):
                place = places[number % PLACES]
                placed = place.fill(batch, stream, pool)
                current.wait_event(place.copied)
                yield placed
                place.used.record(current)
        finally:
            stream.synchronize()  # what is still being copied must not be freed


class _Place:
    """Memory for one batch, on the host and on the device, and the events after which each may be written again."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.copied = cupy.cuda.Event(disable_timing=True)
        self.used = cupy.cuda.Event(disable_timing=True)
        self._host = np.empty(0, np.float32)
        self._device = cupy.empty(0, np.float32)

    def fill(self, batch: Batch, stream: Any, pool: ThreadPoolExecutor) -> Batch:
        """Begins to copy the batch; `copied` says when the device has it."""
        features = batch.features if isinstance(batch.features, np.ndarray) else batch.features.toarray()
        arrays = [features] if batch.labels is None else [features, batch.labels]
        size = sum(array.size for array in arrays)
        self.copied.synchronize()  # two batches ago: the host hardly ever waits here
        if size > self._host.size:
            self._grow(size)
        start = 0
        for array in arrays:
            _copy(array, self._host[start : start + array.size], pool)
            start += array.size
        stream.wait_event(self.used)
        if size:
            self._device[:size].set(self._host[:size], stream=stream)
        self.copied.record(stream)
        placed, n = [], features.size
        for array, part in zip(arrays, (self._device[:n], self._device[n:size]), strict=False):
            placed.append(part.reshape(array.shape))
        return Batch(placed[0], *placed[1:])

    def _grow(self, size: int) -> None:
        self.used.synchronize()  # the pool would hand what is freed here to whoever asks next
        pinned = self._cupy.cuda.alloc_pinned_memory(4 * size)
        self._host = np.frombuffer(pinned, np.float32, size)
        self._device = self._cupy.empty(size, np.float32)
        # and has perhaps just handed out what an earlier step, still being computed, was the last to use
        self.used.record(self._cupy.cuda.get_current_stream())


def _copy(array: NDArray[np.float32], to: NDArray[np.float32], pool: ThreadPoolExecutor) -> None:
    """A copy by several threads."""
    flat = np.ascontiguousarray(array).reshape(-1)

    def piece(start: int) -> None:
        np.copyto(to[start : start + PIECE], flat[start : start + PIECE])

    if len(flat) <= PIECE:
        np.copyto(to, flat)
        return
    for _ in pool.map(piece, range(0, len(flat), PIECE)):
        pass
