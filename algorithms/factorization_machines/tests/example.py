"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

from tests.images.sets import Real, Rows, digits

HYPERPARAMETERS = {
    "feature_dim": "4",
    "num_factors": "3",
    "predictor_type": "binary_classifier",
    "epochs": "1",
    "mini_batch_size": "50",
    "linear_lr": "0.05",
    "factors_lr": "0.05",
    "factors_init_sigma": "0.1",
}
ALL_METRICS: dict[str, str] = {}
METRICS = ("binary_classification_accuracy", "binary_classification_cross_entropy", "binary_f_1.000")
# of the declared metrics: a binary classifier has no mse
REPORTED = [f"test:{name}" for name in METRICS]


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4), a quarter of them zero; labels (n,), 1 where a sum with a product of two features is > 0."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    labels = features[:, 0] + 2 * features[:, 1] * features[:, 2] + random.normal(scale=0.2, size=n) > 0
    return features.astype(np.float32), labels.astype(np.float32)


def real() -> Real:
    """Handwritten digits, even or odd: no pixel says it alone."""
    train, test = (Rows(part.features / 16, part.labels % 2) for part in digits())
    settings = {
        "num_factors": 8,
        "predictor_type": "binary_classifier",
        "epochs": 30,
        "mini_batch_size": 50,
        "linear_lr": 0.01,
        "factors_lr": 0.01,
        "factors_init_sigma": 0.1,
    }
    return Real(
        settings,
        train,
        test,
        lambda answers: np.mean(answers["predicted_label"] == test.labels),
        good=0.93,
        estimator="FactorizationMachines",
    )


# how far answers of several hosts' model are from those of one host, as a share of the greatest answer
HOSTS_TOLERANCE = 1e-5
