"""The neighbours by brute force in float64, and the votes by counting: slow, and plainly right."""

from __future__ import annotations

from collections import Counter

import numpy as np

METRICS = ("L2", "INNER_PRODUCT", "COSINE")


def distances(queries: np.ndarray, rows: np.ndarray, metric: str = "L2") -> np.ndarray:
    """(n, rows): smaller is nearer; L2 is squared, of the others 1 - cosine and the negative product are told."""
    Q, X = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "L2":
        return np.stack([((X - q) ** 2).sum(axis=1) for q in Q]) if len(Q) else np.empty((0, len(X)))
    if metric == "COSINE":
        return 1 - _unit(Q) @ _unit(X).T
    return -Q @ X.T


def _unit(X: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one."""
    length = np.sqrt((X**2).sum(axis=1, keepdims=True))
    return X / np.where(length == 0, 1, length)


def nearest(queries: np.ndarray, rows: np.ndarray, k: int, metric: str = "L2") -> tuple[np.ndarray, np.ndarray]:
    """Distances (n, k), nearest first, and the rows' numbers (n, k); of equal distances the first row."""
    all_ = distances(queries, rows, metric)
    order = np.argsort(all_, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(all_, order, axis=1), order


def majority(labels: list[float]) -> float:
    """The most frequent label; of several, the one that comes first, which is the nearest one's."""
    votes = Counter(labels)
    most = max(votes.values())
    return next(label for label in labels if votes[label] == most)


def assert_nearest(
    found: tuple[np.ndarray, np.ndarray],
    queries: np.ndarray,
    rows: np.ndarray,
    metric: str = "L2",
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> None:
    """That distances (n, k) and row numbers (n, k) are the nearest rows', in order.

    Rows that float32 cannot tell apart may change places; a row may not come twice, nor at another row's distance.
    """
    told, numbers = found
    all_ = distances(queries, rows, metric)
    np.testing.assert_allclose(told, np.sort(all_, axis=1)[:, : told.shape[1]], rtol=rtol, atol=atol)
    assert (np.diff(told, axis=1) >= 0).all()
    assert all(len(set(row)) == len(row) for row in numbers.tolist())
    np.testing.assert_allclose(
        np.take_along_axis(all_, numbers.astype(int), axis=1), told.astype(np.float64), rtol=rtol, atol=atol
    )
