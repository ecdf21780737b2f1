"""How far predictions are from their labels: sums that hosts can add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


class RegressionSums:
    """Sums over rows from which a regressor's metrics follow; hosts add `array`: rows, squared errors, their sizes."""

    def __init__(self) -> None:
        self.array: NDArray[np.float64] = np.zeros(3)

    def add(self, predicted: Floats, labels: Floats) -> None:
        """Predictions (n,) and labels (n,), both in the labels' own unit."""
        error = predicted.astype(np.float64) - labels
        self.array += np.array([len(error), error @ error, np.abs(error).sum()])

    def scores(self) -> dict[str, float]:
        """What `#quality_metric` tells; all 0 without a row."""
        rows, squares, sizes = self.array
        n = max(float(rows), 1.0)
        return {"mse": float(squares / n), "absolute_loss": float(sizes / n), "rmse": float(np.sqrt(squares / n))}
