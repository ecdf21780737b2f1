"""The first K centers, chosen among the first rows of all hosts as if one host had them all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.kmeans.lloyd import position
from formats.batch import Dense


def held_rows(cluster: Cluster, n: int) -> NDArray[np.int64]:
    """Number of rows that each host holds; shape (hosts,)."""
    mine = np.zeros(cluster.size, np.int64)
    mine[cluster.rank] = n
    return cluster.all_reduce(mine)


def uniform_rows(cluster: Cluster, X: Dense | sparse.csr_array, K: int, random: np.random.Generator) -> Dense:
    """K different rows, every choice equally likely; shape (K, d). Together the hosts must hold at least K."""
    held = held_rows(cluster, X.shape[0])
    before = held[: cluster.rank].sum()
    chosen = random.choice(held.sum(), K, replace=False) - before
    centers = np.zeros((K, X.shape[1]), np.float32)
    mine = (chosen >= 0) & (chosen < X.shape[0])
    centers[mine] = _dense(X[chosen[mine]])
    return cluster.all_reduce(centers)


def plus_plus_rows(cluster: Cluster, X: Dense | sparse.csr_array, K: int, random: np.random.Generator) -> Dense:
    """K different rows by k-means++: each next one drawn in proportion to its squared distance to those before.

    Arthur and Vassilvitskii, SODA 2007, section 2.2. Shape (K, d). Together the hosts must hold at least K rows.
    """

    def drawn(*options: NDArray[np.float64]) -> Dense:
        """A row of any host, in proportion to the first of `options` (n,) that is not 0 on all hosts."""
        for chances in options:
            mass = np.zeros(cluster.size)
            mass[cluster.rank] = chances.sum()
            mass = cluster.all_reduce(mass)
            if mass.any():
                break
        at = random.random() * mass.sum()  # one number for all: the hosts' generators must stay in step
        owner = position(mass, at)
        row = np.zeros(X.shape[1], np.float32)
        if owner == cluster.rank:
            index = position(chances, at - mass[:owner].sum())
            free[index] = 0
            row = _dense(X[[index]])[0]
        return cluster.all_reduce(row)

    free = np.ones(X.shape[0])
    first = drawn(free)
    centers = [first]
    # Distances do not change when all is shifted; rows near 0 keep their digits in the expansion of the square below.
    origin = first if isinstance(X, np.ndarray) else np.zeros_like(first)
    X_shifted = X - origin if isinstance(X, np.ndarray) else X
    squares = np.asarray((X_shifted * X_shifted).sum(axis=1), np.float64)
    D = np.full(X.shape[0], np.inf)
    while len(centers) < K:
        c = centers[-1] - origin
        D = np.minimum(D, np.maximum(squares - 2 * (X_shifted @ c) + float(c @ c), 0))
        centers.append(drawn(D * free, free))  # where all that is left coincides with a chosen row, any of it will do
    return np.stack(centers)


def _dense(rows: Dense | sparse.csr_array) -> Dense:
    return rows if isinstance(rows, np.ndarray) else rows.toarray()
