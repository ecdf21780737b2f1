"""A small job for the contract tests, which run for every algorithm that has this file."""

from collections.abc import Mapping

import numpy as np

from tests.images.sets import Real, Rows, mnist

HYPERPARAMETERS = {"num_components": "2", "feature_dim": "4", "mini_batch_size": "50"}
ALL_METRICS: dict[str, str] = {}  # every declared metric is reported


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4) of four different spreads around a point off the origin, a quarter of them zero; no labels."""
    random = np.random.default_rng(seed)
    features = 5 + random.normal(size=(n, 4)) * [8, 4, 2, 1]
    return (features * (random.random((n, 4)) > 0.25)).astype(np.float32), None


def real() -> Real:
    """Handwritten digits of 784 pixels in twenty components."""
    train, test = mnist(2000)
    centred = test.features - test.features.mean(axis=0)

    def captured(answers: Mapping[str, np.ndarray]) -> float:
        """The share of the pixels' variance that the projections explain."""
        projections = answers["projection"] - answers["projection"].mean(axis=0)
        rest = centred - projections @ np.linalg.lstsq(projections, centred, rcond=None)[0]
        return 1 - float(np.square(rest).sum() / np.square(centred).sum())

    settings = {"num_components": 20, "subtract_mean": True}
    return Real(settings, Rows(train.features), Rows(test.features), captured, good=0.6, estimator="PCA")


# how far answers of several hosts' model are from those of one host, as a share of the greatest answer
HOSTS_TOLERANCE = 1e-6
