"""A mini-batch of dense rows against the centers, in operations that NumPy and CuPy have alike and none waits for."""

from __future__ import annotations

from typing import Any

import numpy as np

from algorithms.kmeans.nearest import Nearest

REPORTED_ROWS = 64  # of each batch, at least, that the log's mean squared distance is computed from


def step_bytes(d: int, centers: int, rows: int) -> int:
    """Memory on the device that a step takes: sums of rows for each center, in float64, and what is made of them.

    Two batches of rows and one that is shifted; for each row and center the cost, and whether it is the nearest.
    """
    return 56 * d * centers + 4 * rows * (3 * d + 3 * centers)


class Centers:
    """C (K, d) float32, an array of `xp`, as are all that its methods take and give."""

    def __init__(self, xp: Any, C: Any) -> None:
        self._xp, self._C = xp, C
        self._find = Nearest(C, xp)

    def nearest(self, X: Any) -> tuple[Any, Any]:
        """Index of the center nearest to each row of X (n, d), and the squared distance to it; both (n,).

        The distance is infinite or NaN where float32 cannot tell the nearest one.
        """
        labels, known = self._labels(X)
        return labels, self._xp.where(known, self._squared(X, labels), np.nan)

    def summarise(self, X: Any) -> Any:
        """What a mini-batch adds, (K + 1, d + 1) float64, as `fit.summarise` has it.

        The rows of a center are added up by a product with a matrix of 0 and 1: as much work again as finding them, but
        in an order that is always the same, and none of it waits for the number of anything. The last cell is NaN where
        float32 cannot tell the nearest center of a row, or hold a sum.
        """
        xp, (n, d), K = self._xp, X.shape, len(self._C)
        share = xp.zeros((K + 1, d + 1))
        if not n:
            return share
        labels, known = self._labels(X)
        member = (labels[:, None] == xp.arange(K)).astype(np.float32)
        share[:-1, :-1] = member.T @ X
        share[:-1, -1] = member.sum(axis=0, dtype=np.float64)
        some = slice(None, None, max(1, n // REPORTED_ROWS))
        squared = self._squared(X[some], labels[some]).mean() * n
        share[-1, -1] = xp.where(known.all() & xp.isfinite(share).all(), squared, np.nan)
        return share

    def _labels(self, X: Any) -> tuple[Any, Any]:
        """Index of the nearest center, and whether all the distances of the row are known; both (n,)."""
        costs = self._find.costs(X)
        return costs.argmin(axis=1), self._xp.isfinite(costs).all(axis=1)

    def _squared(self, X: Any, labels: Any) -> Any:
        away = X.astype(np.float64) - self._C[labels]
        return (away * away).sum(axis=1)
