"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

from tests.images.sets import Real, mnist

HYPERPARAMETERS = {"k": "3", "predictor_type": "classifier", "sample_size": "150", "mini_batch_size": "50"}
ALL_METRICS: dict[str, str] = {}
REPORTED = ("test:accuracy",)  # of the declared metrics: a classifier has no mse


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4) around three far corners, a quarter of them zero; labels (n,), the corners' numbers."""
    random = np.random.default_rng(seed)
    corners = np.array([[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 9]])
    labels = random.integers(0, 3, n)
    features = corners[labels] + random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    return features.astype(np.float32), labels.astype(np.float32)


def real() -> Real:
    """Handwritten digits of 784 pixels, by the digits that look most like them."""
    train, test = mnist(4000)
    settings = {"k": 5, "predictor_type": "classifier", "sample_size": 3000}
    return Real(
        settings,
        train,
        test,
        lambda answers: np.mean(answers["predicted_label"] == test.labels),
        good=0.85,
        estimator="KNN",
    )


# how far answers of several hosts' model are from those of one host, as a share of the greatest answer
HOSTS_TOLERANCE = 0
HOSTS_HYPERPARAMETERS = {"sample_size": "1600"}  # room for all rows, so that nothing is left to chance
