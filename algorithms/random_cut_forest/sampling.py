"""A uniform sample of the rows of all hosts, in one pass and in the memory of the sample, and each tree's part of it.

The guide, "Randomly Sampling Data", names Park et al. 2004 for it; Vitter's algorithm draws the same distribution.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.machine import free_memory
from algorithms.random_cut_forest.forest import memory_needed
from algorithms.reservoir import entering, parts_of_hosts, random_bits
from formats.batch import Dense
from formats.ndarray import MAX_ELEMENTS

FEWEST = 1024  # rows that room is made for
PIECE = 2**22  # floats that the hosts exchange at once
GROWTH = 64  # bytes a row of what is needed only while trees grow: random numbers, orders, room for nodes


class Reservoir:
    """A uniform sample, without replacement, of the rows of a stream, see algorithms/reservoir.py.

    rows_wanted: the number of slots; memory is taken as they fill
    d:           features of a row
    random:      bits of this reservoir's own
    """

    def __init__(self, rows_wanted: int, d: int, random: np.random.PCG64) -> None:
        self.seen = 0
        self._wanted = rows_wanted
        self._random = random
        self._rows: Dense = np.empty((0, d), np.float32)

    def __len__(self) -> int:
        return min(self.seen, self._wanted)

    @property
    def width(self) -> int:
        """Features of a row."""
        return int(self._rows.shape[1])

    @property
    def rows(self) -> Dense:
        """The sample, (m, d): in the order of arrival while m = seen. A view, until rows are added."""
        return self._rows[: len(self)]

    def add(self, X: Dense | sparse.csr_array) -> None:
        """The next rows of the stream, (n, d). Raises UserError if there is no memory for the forest of such rows."""
        n = X.shape[0]
        rows, slots = entering(self._random, self.seen, n, self._wanted)
        self.seen += n
        self._make_room(len(self))
        if rows.size:
            self._rows[slots] = _dense(X if len(rows) == n else X[rows])

    def _make_room(self, rows: int) -> None:
        room = len(self._rows)
        if rows > room:
            require_room(rows, self.width, held=room)
            wanted = min(self._wanted, max(rows, room + room // 4, FEWEST), MAX_ELEMENTS // self.width)
            self._rows.resize((wanted, self.width), refcheck=False)  # where they lie, if possible


def _dense(X: Dense | sparse.csr_array) -> Dense:
    return X if isinstance(X, np.ndarray) else X.toarray()


def gathered(cluster: Cluster, reservoir: Reservoir, rows_wanted: int, seed: int) -> Dense:
    """A uniform sample (m, d) of `rows_wanted` rows, or all if they are fewer, of the rows that all hosts have seen.

    How many come from each host has the multivariate hypergeometric distribution, and which ones of its rows is left to
    its reservoir. All hosts return the same rows, the first host's first; all rows are in the order of arrival.
    """
    rows = reservoir.rows
    if cluster.size == 1:  # nothing to exchange, so that the sample need not be held twice
        return rows
    seen = cluster.numbers(reservoir.seen)
    parts = parts_of_hosts(seen, rows_wanted, np.random.Generator(random_bits(seed, 2)))  # the same on all hosts
    mine = int(parts[cluster.rank])
    if mine < len(rows):
        own = np.random.Generator(random_bits(seed, 3, cluster.rank))
        rows = rows[np.sort(own.choice(len(rows), mine, replace=False))]
    require_room(int(parts.sum()), reservoir.width, held=len(reservoir))
    everything = np.zeros((parts.sum(), reservoir.width), np.float32)
    stop = int(parts[: cluster.rank + 1].sum())
    everything[stop - mine : stop] = rows
    at_once = max(1, PIECE // reservoir.width)
    for start in range(0, len(everything), at_once):
        piece = slice(start, start + at_once)
        everything[piece] = cluster.all_reduce(everything[piece])
    return everything


def partition(rows: Dense, trees: int, per_tree: int, seed: int, *, share_rows: bool = False) -> Dense:
    """The sample of each tree, (trees, n, d), without a row twice; m rows in all.

    As in the hosted service: where m < trees * per_tree, tree i has the rows i n to (i + 1) n - 1 of those in their
    order, n = floor(m / trees), and the rest is unused; otherwise n = per_tree rows at random.
    With share_rows each tree then draws n = min(per_tree, m) rows of all m, so that trees have rows in common.
    Raises UserError for fewer rows than trees, or for more in all trees than there is room for.
    """
    m, d = rows.shape
    if m < trees:
        raise UserError(
            f"the number of rows in channel 'train' must be at least num_trees, {trees}, got {m}. "
            "Please provide more data, or lower num_trees if it is above 50."
        )
    few = m < trees * per_tree
    n = min(per_tree, m if share_rows else m // trees)
    require_room(trees * n, d, held=trees * n)  # with share_rows of more rows than were sampled
    if share_rows and few:
        random = np.random.Generator(random_bits(seed, 5))
        drawn = [random.permutation(m)[:n].copy() for _ in range(trees)]  # a view would keep all m numbers
        return np.ascontiguousarray(rows[np.array(drawn)])
    if not few:
        rows = rows[np.random.Generator(random_bits(seed, 4)).permutation(m)]
    return np.ascontiguousarray(rows[: trees * n].reshape(trees, n, d))


def memory_of(rows: int, d: int) -> int:
    """Bytes that the forest of these sampled rows takes while it is grown, theirs included."""
    copies = 2 * 4 * d  # of a row, besides the forest's own: as it was sampled, and as its tree got it
    return memory_needed(1, rows, d) + rows * (copies + GROWTH)


def require_room(rows: int, d: int, held: int = 0) -> None:
    """Raises UserError where the forest of so many rows would not fit in its file, or in memory.

    held: of the rows as they were sampled, how many are in memory already
    """
    if rows * d > MAX_ELEMENTS:
        raise UserError(
            f"the forest of {rows} sampled rows of {d} features is too large for a model file, which can hold "
            f"{MAX_ELEMENTS} values. Please lower num_trees or num_samples_per_tree."
        )
    needed, free = memory_of(rows, d) - held * d * 4, free_memory()
    if not needed <= free:
        raise UserError(
            f"the forest of {rows} sampled rows of {d} features needs {needed} more bytes of memory, only {free:.0f} "
            "bytes are available. Please lower num_trees or num_samples_per_tree, or use a larger instance."
        )
