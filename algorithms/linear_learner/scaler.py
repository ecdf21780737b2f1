"""Normalisation: what is learned of features and labels from the first rows, and how to undo it in the weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from formats import Batch
from formats.batch import Dense

NEAR = 16.0  # deviations: four of the 24 bits of float32 are lost in the difference
ROUNDING = 2.0**-23  # of float32: a deviation of this share of the mean is none


@dataclass(frozen=True)
class Moments:
    """mean, deviation: (d + 1,) float64 of the features and, last, of the label; a constant one has deviation 0."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    rows: int


def moments(cluster: Cluster, batches: Iterable[Batch], width: int) -> Moments:
    """Mean and standard deviation over the rows of all hosts, in two passes (Chan, Golub and LeVeque 1983, eq. 1.7)."""
    batches = list(batches)
    sums = np.zeros(width + 2)  # features, label, rows
    for batch in batches:
        assert batch.labels is not None  # noqa: S101 - checked while it was read
        sums[:width] += _totals(batch.features)
        sums[width] += batch.labels.sum(dtype=np.float64)
        sums[-1] += len(batch)
    sums = cluster.all_reduce(sums)
    n = sums[-1]
    mean = sums[:-1] / max(n, 1)
    squares = np.zeros(width + 1)
    for batch in batches:
        squares[:width] += _squares(batch.features, mean[:width])
        squares[width] += np.square(batch.labels - mean[width]).sum()
    deviation = np.sqrt(cluster.all_reduce(squares) / max(n, 1))
    deviation[deviation <= ROUNDING * np.abs(mean)] = 0
    return Moments(mean, deviation, int(n))


def _totals(X: Dense | sparse.csr_array) -> NDArray[np.float64]:
    """Sum over the rows, (d,); SciPy's own sum of sparse rows is float32, whatever `dtype` says."""
    if isinstance(X, np.ndarray):
        return np.asarray(X.sum(axis=0, dtype=np.float64))
    return np.bincount(X.indices, X.data, X.shape[1]).astype(np.float64)


def _squares(X: Dense | sparse.csr_array, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the rows of the squared deviations from `mean`, (d,)."""
    if isinstance(X, np.ndarray):
        total = np.zeros(len(mean))
        for start in range(0, len(X), 256):  # a float64 copy of all rows would be twice the rows
            part = X[start : start + 256] - mean
            total += np.einsum("ij,ij->j", part, part)
        return total
    values = X.data.astype(np.float64)
    stored = np.bincount(X.indices, minlength=len(mean))
    away = np.bincount(X.indices, (values - mean[X.indices]) ** 2, len(mean))
    result: NDArray[np.float64] = away + (X.shape[0] - stored) * mean**2
    return result


@dataclass(frozen=True)
class Scaler:
    """Training sees (x - shift) * scale and (label - label_shift) / label_scale.

    shift: (d,) float32, None for sparse rows, which are never shifted; scale: (d,) float32
    exact: there are constant features that a shift must turn to 0 and nothing else
    """

    shift: NDArray[np.float32] | None
    scale: NDArray[np.float32]
    label_shift: float = 0.0
    label_scale: float = 1.0
    exact: bool = False

    @classmethod
    def of(cls, h: LinearLearnerHyperparameters, found: Moments, *, is_sparse: bool) -> Scaler:
        """As the hyperparameters want it; nothing is shifted without a bias, and a constant is scaled by 1."""
        scale = found.deviation if h.normalize_data is not False else np.ones_like(found.deviation)
        scale = np.where(scale > 0, scale, 1.0)
        is_regressor = h.predictor_type == "regressor"
        return cls(
            found.mean[:-1].astype(np.float32) if h.use_bias and h.unbias_data is not False and not is_sparse else None,
            (1 / scale[:-1]).astype(np.float32),
            float(found.mean[-1]) if is_regressor and h.use_bias and h.unbias_label is not False else 0.0,
            float(found.deviation[-1] or 1.0) if is_regressor and h.normalize_label is not False else 1.0,
            bool(((found.deviation == 0) & (found.mean != 0))[:-1].any()),
        )

    @cached_property
    def is_near(self) -> bool:
        """Whether the means are so few deviations from 0 that a difference of products is as good as one of rows."""
        return self.shift is None or (not self.exact and bool((np.abs(self.shift * self.scale) <= NEAR).all()))

    def features(self, X: Dense | sparse.csr_array, out: Dense) -> Dense | sparse.csr_array:
        """The rows as training sees them; dense ones are written to `out`, (at least n, d)."""
        if not isinstance(X, np.ndarray):
            if self.shift is None:
                scaled = X.data * self.scale[X.indices]
                return sparse.csr_array((scaled, X.indices, X.indptr), shape=X.shape)
            X = X.toarray()  # sparse rows among dense ones
        out = out[: len(X)]
        if self.shift is not None:
            np.subtract(X, self.shift, out=out)
            X = out
        return np.multiply(X, self.scale, out=out)

    def labels(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """The labels as training sees them."""
        if self.label_shift == 0 and self.label_scale == 1:
            return y
        return ((y - self.label_shift) / self.label_scale).astype(np.float32)

    def unscaled(self, weights: Dense, bias: NDArray[np.float32]) -> tuple[Dense, NDArray[np.float32]]:
        """Weights (d, c) and bias (c,) that act on raw features and give raw labels."""
        raw = weights * (self.scale.astype(np.float64) * self.label_scale)[:, None]
        intercept = bias * self.label_scale + self.label_shift
        if self.shift is not None:
            intercept = intercept - self.shift.astype(np.float64) @ raw
        return raw.astype(np.float32), intercept.astype(np.float32)
