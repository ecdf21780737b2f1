"""The scores of a channel's rows by every model: what a threshold is chosen from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from algorithms.cluster import Cluster
from formats.batch import Dense

SCORES = 2**25  # that `num_calibration_samples=auto` keeps, of all models and labels: 128 MiB


class ScoreSample:
    """Scores of m models and labels of at most `rows` rows of all hosts, evenly spaced among those that were added.

    When it is full every second row is dropped, and from then on only every second one kept: memory does not grow
    with the rows, and nothing is drawn at random.
    """

    def __init__(self, models: int, rows: int | None = None) -> None:
        self._capacity = rows or SCORES // (models + 1)
        self._stride, self._seen, self._kept = 1, 0, 0
        self._parts: list[NDArray[np.float32]] = [np.empty((0, models + 1), np.float32)]

    def add(self, scores: Dense, labels: NDArray[np.float32]) -> None:
        """(n, m) scores and (n,) labels."""
        first = -self._seen % self._stride
        self._seen += len(labels)
        part = np.column_stack([scores[first :: self._stride], labels[first :: self._stride]])
        self._parts.append(part)
        self._kept += len(part)
        while self._kept > self._capacity:
            self._thin()

    def _thin(self) -> None:
        """Drops every second row, in place: of the rows kept so far, those whose number the doubled stride divides."""
        parts, first = [], 0
        for part in self._parts:
            parts.append(part[first::2].copy())
            first = (first + len(part)) % 2
        self._parts, self._kept = parts, sum(map(len, parts))
        self._stride *= 2

    def gather(self, cluster: Cluster) -> None:
        """Adds the rows of all hosts, of each of them one in equally many; nothing may be added after."""
        strides = np.zeros(cluster.size, np.int64)
        strides[cluster.rank] = self._stride
        widest = int(cluster.all_reduce(strides).max())
        while True:
            while self._stride < widest:
                self._thin()
            counts = np.zeros(cluster.size, np.int64)
            counts[cluster.rank] = self._kept
            counts = cluster.all_reduce(counts)
            if counts.sum() <= self._capacity:
                break
            widest *= 2
        mine, ends = np.concatenate(self._parts), np.cumsum(counts)
        if cluster.size > 1:
            table = np.zeros((ends[-1], mine.shape[1]), np.float32)
            table[ends[cluster.rank] - len(mine) : ends[cluster.rank]] = mine
            mine = cluster.all_reduce(table)
        self._parts = [mine]

    @property
    def labels(self) -> NDArray[np.float32]:
        """(n,), after `gather`."""
        return self._parts[0][:, -1]

    def scores(self, i: int) -> NDArray[np.float32]:
        """Those of model i, (n,), after `gather`."""
        return np.ascontiguousarray(self._parts[0][:, i])
