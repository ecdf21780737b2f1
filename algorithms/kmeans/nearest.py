"""Which center is nearest to each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.errors import UserError
from algorithms.kmeans._nearest import nearest_of_costs, nearest_of_few, squared_distances
from algorithms.threads import WORTH, shared, threads_for
from formats._finite import first_not_finite
from formats.batch import Dense

FAR = 10.0
TOO_LARGE = "the values are too large: distances between them are beyond float32. Please scale the data."
CACHED = 2**16  # numbers of rows that stay in the cache between being compared and being measured
PIECEWISE = 16  # centers, of more of which BLAS takes longer in pieces than the second look at the rows
FEW = 2**16  # products: below, a loop that keeps the GIL is faster than BLAS


class Nearest:
    """Finds the row of C (k, d) nearest to each row of X; what depends on C alone is computed once.

    ||x - c||^2 = ||x||^2 - 2 x.c + ||c||^2, and ||x||^2 is the same for all centers. With m the mean of the centers
    and c' = c - m that is, but for what does not depend on c, ||c'||^2 + 2 m.c' - 2 x.c': the numbers that cancel in
    float32 are then as large as the spread of the centers times the offset of the data, not as the offset squared.
    Dense data that lie farther from 0 than FAR spreads are shifted by m as well, at the cost of a pass over them.

    xp: the module of the arrays. On a GPU all data are shifted: to ask how far they lie would be to wait for it.
    """

    def __init__(self, C: Dense, xp: Any = np) -> None:
        self._shift = C.mean(axis=0, dtype=np.float64).astype(np.float32)
        m = self._shift.astype(np.float64)  # rounded as X is shifted
        centered = C - m
        squares = (centered**2).sum(axis=1)
        self._far = xp is not np or bool(m @ m > FAR**2 * squares.mean())
        with np.errstate(over="ignore"):  # what overflows is found in the costs
            self._weights = (-2 * centered.T).astype(np.float32)
            self._offset = (squares + 2 * centered @ m).astype(np.float32)
            self._offset_if_shifted = squares.astype(np.float32)

    def __call__(self, X: Dense | sparse.csr_array) -> NDArray[np.intp]:
        """Index of the center nearest to each row of X (n, d), the first of equals; shape (n,). Raises UserError."""
        cost = self.costs(X)
        if first_not_finite(cost.reshape(-1).view(np.uint32)) >= 0:
            raise UserError(TOO_LARGE)
        labels: NDArray[np.intp] = cost.argmin(axis=1)
        return labels

    def costs(self, X: Dense | sparse.csr_array) -> Dense:
        """The squared distances of all pairs, (n, k), less what is the same for all centers."""
        with np.errstate(over="ignore", invalid="ignore"):
            cost, offset = self._parts(X)
            cost += offset
        return cost

    def measure(self, X: Dense, C: Dense, labels: NDArray[np.intp], squared: NDArray[np.float64]) -> None:
        """Writes the index of the nearest center and the squared distance to it, both (n,). Raises UserError."""
        with np.errstate(over="ignore", invalid="ignore"):
            if not nearest_of_costs(X, C, *self._parts(X), labels, squared):
                raise UserError(TOO_LARGE)

    def _parts(self, X: Dense | sparse.csr_array) -> tuple[Dense, Dense]:
        """The costs less what is to be added to each row of them."""
        if self._far and not sparse.issparse(X):
            return (X - self._shift) @ self._weights, self._offset_if_shifted
        return X @ self._weights, self._offset


def nearest_with_distances(
    X: Dense | sparse.csr_array, C: Dense, find: Nearest
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index of the nearest center and squared distance to it, both (n,); `find` is Nearest(C), kept by the caller."""
    if isinstance(X, np.ndarray) and X.size * len(C) <= FEW:
        labels, squared = np.empty(len(X), np.intp), np.empty(len(X))
        nearest_of_few(X, C, labels, squared)
        return labels, squared
    if not isinstance(X, np.ndarray):
        labels = find(X)
        return labels, distances(X, C, labels)
    X, labels, squared = np.ascontiguousarray(X), np.empty(len(X), np.intp), np.empty(len(X))

    def measure(_: int, rows: slice) -> None:
        size = max(1, CACHED // X.shape[1] if len(C) <= PIECEWISE else len(X))
        for start in range(rows.start, rows.stop, size):
            piece = slice(start, min(start + size, rows.stop))
            find.measure(X[piece], C, labels[piece], squared[piece])

    shared(measure, len(X), C.size, threads_for(C.size) if len(X) * C.size >= WORTH else 1)
    return labels, squared


def nearest(X: Dense | sparse.csr_array, C: Dense) -> NDArray[np.intp]:
    """Index of the row of C (k, d) nearest to each row of X (n, d); shape (n,)."""
    return Nearest(C)(X)


def distances(X: Dense | sparse.csr_array, C: Dense, labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Squared Euclidean distance of row i of X to row labels[i] of C; shape (n,)."""
    if not isinstance(X, np.ndarray):
        # per row: sum of squares over the stored values' differences, plus ||c||^2 without the columns they stand in
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        at = C[labels[rows], X.indices].astype(np.float64)
        change = (X.data - at) ** 2 - at**2
        squares = (C.astype(np.float64) ** 2).sum(axis=1)
        result: NDArray[np.float64] = np.maximum(squares[labels] + np.bincount(rows, change, X.shape[0]), 0)
        return result
    squared = np.empty(len(X))
    squared_distances(np.ascontiguousarray(X), C, np.ascontiguousarray(labels), squared)
    return squared
