"""A small job for the contract tests, which run for every algorithm that has this file."""

from collections.abc import Mapping

import numpy as np

from tests.images.sets import Real, Rows, digits

HYPERPARAMETERS = {"num_topics": "2", "feature_dim": "4", "mini_batch_size": "200"}
ALL_METRICS: dict[str, str] = {}  # every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Documents (n, 4) of 30 words, mixtures of a topic of the first two words and one of the others; no labels."""
    random = np.random.default_rng(seed)
    topics = np.array([[0.7, 0.3, 0, 0], [0, 0, 0.4, 0.6]])
    return random.multinomial(30, random.dirichlet([0.5, 0.5], n) @ topics).astype(np.float32), None


def real() -> Real:
    """Handwritten digits as documents of ink in 64 places; topics are places that have it together."""
    train, test = digits()

    def told_apart(answers: Mapping[str, np.ndarray]) -> float:
        """The share of rows whose digit is that of the row with the mixture most like theirs."""
        mixtures = answers["topic_mixture"]
        distances = np.linalg.norm(mixtures[:, None] - mixtures, axis=2)
        np.fill_diagonal(distances, np.inf)
        return np.mean(test.labels[distances.argmin(axis=1)] == test.labels)

    settings = {"num_topics": 10, "mini_batch_size": len(train.features)}
    return Real(settings, Rows(train.features), Rows(test.features), told_apart, good=0.7, estimator="LDA")
