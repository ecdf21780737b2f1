"""A small job for the contract tests, which run for every algorithm that has this file."""

from collections.abc import Mapping

import numpy as np

from tests.images.sets import Real, Rows, digits

HYPERPARAMETERS = {"k": "3", "feature_dim": "4", "mini_batch_size": "50"}
ALL_METRICS = {"eval_metrics": '["msd", "ssd"]'}  # what must be asked for so that every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4) around three far corners, a quarter of them zero; no labels."""
    random = np.random.default_rng(seed)
    corners = np.array([[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 9]])
    features = corners[random.integers(0, 3, n)] + random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    return features.astype(np.float32), None


def real() -> Real:
    """Handwritten digits in ten clusters, which should be the digits."""
    train, test = digits()

    def purity(answers: Mapping[str, np.ndarray]) -> float:
        """The share of rows that have the digit of most rows of their cluster."""
        clusters = answers["closest_cluster"].astype(int)
        return sum(np.bincount(test.labels[clusters == i].astype(int)).max() for i in set(clusters)) / len(clusters)

    return Real({"k": 10}, Rows(train.features), Rows(test.features), purity, good=0.65, estimator="KMeans")


# how far answers of several hosts' model are from those of one host, as a share of the greatest answer
HOSTS_TOLERANCE = 1e-4
