"""Which center is nearest to each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from formats.batch import Dense


def nearest(X: Dense | sparse.csr_array, C: Dense) -> NDArray[np.intp]:
    """Index of the row of C (k, d) nearest to each row of X (n, d), the first of equals; shape (n,).

    ||x - c||^2 = ||x||^2 - 2 x.c + ||c||^2, and ||x||^2 is the same for all centers. With m the mean of the centers
    and c' = c - m that is, but for what does not depend on c, ||c'||^2 + 2 m.c' - 2 x.c': the numbers that cancel in
    float32 are then as large as the spread of the centers times the offset of the data, not as the offset squared.
    """
    m = C.mean(axis=0, dtype=np.float64)
    centered = C - m
    offset = (centered**2).sum(axis=1) + 2 * centered @ m
    cost = X @ (-2 * centered.T).astype(np.float32)
    cost += offset.astype(np.float32)
    labels: NDArray[np.intp] = cost.argmin(axis=1)
    return labels


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
    difference = X - C[labels]
    return np.asarray(np.einsum("ij,ij->i", difference, difference, dtype=np.float64))
