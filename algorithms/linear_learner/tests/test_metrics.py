"""The metrics: by hand, and against scikit-learn."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn

from algorithms.linear_learner.metrics import CHUNK, MulticlassSums, binary_scores
from algorithms.regression import RegressionSums


def floats(*values):
    return np.array(values, np.float32)


SCORES, LABELS = floats(3, 2, 1, -1, -2), floats(1, 0, 1, 0, 0)


def test_binary_scores_of_five_rows():
    told = binary_scores(SCORES, LABELS, 0.0, 2.0)
    assert list(told) == ["binary_classification_accuracy", "binary_f_2.000", "precision", "recall", "roc_auc_score"]
    assert list(told.values()) == pytest.approx([0.8, 10 / 11, 2 / 3, 1, 5 / 6])
    assert list(binary_scores(SCORES, LABELS, 9.0, 1.0).values()) == pytest.approx([0.6, 0, 0, 0, 5 / 6])


@pytest.mark.parametrize("label", [0, 1])
def test_undefined_binary_scores(label):
    told = binary_scores(floats(-1, 1), floats(label, label), 0.0, 1.0)
    assert list(told.values()) == pytest.approx([0.5, 2 / 3 * label, label, 0.5 * label, 0.5])


def test_a_threshold_is_compared_in_float64():
    low = np.float32(1)
    scores = np.array([low, np.nextafter(low, np.float32(2))])
    middle = (float(scores[0]) + float(scores[1])) / 2  # rounds to the lower one in float32
    assert binary_scores(scores, floats(0, 1), middle, 1.0)["binary_classification_accuracy"] == 1
    assert binary_scores(scores, floats(0, 1), float(scores[1]), 1.0)["binary_classification_accuracy"] == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_binary_scores_against_scikit_learn(weighted):
    random = np.random.default_rng(1)
    for n, digits in [(5, 0), (50, 1), (5000, 3)]:
        scores = np.round(random.normal(size=n), digits).astype(np.float32)
        labels = np.append((random.normal(size=n - 2) + scores[2:] > 0.5), [0, 1]).astype(np.float32)
        weights = random.random(n).astype(np.float32) if weighted else None
        for threshold in [-0.3, 0.0, 0.5]:
            called, given = (scores >= np.float64(threshold)).astype(np.float32), {"sample_weight": weights}
            expected = [
                sklearn.accuracy_score(labels, called, **given),
                sklearn.fbeta_score(labels, called, beta=0.5, zero_division=0, **given),
                sklearn.precision_score(labels, called, zero_division=0, **given),
                sklearn.recall_score(labels, called, zero_division=0, **given),
                sklearn.roc_auc_score(labels, scores, **given),
            ]
            told = binary_scores(scores, labels, threshold, 0.5, weights)
            assert list(told.values()) == pytest.approx(expected, rel=1e-5 if weighted else 1e-12)


# ---- sums


def test_multiclass_scores_of_three_rows():
    sums = MulticlassSums(3, 2)
    sums.add(floats(0, 0, 0, 1, 2, 3, 5, 1, 0).reshape(3, 3), floats(1, 2, 2))  # ranks 2, 1, 3; called 0, 2, 0
    told = sums.scores()
    losses = [math.log(3), math.log(1 + math.exp(-1) + math.exp(-2)), 5 + math.log(1 + math.exp(-4) + math.exp(-5))]
    assert told == pytest.approx(
        {
            "multiclass_accuracy": 1 / 3,
            "multiclass_top_k_accuracy_2": 2 / 3,
            "dcg": (1 / math.log2(3) + 1 + 1 / 2) / 3,
            "macro_recall": (0 + 1 / 2) / 2,  # of classes 1 and 2: no row is of class 0
            "macro_precision": (0 + 1) / 2,
            "macro_f_1.000": (0 + 2 / 3) / 2,
            "multiclass_balanced_accuracy": 1 / 4,
            "multiclass_log_loss": sum(losses) / 3,
        }
    )
    assert list(told)[1:3] == ["multiclass_top_k_accuracy_2", "dcg"]


def expected_multiclass(scores, labels, top_k, beta):
    called, n, classes = np.argmax(scores, axis=1), *scores.shape
    given = {"labels": np.unique(labels), "average": "macro", "zero_division": 0}
    odds = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that are called and do not occur
        balanced = sklearn.balanced_accuracy_score(labels, called)
    own = np.zeros((n, classes))
    own[np.arange(n), labels.astype(int)] = 1
    return [
        sklearn.accuracy_score(labels, called),
        sklearn.top_k_accuracy_score(labels, scores, k=top_k, labels=np.arange(classes)),
        sklearn.dcg_score(own, scores),
        sklearn.recall_score(labels, called, **given),
        sklearn.precision_score(labels, called, **given),
        sklearn.fbeta_score(labels, called, beta=beta, **given),
        balanced,
        sklearn.log_loss(labels, odds / odds.sum(axis=1, keepdims=True), labels=np.arange(classes)),
    ]


@pytest.mark.parametrize(("classes", "top_k"), [(3, 2), (10, 3), (200, 5)])
def test_multiclass_scores_against_scikit_learn(classes, top_k):
    random = np.random.default_rng(classes)
    scores = random.normal(size=(150, classes)).astype(np.float32) * 3
    labels = random.integers(1, classes, 150).astype(np.float32)  # class 0 is called at times, and never right
    scores[np.arange(150), labels.astype(int)] += 2
    sums = MulticlassSums(classes, top_k, beta=2.0)
    sums.add(scores, labels)
    assert list(sums.scores().values()) == pytest.approx(expected_multiclass(scores, labels, top_k, 2.0), rel=1e-6)
    assert "macro_f_2.000" in sums.scores()


def test_of_equal_scores_the_first_class_leads():
    for label, expected in enumerate([True, True, False]):
        sums = MulticlassSums(3, 2)
        sums.add(np.zeros((1, 3), np.float32), floats(label))
        assert sums.scores()["multiclass_accuracy"] == (label == 0)
        assert sums.scores()["multiclass_top_k_accuracy_2"] == expected


def test_hosts_add_their_sums():
    random = np.random.default_rng(2)
    scores, labels = random.normal(size=(90, 4)).astype(np.float32), random.integers(0, 4, 90).astype(np.float32)
    for make, answers in [(lambda: MulticlassSums(4, 3), scores), (RegressionSums, scores[:, 0])]:
        whole, hosts = make(), [make(), make(), make()]
        whole.add(answers, labels)
        for host, rows in zip(hosts, [slice(0, 1), slice(1, 60), slice(60, 90)], strict=True):
            host.add(answers[rows], labels[rows])
        total = make()
        total.array = sum(host.array for host in hosts)
        assert total.scores() == pytest.approx(whole.scores(), rel=1e-12)


def test_a_million_classes_in_parts():
    scores = np.zeros((3, 1_000_000), np.float32)
    labels = floats(999_999, 5, 0)
    scores[:, 999_999], scores[1, 5] = 2, 1
    assert scores.size > 2 * CHUNK
    sums = MulticlassSums(1_000_000, 3)
    sums.add(scores, labels)
    assert sums.array.shape == (3_000_004,)
    told = sums.scores()
    assert told["multiclass_accuracy"] == 1 / 3
    assert told["multiclass_top_k_accuracy_3"] == 1
    log_sum = math.log(999_999 + math.e**2)
    expected = (3 * log_sum - 2 + math.log((999_998 + math.e + math.e**2) / (999_999 + math.e**2)) - 1) / 3
    assert told["multiclass_log_loss"] == pytest.approx(expected, rel=1e-6)


def test_scores_far_from_each_other_do_not_overflow():
    sums = MulticlassSums(3, 1)
    sums.add(floats(3e38, -3e38, 0, 1000, 0, 0).reshape(2, 3), floats(0, 1))
    assert sums.scores()["multiclass_log_loss"] == 500


def test_regression_scores():
    sums = RegressionSums()
    sums.add(floats(1, 2, 4), floats(1, 4, 1))
    assert sums.scores() == pytest.approx({"mse": 13 / 3, "absolute_loss": 5 / 3, "rmse": math.sqrt(13 / 3)})
    random = np.random.default_rng(4)
    predicted, labels = (1000 + random.normal(size=(2, 5000))).astype(np.float32)
    sums = RegressionSums()
    sums.add(predicted, labels)
    expected = [
        sklearn.mean_squared_error(labels.astype(float), predicted.astype(float)),
        sklearn.mean_absolute_error(labels.astype(float), predicted.astype(float)),
        sklearn.root_mean_squared_error(labels.astype(float), predicted.astype(float)),
    ]
    assert list(sums.scores().values()) == pytest.approx(expected, rel=1e-12)


def test_no_row_scores_nothing():
    assert set(MulticlassSums(3, 2).scores().values()) == {0.0}
    assert RegressionSums().scores() == {"mse": 0.0, "absolute_loss": 0.0, "rmse": 0.0}
    sums = MulticlassSums(3, 2)
    sums.add(np.empty((0, 3), np.float32), floats())
    assert set(sums.scores().values()) == {0.0}
