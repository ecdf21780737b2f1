"""Which labels each predictor type can take."""

from __future__ import annotations

from collections.abc import Callable

from algorithms.linear_learner.class_weights import number_of_classes
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.supervised import BINARY_LABELS, label_check
from formats import Batch


def check_of_labels(h: LinearLearnerHyperparameters) -> Callable[[Batch, int], None]:
    """What is asked of labels: to be there and, of a classifier, to be one of its classes."""
    classes = number_of_classes(h)
    several = f"an integer in [0, {classes - 1}], as num_classes is {classes}"
    return label_check(classes, BINARY_LABELS if h.predictor_type == "binary_classifier" else several)
