"""Metrics by hand, against scikit-learn, from parts added, and which way is better."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as oracle

from algorithms.xgboost.metrics import CLASSES, METRICS, NAMES, OWN, OwnMetrics, family, maximized, spelling

ORACLE = {
    "accuracy": oracle.accuracy_score,
    "balanced_accuracy": oracle.balanced_accuracy_score,
    "f1": lambda y, p: oracle.f1_score(y, p, average="macro", zero_division=0),
    "f1_binary": lambda y, p: oracle.f1_score(y, p, zero_division=0),
    "f1_macro": lambda y, p: oracle.f1_score(y, p, average="macro", zero_division=0),
    "precision": lambda y, p: oracle.precision_score(y, p, zero_division=0),
    "precision_macro": lambda y, p: oracle.precision_score(y, p, average="macro", zero_division=0),
    "precision_micro": lambda y, p: oracle.precision_score(y, p, average="micro", zero_division=0),
    "recall": lambda y, p: oracle.recall_score(y, p, zero_division=0),
    "recall_macro": lambda y, p: oracle.recall_score(y, p, average="macro", zero_division=0),
    "recall_micro": lambda y, p: oracle.recall_score(y, p, average="micro", zero_division=0),
    "mse": oracle.mean_squared_error,
    "r2": oracle.r2_score,
}
BINARY_ONLY = {"f1_binary", "precision", "recall"}


def values(objective, num_class, predictions, labels, names):
    own = OwnMetrics(tuple(names), objective, num_class)
    return own.values(own.sums(np.asarray(predictions, np.float32), np.asarray(labels, np.float32)))


def expected(labels, classes, names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that only predictions have
        return {name: ORACLE[name](labels, classes) for name in names}


def test_two_classes_by_hand():
    # predicted 1 1 0 0 1; one of three positives is missed, one of two negatives is hit
    found = values("binary:logistic", 2, [0.9, 0.6, 0.5, 0.1, 0.7], [1, 1, 1, 0, 0], sorted(CLASSES))
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["precision"] == found["recall"] == found["f1_binary"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"] == found["recall_macro"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["precision_micro"] == found["recall_micro"] == found["accuracy"]


def test_squares_by_hand():
    assert values("reg:squarederror", 2, [1, 2, 4], [1, 2, 3], ["mse", "r2"]) == {
        "mse": pytest.approx(1 / 3),
        "r2": pytest.approx(1 - 1 / 2),
    }


def test_every_own_metric_has_an_oracle():
    assert set(ORACLE) == OWN


@pytest.mark.parametrize("share", [0.5, 0.1, 0.0, 1.0])
@pytest.mark.parametrize(("objective", "threshold"), [("binary:logistic", 0.5), ("binary:logitraw", 0.0)])
def test_two_classes_are_scikit_learns(objective, threshold, share):
    random = np.random.default_rng(0)
    predictions = random.normal(threshold, 1, 200)
    labels = (random.random(200) < share).astype(int)
    found = values(objective, 2, predictions, labels, sorted(CLASSES))
    assert found == pytest.approx(expected(labels, (predictions > threshold).astype(int), found))


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
@pytest.mark.parametrize("present", [[0, 1, 2, 3], [0, 2], [1]])
def test_more_classes_are_scikit_learns(objective, present):
    random = np.random.default_rng(1)
    labels, classes = random.choice(present, 100), random.choice([0, 1, 3], 100)
    predictions = classes if objective == "multi:softmax" else np.eye(4)[classes]
    found = values(objective, 4, predictions, labels, sorted(CLASSES - BINARY_ONLY))
    assert found == pytest.approx(expected(labels, classes, found))


@pytest.mark.parametrize("offset", [0, 1000])
def test_squares_are_scikit_learns(offset):
    random = np.random.default_rng(2)
    labels = random.normal(offset, 1, 300).astype(np.float32)
    predictions = labels + random.normal(0, 0.3, 300).astype(np.float32)
    found = values("reg:squarederror", 2, predictions, labels, ["mse", "r2"])
    assert found == pytest.approx(expected(labels.astype(float), predictions.astype(float), found), rel=1e-6)


@pytest.mark.parametrize(("predictions", "r2"), [([0.1, 0.1], 1.0), ([0.2, 0.1], 0.0)])
def test_r2_of_constant_labels(predictions, r2):
    assert values("reg:squarederror", 2, predictions, [0.1, 0.1], ["r2"]) == {"r2": r2}


def test_hosts_add():
    random = np.random.default_rng(3)
    own = OwnMetrics(("f1", "accuracy"), "multi:softprob", 3)
    predictions = random.random((90, 3)).astype(np.float32)
    labels = random.integers(0, 3, 90).astype(np.float32)
    parts = sum(own.sums(predictions[part::3], labels[part::3]) for part in range(3))
    assert own.values(parts) == own.values(own.sums(predictions, labels))


def test_no_rows():
    for objective, names in (("binary:logistic", CLASSES), ("reg:squarederror", {"mse", "r2"})):
        assert all(map(math.isnan, values(objective, 2, [], [], sorted(names)).values()))


@pytest.mark.parametrize(
    ("name", "of", "greater_is_better"),
    [
        ("ndcg@5", "ndcg", True),
        ("ndcg@5-", "ndcg", True),
        ("map-", "map", True),
        ("pre@3", "pre", True),
        ("error@0.7", "error", False),
        ("tweedie-nloglik@1.5", "tweedie-nloglik", False),
        ("aft-nloglik", "aft-nloglik", False),
        ("interval-regression-accuracy", "interval-regression-accuracy", True),
        ("accuracy", "accuracy", True),
        ("mse", "mse", False),
    ],
)
def test_direction(name, of, greater_is_better):
    assert spelling(name) == name
    assert family(name) == of
    assert maximized(name) == greater_is_better


def test_the_declared_metrics_begin_with_the_guides():
    nine = [metric.name for metric in METRICS[:9]]
    assert nine == ["auc", "error", "logloss", "mae", "map", "merror", "mlogloss", "ndcg", "rmse"]
    assert {metric.name for metric in METRICS} == NAMES
    assert [metric.name for metric in METRICS if metric.channel == "validation" and metric.direction == "maximize"][
        :3
    ] == ["auc", "map", "ndcg"]
