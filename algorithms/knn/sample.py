"""A uniform sample of the rows of all hosts, in one pass and in the memory of the sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.knn._place import place
from algorithms.machine import free_memory
from algorithms.reservoir import entering, parts_of_hosts, random_bits
from formats.batch import Dense

REMEDY = (
    "choose a larger instance type, use dimension reduction, decrease sample_size, and/or decrease mini_batch_size."
)
FEWEST = 1024  # rows that room is made for
SHARE = 0.25  # of the free memory
PIECE = 2**22  # floats that the hosts exchange at once
Reduce = Callable[[Dense | sparse.csr_array], Dense]


class Reservoir:
    """A uniform sample of the rows of one stream, see algorithms/reservoir.py.

    size:   the number of slots
    bits:   what is random
    reduce: rows (n, d) -> rows (n, d') float32 as they are kept, called for the rows that enter, and for no others;
            None: rows are kept as they are
    """

    def __init__(self, size: int, bits: np.random.PCG64, reduce: Reduce | None) -> None:
        self.seen = 0
        self._size = size
        self._bits = bits
        self._reduce = reduce
        self._rows: Dense = np.empty((0, 0), np.float32)
        self._labels = np.empty(0, np.float32)

    def __len__(self) -> int:
        return min(self.seen, self._size)

    def add(self, features: Dense | sparse.csr_array, labels: NDArray[np.float32]) -> None:
        """The next rows of the stream, (n, d), and their labels (n,). Raises UserError if memory does not suffice."""
        n = features.shape[0]
        rows, slots = entering(self._bits, self.seen, n, self._size)
        self.seen += n
        if not rows.size:
            return
        if self._reduce is None and isinstance(features, np.ndarray):
            self._make_room(features.shape[1])
            place(np.ascontiguousarray(features), rows, slots, self._rows)
        else:
            entered = features if len(rows) == n else features[rows]
            kept = _dense(entered) if self._reduce is None else self._reduce(entered)
            self._make_room(kept.shape[1])
            self._rows[slots] = kept
        self._labels[slots] = labels[rows]

    def _make_room(self, width: int) -> None:
        """Room for the rows that there are by now. All that the sample needs, while that is little of the memory.

        It is not touched before rows come, and so not taken; rooms that grow are filled with zeros, or copied.
        """
        room = len(self._labels)
        if len(self) <= room:
            return
        free, row = free_memory(), 4 * (width + 1)
        wanted = min(self._size, max(len(self), room + room // 4, FEWEST))
        require_memory((wanted - room) * row)
        if room == 0:
            wanted = int(max(wanted, min(self._size, SHARE * free // row)))
            self._rows, self._labels = np.empty((wanted, width), np.float32), np.empty(wanted, np.float32)
        else:  # where they lie, if possible; nobody else holds a view of them
            self._rows.resize((wanted, width), refcheck=False)
            self._labels.resize(wanted, refcheck=False)

    def sample(self) -> tuple[Dense, NDArray[np.float32]]:
        """The rows (m, d') and labels (m,), with which this reservoir ends."""
        self._rows.resize((len(self), self._rows.shape[1]), refcheck=False)
        self._labels.resize(len(self), refcheck=False)
        return self._rows, self._labels


def _dense(X: Dense | sparse.csr_array) -> Dense:
    return X if isinstance(X, np.ndarray) else X.toarray()


def gathered(
    cluster: Cluster, reservoir: Reservoir, size: int, seed: int
) -> tuple[Dense, NDArray[np.float32], NDArray[np.int64]]:
    """A uniform sample of `size` rows, or all if they are fewer, of the rows that all hosts have seen.

    How many of them come from each host has the multivariate hypergeometric distribution, and which ones of its rows is
    left to its reservoir. All hosts return the same rows (m, d), labels (m,), and the hosts' parts of m (hosts,).
    """
    rows, labels = reservoir.sample()
    seen = cluster.numbers(reservoir.seen)
    if cluster.size == 1:  # nothing to exchange, so that the sample need not be held twice
        return rows, labels, np.array([len(rows)])
    try:
        parts = parts_of_hosts(seen, size, np.random.Generator(random_bits(seed, 2)))  # the same on all hosts
    except ValueError as error:
        raise UserError(f"hyperparameter 'sample_size' {error}") from None
    own = np.random.Generator(random_bits(seed, 3, cluster.rank))
    if parts[cluster.rank] < len(rows):
        chosen = np.sort(own.choice(len(rows), parts[cluster.rank], replace=False))
        rows, labels = rows[chosen], labels[chosen]
    width = int(cluster.numbers(rows.shape[1]).max())  # a host without rows does not know it
    stop = int(parts[: cluster.rank + 1].sum())
    mine = slice(stop - len(rows), stop)
    require_memory(int(parts.sum()) * (width + 1) * 4)
    everything, every_label = np.zeros((parts.sum(), width), np.float32), np.zeros(parts.sum(), np.float32)
    everything[mine], every_label[mine] = rows.reshape(-1, width), labels
    at_once = max(1, PIECE // max(1, width))
    for start in range(0, len(everything), at_once):
        piece = slice(start, start + at_once)
        everything[piece] = cluster.all_reduce(everything[piece])
        every_label[piece] = cluster.all_reduce(every_label[piece])
    return everything, every_label, parts


def require_memory(wanted: int) -> None:
    """Raises UserError unless so many more bytes can be had."""
    if (free := free_memory()) < wanted:
        raise UserError(
            f"the sample needs {wanted} more bytes of memory, only {free:.0f} bytes are free; please {REMEDY}"
        )
