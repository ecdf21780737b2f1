"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

HYPERPARAMETERS = {"k": "3", "feature_dim": "4", "mini_batch_size": "50"}
ALL_METRICS = {"eval_metrics": '["msd", "ssd"]'}  # what must be asked for so that every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4) around three far corners, a quarter of them zero; no labels."""
    random = np.random.default_rng(seed)
    corners = np.array([[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 9]])
    features = corners[random.integers(0, 3, n)] + random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    return features.astype(np.float32), None
