"""When training ends early, and the models of the best epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense


@dataclass(frozen=True)
class Kept:
    """weights: (d, c), bias: (1, c) after the best epoch; values: (m,) each model's loss then, inf if it diverged."""

    weights: Dense
    bias: Dense
    values: NDArray[np.float64]


class EarlyStopping:
    """Over after `patience` epochs in a row that lowered the best loss by less than `tolerance` of its size.

    A smaller improvement is one all the same, and its models are kept.
    """

    def __init__(self, patience: int, tolerance: float) -> None:
        self._patience, self._tolerance = patience, tolerance
        self._best = np.inf
        self.waited = 0
        self.kept: Kept | None = None

    def improved(self, loss: float) -> bool:
        """Takes the least loss of all models in an epoch; whether it is the least so far."""
        enough = loss < self._best - self._tolerance * abs(self._best) if np.isfinite(self._best) else loss < np.inf
        self.waited = 0 if enough else self.waited + 1
        if loss < self._best:
            self._best = loss
            return True
        return False

    def keep(self, weights: Dense, bias: Dense, values: NDArray[np.float64]) -> None:
        """Copies the models of this epoch, into the place of those kept before."""
        if self.kept is None:
            self.kept = Kept(weights.copy(), bias.copy(), values)
            return
        self.kept.weights[:], self.kept.bias[:] = weights, bias
        self.kept = Kept(self.kept.weights, self.kept.bias, values)

    @property
    def is_over(self) -> bool:
        """Whether training should end."""
        return self.waited >= self._patience
