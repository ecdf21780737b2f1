"""Documents as rows of word counts: what is asked of them, and many batches as one CSR matrix."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from algorithms.errors import UserError
from algorithms.machine import free_memory
from formats import Batch, FormatError
from formats.batch import Dense


class Counts:
    """The check that no count is negative; remembers the first one that is not a whole number."""

    def __init__(self) -> None:
        self.fraction: tuple[int, float] | None = None  # row of its file, from 1, and the count

    def __call__(self, batch: Batch, first_row: int) -> None:
        """Raises FormatError."""
        values = batch.features.reshape(-1) if isinstance(batch.features, np.ndarray) else batch.features.data
        if values.size and values.min() < 0:
            row, column, value = place(batch, int((values < 0).argmax()))
            raise FormatError(
                f"the count of feature {column + 1} of {batch.width} must be >= 0, got {value:g}. Please give word "
                "counts, without centring or scaling them",
                row=first_row + row,
            )
        if self.fraction is None and not (whole := values == np.floor(values)).all():
            row, _, value = place(batch, int((~whole).argmax()))
            self.fraction = first_row + row, value


def place(batch: Batch, at: int) -> tuple[int, int, float]:
    """Row and column, from 0, of the batch's value number `at` in memory, and the value."""
    features = batch.features
    if isinstance(features, np.ndarray):
        row, column = divmod(at, batch.width)
        return row, column, float(features[row, column])
    row = int(np.searchsorted(features.indptr, at, "right")) - 1
    return row, int(features.indices[at]), float(features.data[at])


def documents(features: Dense | sparse.csr_array) -> sparse.csr_array:
    """(n, V) float32 counts, sparse; zeros of dense rows are not stored."""
    if not isinstance(features, np.ndarray):
        return features
    n, width = features.shape
    values = features.reshape(-1)
    places = (values != 0).nonzero()[0]  # of booleans four times faster than of numbers
    before = np.arange(0, (n + 1) * width, width)
    starts = places.searchsorted(before)
    columns = (places - np.repeat(before[:-1], np.diff(starts))).astype(np.int32)
    return sparse.csr_array((values[places], columns, starts), shape=(n, width))


class Corpus:
    """Documents of `width` words that come in batches.

    rows: documents so far; batches: those that had any
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._counts: list[Dense] = []
        self._columns: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
        self._lengths: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        self.rows = self.batches = self.entries = 0

    @property
    def num_bytes(self) -> int:
        """What the documents take."""
        return 8 * (self.entries + self.rows)

    def add(self, features: Dense | sparse.csr_array) -> None:
        """Appends the documents. Raises UserError where the memory would not suffice for another."""
        part = documents(features)
        self._counts.append(part.data)
        self._columns.append(part.indices.astype(np.int32, copy=False))
        self._lengths.append(np.diff(part.indptr).astype(np.int64))
        self.rows += part.shape[0]
        self.batches += 1
        self.entries += part.data.size
        if not 4 * self.entries <= (free := free_memory()):  # to put the parts together takes half of them again
            raise UserError(
                f"the first {self.rows} documents take {self.num_bytes / 2**30:.1f} GiB of memory, and "
                f"{free / 2**30:.1f} GiB are left. Please give fewer documents, or use a larger instance."
            )

    def matrix(self) -> sparse.csr_array:
        """All documents, (n, V), sorted and unique columns in each; the corpus is empty afterwards."""
        starts = np.concatenate([np.zeros(1, np.int64), *self._lengths]).cumsum()
        counts = np.concatenate([np.empty(0, np.float32), *self._counts])
        self._counts.clear()
        columns = np.concatenate([np.empty(0, np.int32), *self._columns])
        self._columns.clear()
        matrix = sparse.csr_array((counts, columns, starts), shape=(self.rows, self._width))
        matrix.has_canonical_format = True
        return matrix
