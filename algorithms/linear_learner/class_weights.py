"""What a row counts in the loss because of its class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from algorithms.linear_learner.grid import Setting
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from formats import Batch

GREATEST = 1e6  # what a class counts that is not in the first rows, as observed


def number_of_classes(h: LinearLearnerHyperparameters) -> int:
    """0 for a regressor, whose labels are none."""
    return {"regressor": 0, "binary_classifier": 2}.get(h.predictor_type, h.num_classes)


def rows_of_classes(batches: Iterable[Batch], classes: int) -> NDArray[np.float64]:
    """How many rows each class has, (classes,); with 0 classes labels are not looked at."""
    counts = np.zeros(classes)
    for batch in batches:
        if classes and batch.labels is not None:
            counts += np.bincount(batch.labels.astype(np.intp), minlength=classes)
    return counts


def class_weights(
    h: LinearLearnerHyperparameters, rows: NDArray[np.float64], chosen: Sequence[Setting]
) -> NDArray[np.float32] | None:
    """What a row of each class counts, (classes, 1), or for each of the models (classes, m); None: all count 1.

    rows: of each class among the first rows of all hosts, what balanced weights are made of.
    """
    if h.predictor_type == "multiclass_classifier" and h.balance_multiclass_weights:
        share: NDArray[np.float64] = rows.sum() / (len(rows) * np.maximum(rows, 1e-300))
        return np.asarray(np.minimum(share, GREATEST)[:, None], np.float32)
    mult = h.positive_example_weight_mult
    if h.predictor_type != "binary_classifier" or mult == 1.0:
        return None
    balanced = min(max(rows[0], 1) / max(rows[1], 1), GREATEST)
    if mult == "auto":
        positive = balanced ** np.array([each.balance for each in chosen])
    else:
        positive = np.array([balanced if mult == "balanced" else mult])
    return np.array([np.ones_like(positive), positive], np.float32)
