"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

HYPERPARAMETERS = {"num_trees": "50", "num_samples_per_tree": "16"}
ALL_METRICS: dict[str, str] = {}  # every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4) around the origin, a quarter of them zero; labels (n,), 1 for one row in 25, which lies far."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 25 == 24
    features = random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    features[labels] += 9
    return features.astype(np.float32), labels.astype(np.float32)
