"""Weighted Lloyd's method: reduces K weighted centers to k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lloyd:
    """How to run it; the fields are the `local_lloyd_*` hyperparameters."""

    plus_plus: bool
    max_iterations: int
    tolerance: float

    def reduce(self, P: Float64, w: Float64, k: int, random: np.random.Generator) -> tuple[Float64, float]:
        """k centers (k, d) of the points P (K, d) with weights w (K,), and the weighted mean squared distance to them.

        Stops when an iteration lowers that mean by less than `tolerance` of it. A center that loses all its points
        stays where it is.
        """
        C = P[plus_plus(P, w, k, random) if self.plus_plus else uniform(w, k, random)]
        share = w / w.sum()
        msd = np.inf
        for _ in range(self.max_iterations):
            labels, D = _assigned(P, C)
            before, msd = msd, float(share @ D)
            member = sparse.csr_array((w, labels, np.arange(len(P) + 1)), shape=(len(P), k))
            mass = np.bincount(labels, w, k)
            moved = mass > 0
            C[moved] = (member.T @ P)[moved] / mass[moved, None]
            if before - msd <= self.tolerance * msd:
                break
        return C, float(share @ _assigned(P, C)[1])


def _assigned(P: Float64, C: Float64) -> tuple[NDArray[np.intp], Float64]:
    """The center nearest to each point, and the squared distance to it; both (K,), without an array of K x k x d."""
    labels = ((C**2).sum(axis=1) - 2 * P @ C.T).argmin(axis=1)
    return labels, ((P - C[labels]) ** 2).sum(axis=1)


def uniform(w: Float64, k: int, random: np.random.Generator) -> NDArray[np.intp]:
    """k different points, those without weight only if the others do not suffice; shape (k,)."""
    order = random.permutation(len(w))
    return order[np.argsort(w[order] == 0, kind="stable")][:k]


def plus_plus(P: Float64, w: Float64, k: int, random: np.random.Generator) -> NDArray[np.intp]:
    """k different points, each next one drawn with probability w times the squared distance to those before."""
    chosen = [draw(w, random)]
    free = np.ones(len(P), bool)
    D = ((P - P[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k:
        free[chosen[-1]] = False
        # where all that is left coincides with a chosen point, or has no weight, any of it will do
        chances = next(c for c in (w * D * free, w * free, free.astype(np.float64)) if c.any())
        chosen.append(draw(chances, random))
        D = np.minimum(D, ((P - P[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen)


def draw(chances: Float64, random: np.random.Generator) -> int:
    """An index, with probability in proportion to `chances`; one of chance 0 never."""
    return position(chances, random.random() * chances.sum())


def position(chances: Float64, at: float) -> int:
    """The index that holds the point `at` of a line on which the chances lie end to end; never one of chance 0."""
    return int(np.searchsorted(np.cumsum(chances), at, side="right").clip(0, np.flatnonzero(chances)[-1]))
