"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

HYPERPARAMETERS = {"num_components": "2", "feature_dim": "4", "mini_batch_size": "50"}
ALL_METRICS: dict[str, str] = {}  # every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4) of four different spreads around a point off the origin, a quarter of them zero; no labels."""
    random = np.random.default_rng(seed)
    features = 5 + random.normal(size=(n, 4)) * [8, 4, 2, 1]
    return (features * (random.random((n, 4)) > 0.25)).astype(np.float32), None
