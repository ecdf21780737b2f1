"""Metrics: by hand, against scikit-learn, and as sums that hosts add."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sklearn

from algorithms.factorization_machines.metrics import F1, BinarySums, metric, scores_of, sums_of
from algorithms.regression import RegressionSums

ACCURACY, CROSS_ENTROPY = "binary_classification_accuracy", "binary_classification_cross_entropy"


def floats(*values):
    return np.array(values, np.float32)


def added(sums, *parts):
    for part in parts:
        sums.add(*part)
    return scores_of(sums)


def test_a_classifier_by_hand():
    """Labelled 1, 1, 0, 0 (a margin of 0 is a score of 0.5, and so label 1) where 1, 0, 1, 0 is right."""
    scores = added(BinarySums(), (floats(0, np.log(3), -np.log(3), -np.log(3)), floats(1, 0, 1, 0)))
    assert scores[ACCURACY] == 0.5
    assert scores[F1] == 0.5
    assert scores[CROSS_ENTROPY] == pytest.approx((np.log(2) + np.log(4) + np.log(4) + np.log(4 / 3)) / 4, rel=1e-6)


def test_a_regressor_by_hand():
    scores = added(RegressionSums(), (floats(3, 1, 5), floats(1, 1, 2)))
    assert scores == pytest.approx({"mse": 13 / 3, "absolute_loss": 5 / 3, "rmse": np.sqrt(13 / 3)})


def test_margins_beyond_what_exp_holds():
    """The loss of a wrong margin of 1000 is 1000, of a right one 0."""
    scores = added(BinarySums(), (floats(1000, 1000, -1000, -1000), floats(1, 0, 0, 1)))
    assert scores == {ACCURACY: 0.5, CROSS_ENTROPY: 500, F1: 0.5}


def test_nothing_is_labelled_1():
    assert added(BinarySums(), (floats(-1, -1), floats(0, 0)))[F1] == 0
    assert added(BinarySums(), (floats(-1, -1), floats(0, 1)))[F1] == 0


@pytest.mark.parametrize("kind", ["binary_classifier", "regressor"])
def test_without_rows(kind):
    assert set(scores_of(sums_of(kind)).values()) == {0.0}


def test_names_in_the_order_of_the_hosted_log():
    assert list(scores_of(sums_of("regressor"))) == ["rmse", "mse", "absolute_loss"]
    assert list(scores_of(sums_of("binary_classifier"))) == [ACCURACY, CROSS_ENTROPY, F1]
    kinds = {name: metric("train", name).direction for name in ("rmse", "mse", "absolute_loss", CROSS_ENTROPY)}
    assert set(kinds.values()) == {"minimize"}
    assert metric("test", ACCURACY).direction == metric("test", F1).direction == "maximize"


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed):
    random = np.random.default_rng(seed)
    margins = random.normal(scale=3, size=200).astype(np.float32)
    labels = (margins + random.normal(scale=3, size=200) > 1).astype(np.float32)
    assert added(BinarySums(), (margins, labels)) == pytest.approx(
        {
            ACCURACY: sklearn.accuracy_score(labels, margins >= 0),
            CROSS_ENTROPY: sklearn.log_loss(labels, expit(margins.astype(float))),
            F1: sklearn.f1_score(labels, margins >= 0),
        }
    )
    assert added(RegressionSums(), (margins, labels)) == pytest.approx(
        {
            "rmse": sklearn.root_mean_squared_error(labels, margins),
            "mse": sklearn.mean_squared_error(labels, margins),
            "absolute_loss": sklearn.mean_absolute_error(labels, margins),
        }
    )


@pytest.mark.parametrize("kind", ["binary_classifier", "regressor"])
def test_parts_add_up(kind):
    """Rows in one go, in several, and on two hosts."""
    random = np.random.default_rng(0)
    margins, labels = random.normal(size=100).astype(np.float32), random.integers(0, 2, 100).astype(np.float32)
    whole, parts = sums_of(kind), [sums_of(kind), sums_of(kind)]
    whole.add(margins, labels)
    for i, rows in enumerate((slice(0, 30), slice(30, 30), slice(30, 99), slice(99, 100))):
        parts[i % 2].add(margins[rows], labels[rows])
    parts[0].array += parts[1].array
    assert scores_of(parts[0]) == pytest.approx(scores_of(whole))
