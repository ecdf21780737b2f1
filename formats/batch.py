"""The one shape in which rows travel: from every format, to every algorithm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from formats._finite import first_not_finite
from formats.errors import FormatError

Dense = NDArray[np.float32]
Columns = dict[str, NDArray[np.generic]]  # name -> (n,) or (n, m): what a model answers, and what `encode` writes


@dataclass(frozen=True, slots=True)
class Expected:
    """What the caller knows of the rows before reading them.

    width: number of features of each row (`feature_dim`); rows of another width are refused. None: the first row says.
    label_columns: number of leading label columns of a row of CSV or Parquet, 0 or 1. None: one if it has width + 1.
    weight_columns: number of columns between the label and the features of such a row that hold its weight, 0 or 1
    first_index: what LibSVM calls the first feature, 0 or 1
    """

    width: int | None = None
    label_columns: int | None = 0
    weight_columns: int = 0
    first_index: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """`n` rows of `d` features.

    features: (n, d) float32, either a C-contiguous ndarray or a `scipy.sparse.csr_array` with sorted, unique indices
    labels:   (n,) float32, or None where the rows have none
    weights:  (n,) float32, or None for ones
    groups:   (n,) int64, the query (`qid`) that each row answers, or None; for learning to rank
    ids:      n strings (the `uid` of a Record), or None
    """

    features: Dense | sparse.csr_array
    labels: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None
    groups: NDArray[np.int64] | None = None
    ids: Sequence[str] | None = None

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def width(self) -> int:
        """Number of features `d`."""
        return int(self.features.shape[1])

    @property
    def is_sparse(self) -> bool:
        """True when `features` is a CSR matrix."""
        return not isinstance(self.features, np.ndarray)

    @classmethod
    def empty(cls, width: int) -> Batch:
        """No rows of `width` features: what a host without data brings to a step."""
        return cls(np.empty((0, width), np.float32))

    def rows(self, start: int, stop: int) -> Batch:
        """Rows start..stop-1; dense features are a view."""
        return self.take(slice(start, stop))

    def take(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Batch:
        """The rows of a slice, where a mask (n,) is true, or of these numbers, in their order."""
        return Batch(
            self.features[chosen],
            None if self.labels is None else self.labels[chosen],
            None if self.weights is None else self.weights[chosen],
            None if self.groups is None else self.groups[chosen],
            None if self.ids is None else np.array(self.ids, object)[chosen].tolist(),
        )


def concatenate(batches: Sequence[Batch]) -> Batch:
    """The rows of all batches in order, sparse if any is; labels, weights, groups and ids if all batches have them.

    Sparse batches may differ in width, as those of a LibSVM file do: the greatest is the width of the result.
    """
    if len(batches) == 1:
        return batches[0]
    if any(batch.is_sparse for batch in batches):
        width = max(batch.width for batch in batches)
        features = sparse.vstack([_widened(batch, width) for batch in batches], format="csr", dtype=np.float32)
    else:
        features = np.concatenate([batch.features for batch in batches])
    labels = [batch.labels for batch in batches if batch.labels is not None]
    weights = [batch.weights for batch in batches if batch.weights is not None]
    groups = [batch.groups for batch in batches if batch.groups is not None]
    ids = [batch.ids for batch in batches if batch.ids is not None]
    return Batch(
        features,
        np.concatenate(labels) if len(labels) == len(batches) else None,
        np.concatenate(weights) if len(weights) == len(batches) else None,
        np.concatenate(groups) if len(groups) == len(batches) else None,
        [uid for part in ids for uid in part] if len(ids) == len(batches) else None,
    )


def _widened(batch: Batch, width: int) -> sparse.csr_array:
    """The features as a CSR matrix of `width` columns. All values of a dense row are stored: its zeros are known."""
    if not isinstance(batch.features, np.ndarray):
        matrix = batch.features
        return sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(len(batch), width))
    n, d = batch.features.shape
    return sparse.csr_array(
        (batch.features.reshape(-1), np.tile(np.arange(d), n), np.arange(0, n * d + 1, d)), shape=(n, width)
    )


def rebatch(batches: Iterator[Batch], rows: int) -> Iterator[Batch]:
    """The same rows in batches of exactly `rows`, the last one shorter; copies only rows that straddle two batches."""
    held: list[Batch] = []
    count = 0
    for batch in batches:
        start = 0
        while count + len(batch) - start >= rows:
            stop = start + rows - count
            yield concatenate([*held, batch.rows(start, stop)])
            held, count, start = [], 0, stop
        if start < len(batch):
            held.append(batch.rows(start, len(batch)))
            count += len(batch) - start
    if held:
        yield concatenate(held)


def require_finite(batch: Batch, first_row: int = 1, *, missing: bool = False, columns: bool = False) -> None:
    """Raises FormatError for the first NaN or infinity among features, labels and weights, or a negative weight.

    Rows count from `first_row`. missing: NaN among the features is a missing value, which the algorithm can deal with.
    columns: the rows come from columns, label and weight before the features, and the one at fault is named.
    """
    before = (batch.labels is not None) + (batch.weights is not None)
    features = batch.features
    values = features.reshape(-1) if isinstance(features, np.ndarray) else features.data
    if (at := first_not_finite(values.view(np.uint32), missing)) >= 0:
        if isinstance(features, np.ndarray):
            row, column = divmod(at, batch.width)
        else:
            row, column = int(np.searchsorted(features.indptr, at, "right")) - 1, int(features.indices[at])
        what = "a missing (NaN) value" if np.isnan(values[at]) else "an infinite value"
        which = "infinite values" if missing else "missing (NaN) or infinite values"
        raise FormatError(
            f"feature {column + 1} of {batch.width} is {what}. Please remove any {which} in the input data.",
            row=row + first_row,
            column=column + 1 + before if columns else None,
        )
    if batch.labels is not None and (at := first_not_finite(batch.labels.view(np.uint32))) >= 0:
        raise FormatError(
            "the label is missing (NaN) or infinite. Please give every row a finite label.",
            row=at + first_row,
            column=1 if columns else None,
        )
    if batch.weights is not None:
        wrong = np.flatnonzero(~((batch.weights >= 0) & (batch.weights < np.inf)))
        if wrong.size:
            found = batch.weights[wrong[0]]
            raise FormatError(
                f"the weight must be a finite number >= 0, got {found:g}",
                row=int(wrong[0]) + first_row,
                column=before if columns else None,
            )
