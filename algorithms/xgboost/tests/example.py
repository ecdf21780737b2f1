"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

from tests.images.sets import Real, breast_cancer

HYPERPARAMETERS = {"num_round": "5", "objective": "reg:squarederror", "max_depth": "3", "nthread": "1"}
ALL_METRICS = {"eval_metric": "rmse,mae"}
REPORTED = ("train:rmse", "train:mae")  # of the declared metrics, by a job with ALL_METRICS
LEARNS_WHILE_READING = False  # the first tree needs all rows


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4), a quarter of them zero; labels (n,), a sum of steps of them."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    labels = np.round(3 * (features[:, 0] > 0.5) + 2 * np.sign(features[:, 1]) + features[:, 2], 3)
    return features.astype(np.float32), labels.astype(np.float32)


def real() -> Real:
    """Tumours, malignant or benign."""
    train, test = breast_cancer()
    settings = {"objective": "binary:logistic", "num_round": 20, "max_depth": 3, "eta": 0.3, "subsample": 1.0}
    return Real(settings, train, test, lambda answers: np.mean((answers["score"] > 0.5) == test.labels), good=0.92)


# how far answers of several hosts' model are from those of one host, as a share of the greatest answer
HOSTS_TOLERANCE = 0.01
