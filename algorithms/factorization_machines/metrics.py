"""How good answers are: sums over rows that hosts can add, and the metrics that follow from them.

Guide: "Tuning a Factorization Machines Model". Label 1 is a score of 0.5 or more, that is a margin of 0 or more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from algorithms.algorithm import Metric
from algorithms.regression import RegressionSums

LOSSES = ("rmse", "mse", "absolute_loss", "binary_classification_cross_entropy")
SCORES = ("binary_classification_accuracy", "binary_f_beta")
LOGGED = {"binary_f_beta": r"binary_f_\d\S*"}  # names in the log that say more
F1 = "binary_f_1.000"


class BinarySums:
    """Sums over rows from which a classifier's metrics follow; hosts add `array`.

    In it: rows, rows rightly labelled, rows rightly labelled 1, rows labelled 1, rows of label 1, log losses.
    """

    def __init__(self) -> None:
        self.array: NDArray[np.float64] = np.zeros(6)

    def add(self, margins: NDArray[np.float32], labels: NDArray[np.float32]) -> None:
        """Margins (n,), the scores before the sigmoid, and labels (n,) in {0, 1}."""
        positive, called = labels > 0, margins >= 0
        # log(1 + exp(-z)) with z the margin, turned for label 0; exp(-|z|) cannot overflow
        z = np.where(positive, margins, -margins).astype(np.float64)
        losses = np.log1p(np.exp(-np.abs(z))) + np.maximum(-z, 0)
        counts = [len(labels), *map(np.count_nonzero, (called == positive, called & positive, called, positive))]
        self.array += np.array([*counts, losses.sum()])

    def scores(self) -> dict[str, float]:
        """What `#quality_metric` tells; 0 where undefined."""
        rows, right, true, called, positive, loss = self.array.tolist()
        n = max(rows, 1.0)
        return {
            "binary_classification_accuracy": right / n,
            "binary_classification_cross_entropy": loss / n,
            F1: 2 * true / max(called + positive, 1.0),
        }


Sums = BinarySums | RegressionSums


def sums_of(predictor_type: str) -> Sums:
    """Sums without a row, for a predictor type's metrics."""
    return BinarySums() if predictor_type == "binary_classifier" else RegressionSums()


def scores_of(sums: Sums) -> dict[str, float]:
    """The metrics by name, in the order in which the hosted service logs them."""
    values = sums.scores()
    return {name: values[name] for name in ("rmse", "mse", "absolute_loss", *values) if name in values}


def metric(channel: str, name: str) -> Metric:
    """A metric as the log calls it."""
    return Metric(channel, name, "minimize" if name in LOSSES else "maximize")
