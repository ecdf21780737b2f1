"""A small job for the contract tests, which run for every algorithm that has this file."""

import numpy as np

from tests.images.sets import Real, wine

HYPERPARAMETERS = {
    "predictor_type": "binary_classifier",
    "epochs": "1",
    "num_models": "4",
    "mini_batch_size": "50",
    "num_point_for_scaler": "1000",
}
ALL_METRICS: dict[str, str] = {}
METRICS = ("binary_classification_accuracy", "binary_f_1.000", "precision", "recall", "roc_auc_score")
# of the declared metrics: a binary classifier has no mse
REPORTED = [f"{channel}:{name}" for channel in ("validation", "test") for name in METRICS]
REPORTED.append("test:binary_classification_cross_entropy_objective")
PASSES_AFTER_TRAINING = 1  # over `train`, where there is no validation channel, to choose the best model
NORMAL = np.array([2, -1, 1, 0])  # of the plane between the classes


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, 4), a quarter of them zero, on both sides of a plane; labels (n,), noisy, 1 on one."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 4)) * (random.random((n, 4)) > 0.25)
    labels = features @ NORMAL + random.normal(scale=0.5, size=n) > 0
    return features.astype(np.float32), labels.astype(np.float32)


def real() -> Real:
    """Wines of three growers."""
    train, test = wine()
    settings = {"predictor_type": "multiclass_classifier", "num_classes": 3, "mini_batch_size": 20}
    return Real(
        settings,
        train,
        test,
        lambda answers: np.mean(answers["predicted_label"] == test.labels),
        good=0.9,
        estimator="LinearLearner",
    )


# how far answers of several hosts' model are from those of one host, as a share of the greatest answer
HOSTS_TOLERANCE = 1e-5
