"""A small job for the contract tests, which run for every algorithm that has this file."""

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import roc_auc_score

from tests.images.sets import Real, Rows, breast_cancer

HYPERPARAMETERS = {"num_trees": "50", "num_samples_per_tree": "16"}
ALL_METRICS: dict[str, str] = {}  # every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4) around the origin, a quarter of them zero; labels (n,), 1 for one row in 25, which lies far."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 25 == 24
    features = random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    features[labels] += 9
    return features.astype(np.float32), labels.astype(np.float32)


def real() -> Real:
    """Tumours, most of them benign; a malignant one should be an anomaly."""
    train, test = breast_cancer()
    benign = train.labels == 1
    few = benign | (np.cumsum(~benign) <= 10)
    settings = {"num_trees": 100, "num_samples_per_tree": 256}

    def ranked(answers: Mapping[str, np.ndarray]) -> float:
        """How often an anomaly has a higher score than another row."""
        return float(roc_auc_score(test.labels == 0, answers["score"].ravel()))

    test_channel = Rows(test.features, 1 - test.labels)
    return Real(settings, Rows(train.features[few]), test_channel, ranked, good=0.85, estimator="RandomCutForest")


# how far answers of several hosts' model are from those of one host, as a share of the greatest answer
HOSTS_TOLERANCE = 0.1  # the sample is another one: seeds of one host are up to 0.06 apart
HOSTS_HYPERPARAMETERS = {"num_trees": "100", "num_samples_per_tree": "8"}  # a sample of half of the rows
