"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

HYPERPARAMETERS = {
    "predictor_type": "binary_classifier",
    "epochs": "2",
    "num_models": "4",
    "mini_batch_size": "50",
}
ALL_METRICS: dict[str, str] = {}
REPORTED = ("test:binary_classification_accuracy",)  # of the declared metrics: a binary classifier has no mse
NORMAL = np.array([2, -1, 1, 0])  # of the plane between the classes


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4), a quarter of them zero, on both sides of a plane; labels (n,), noisy, 1 on one."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    labels = features @ NORMAL + random.normal(scale=0.5, size=n) > 0
    return features.astype(np.float32), labels.astype(np.float32)
