"""A trained random cut forest: the trees, and what scores the rows had that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algorithms.errors import UserError
from algorithms.random_cut_forest.forest import Forest
from algorithms.random_cut_forest.metrics import anomalous, limit
from formats import Batch, Columns, FormatError, ndarray
from formats.batch import Dense

FILE = "model_algo-1"
PIECE = 2**22  # floats of sparse rows that are made dense at once
LEVELS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)
MEAN, DEVIATION = "training_score_mean", "training_score_deviation"
QUANTILES, QUANTILE_LEVELS = "training_score_quantiles", "training_score_levels"
OWN = (MEAN, DEVIATION, QUANTILES, QUANTILE_LEVELS)


@dataclass(frozen=True)
class TrainingScores:
    """What scores the sampled training rows have, from which a threshold can be chosen.

    quantiles: (q,) float64 ascending; that many scores, as a share of all, are at most so high as `levels` says, (q,)
    """

    mean: float
    deviation: float
    quantiles: NDArray[np.float64]
    levels: NDArray[np.float64]

    @classmethod
    def of(cls, scores: Dense) -> TrainingScores:
        """Of scores (n,), one at least."""
        exact, levels = scores.astype(np.float64), np.array(LEVELS)
        return cls(float(exact.mean()), float(exact.std()), np.quantile(exact, levels), levels)

    @property
    def limit(self) -> float:
        """The score beyond which a row is an anomaly, by the three-sigma rule."""
        return limit(self.mean, self.deviation)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """For the artifact, by name."""
        return {
            MEAN: np.array([self.mean]),
            DEVIATION: np.array([self.deviation]),
            QUANTILES: self.quantiles,
            QUANTILE_LEVELS: self.levels,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> TrainingScores:
        """Raises ValueError with a sentence for arrays that cannot be such."""
        kept = {}
        for name in OWN:
            if name not in arrays:
                raise ValueError(f"the array '{name}' is missing")
            kept[name] = np.asarray(arrays[name], np.float64)
            if kept[name].ndim != 1 or not np.isfinite(kept[name]).all():
                raise ValueError(f"the array '{name}' must be of one dimension and finite numbers")
        mean, deviation, quantiles, levels = (kept[name] for name in OWN)
        if not (len(mean) == len(deviation) == 1 and deviation[0] >= 0):
            raise ValueError(f"'{MEAN}' and '{DEVIATION}' must be one number each, the deviation >= 0")
        ascending = all((np.diff(each) >= 0).all() for each in (quantiles, levels))
        if len(quantiles) != len(levels) or not ascending:
            raise ValueError(f"'{QUANTILES}' and '{QUANTILE_LEVELS}' must be as many numbers, in ascending order")
        return cls(float(mean[0]), float(deviation[0]), quantiles, levels)


@dataclass(frozen=True)
class RandomCutForestModel:
    """forest: the trees; training: the scores of the rows that they were grown from."""

    forest: Forest
    training: TrainingScores

    @property
    def width(self) -> int:
        """Number of features `d`."""
        return int(self.forest.points.shape[2])

    def scores(self, batch: Batch, threads: int = 1) -> Dense:
        """(n,) float32: the higher, the more of an anomaly."""
        return np.concatenate([self.forest.scores(X, threads) for X in _dense(batch)])

    def predict(self, batch: Batch) -> Columns:
        """`score` (n,) float32. In one thread: the server has a process for each CPU."""
        return {"score": self.scores(batch)}

    def save(self, directory: Path) -> None:
        """Writes `model_algo-1`: an MXNet NDArray dict of the trees' arrays and the training scores'."""
        ndarray.save(directory / FILE, self.forest.arrays() | self.training.arrays())

    @classmethod
    def load(cls, directory: Path) -> RandomCutForestModel:
        """Reads `model_algo-1`. Raises UserError."""
        path = directory / FILE
        try:
            arrays = ndarray.load(path)
            if not isinstance(arrays, dict):
                raise FormatError("its arrays must have names")
            training = TrainingScores.from_arrays(arrays)
            forest = Forest.of({name: array for name, array in arrays.items() if name not in OWN})
        except FileNotFoundError:
            raise UserError(f"no random cut forest in {directory}: '{FILE}' is missing") from None
        except ValueError as error:  # a FormatError is one, too
            raise UserError(f"{path} is not a random cut forest of this container: {error}") from None
        return cls(forest, training)


@dataclass(frozen=True)
class VerboseRandomCutForestModel:
    """The model that answers `verbose=true`: with what the score is made of, too."""

    model: RandomCutForestModel

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return self.model.width

    def predict(self, batch: Batch) -> Columns:
        """`score` (n,), `attribution` (n, d), which sums to it, and `is_anomaly` (n,), 1 beyond three sigma."""
        scores, forest = self.model.scores(batch), self.model.forest
        attribution = np.concatenate([forest.attributions(X, 1) for X in _dense(batch)]).astype(np.float32, copy=False)
        return {
            "score": scores,
            "attribution": attribution,
            "is_anomaly": anomalous(scores, self.model.training.limit).astype(np.float32),
        }

    def save(self, directory: Path) -> None:
        """Writes the model; its answers are no part of it."""
        self.model.save(directory)


def _dense(batch: Batch) -> Iterator[Dense]:
    """The rows (n, d), dense, in pieces; one at least."""
    X = batch.features
    if isinstance(X, np.ndarray):
        yield X
        return
    rows = max(1, PIECE // batch.width)
    for start in range(0, max(1, len(batch)), rows):
        yield X[start : start + rows].toarray()
