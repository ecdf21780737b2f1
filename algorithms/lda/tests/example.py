"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

HYPERPARAMETERS = {"num_topics": "2", "feature_dim": "4", "mini_batch_size": "200"}
ALL_METRICS: dict[str, str] = {}  # every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Documents (n, 4) of 30 words, mixtures of a topic of the first two words and one of the others; no labels."""
    random = np.random.default_rng(seed)
    topics = np.array([[0.7, 0.3, 0, 0], [0, 0, 0.4, 0.6]])
    return random.multinomial(30, random.dirichlet([0.5, 0.5], n) @ topics).astype(np.float32), None
