"""Metrics and thresholds: by hand, against every threshold tried one by one, and against scikit-learn."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn

from algorithms.linear_learner.metrics import CHUNK, MulticlassSums, best_threshold, binary_scores
from algorithms.regression import RegressionSums

CRITERIA = ["accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision"]
TARGETS = {"target_recall": 0.7, "target_precision": 0.6, "beta": 1.5}


def floats(*values):
    return np.array(values, np.float32)


def value_at(threshold, scores, labels, weights, criterion, target_recall, target_precision, beta):
    """The criterion of one threshold, row by row; None where its target is missed."""
    true = called = positive = total = right = 0.0
    for score, label, weight in zip(scores.tolist(), labels.tolist(), weights.tolist(), strict=True):
        is_called = score >= threshold
        total += weight
        positive += weight * label
        called += weight * is_called
        true += weight * (is_called and label == 1)
        right += weight * (is_called == (label == 1))
    precision, recall = (true / called if called else 0.0), (true / positive if positive else 0.0)
    if criterion == "accuracy":
        return right / total
    if criterion == "f_beta":
        both = beta**2 * precision + recall
        return (1 + beta**2) * precision * recall / both if both else 0.0
    if criterion == "precision_at_target_recall":
        return precision if recall >= target_recall - 1e-12 else None
    return recall if precision >= target_precision - 1e-12 else None


def brute_force(scores, labels, weights, criterion, **targets):
    """The thresholds, nearest to 0 first, of the best value, and that value; every cut is tried."""
    distinct = np.unique(scores.astype(np.float64))
    cuts = [distinct[0] - 0.5, *((distinct[1:] + distinct[:-1]) / 2), distinct[-1] + 0.5]
    values = [value_at(cut, scores, labels, weights, criterion, **targets) for cut in cuts]
    best = max((value for value in values if value is not None), default=None)
    if best is None and criterion == "recall_at_target_precision":
        precise = {**targets, "target_recall": 0.0}
        best = max(value_at(c, scores, labels, weights, "precision_at_target_recall", **precise) for c in cuts)
        at_most = {**targets, "target_precision": best}
        values = [value_at(cut, scores, labels, weights, criterion, **at_most) for cut in cuts]
        found = [(cut, v - 1) for cut, v in zip(cuts, values, strict=True) if v is not None]
    else:
        best = 0.0 if best is None else best
        missed = 0.0 if criterion == "precision_at_target_recall" else -1.0
        values = [missed if value is None else value for value in values]
        found = [(cut, v) for cut, v in zip(cuts, values, strict=True) if math.isclose(v, best, abs_tol=1e-12)]
    return sorted(found, key=lambda pair: abs(pair[0]))


# ---- thresholds by hand

SCORES, LABELS = floats(3, 2, 1, -1, -2), floats(1, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("criterion", "given", "expected"),
    [
        ("accuracy", {}, (0.0, 0.8)),  # also above 2, which is farther from 0
        ("f_beta", {}, (0.0, 0.8)),  # P 2/3, R 1
        ("f_beta", {"beta": 0.5}, (2.5, 5 / 6)),  # P 1, R 1/2: 1.25 * .5 / .75
        ("precision_at_target_recall", {"target_recall": 0.5}, (2.5, 1.0)),
        ("precision_at_target_recall", {"target_recall": 0.6}, (0.0, 2 / 3)),
        ("recall_at_target_precision", {"target_precision": 0.6}, (0.0, 1.0)),
        ("recall_at_target_precision", {"target_precision": 0.7}, (2.5, 0.5)),
        ("loss_function", {}, (0.0, 0.0)),
    ],
)
def test_five_rows(criterion, given, expected):
    assert best_threshold(SCORES, LABELS, criterion, **given) == pytest.approx(expected)
    assert best_threshold(SCORES.astype(np.float64), LABELS, criterion, **given) == pytest.approx(expected)


def test_a_precision_beyond_reach_loses_against_one_in_reach():
    threshold, value = best_threshold(
        floats(2, 1, 0), floats(0, 1, 1), "recall_at_target_precision", target_precision=0.9
    )
    assert (threshold, value) == (-0.5, 0.0)  # P 2/3 with all rows, R 1; any model in reach has more than 0
    _, reached = best_threshold(floats(2, 1, 0), floats(1, 0, 1), "recall_at_target_precision", target_precision=0.9)
    assert reached == 0.5


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("scores", [floats(5, 5, 5, 5), floats(0, -0.0, 0, -0.0), floats(-3)])
def test_rows_of_one_score_stay_together(criterion, scores):
    threshold, _ = best_threshold(scores, np.ones(len(scores), np.float32), criterion)
    assert threshold == scores[0] - 0.5


@pytest.mark.parametrize("beyond", [-0.5, 1.5])
def test_one_class_only(beyond):
    label = 1.0 if beyond < 0 else 0.0
    scores, labels = floats(0, 0.25, 1), floats(label, label, label)
    assert best_threshold(scores, labels, "accuracy") == (beyond, 1.0)
    for criterion in CRITERIA[1:]:
        threshold, value = best_threshold(scores, labels, criterion)
        assert math.isfinite(threshold)
        assert value == (-1.0 if label == 0 and criterion == "recall_at_target_precision" else label)


def test_of_two_thresholds_as_near_the_positive_one_is_taken():
    assert best_threshold(floats(3, 1, -1, -3), floats(1, 0, 1, 0), "accuracy") == (2.0, 0.75)  # as good at -2
    assert best_threshold(floats(2, 0, -2), floats(0, 1, 0), "accuracy") == (-1.0, 2 / 3)  # as good at 2.5


def test_weights_count_rows():
    scores, labels = floats(3, 2, 1), floats(1, 0, 1)
    assert best_threshold(scores, labels, "accuracy", weights=floats(1, 3, 1)) == (2.5, 0.8)
    assert best_threshold(scores, labels, "accuracy", weights=floats(1, 1, 3)) == (0.5, 0.8)
    repeated = best_threshold(np.repeat(scores, [1, 4, 2]), np.repeat(labels, [1, 4, 2]), "f_beta", beta=2.0)
    assert best_threshold(scores, labels, "f_beta", beta=2.0, weights=floats(1, 4, 2)) == repeated


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("low", [0.1, -0.1, 1e-45, 16777216.0, 3e38, -3e38])
def test_neighbouring_floats_are_told_apart(criterion, low):
    """The threshold lies between them in float64, or is the upper one."""
    low = np.float32(low)
    scores = np.array([low, np.nextafter(low, np.float32(np.inf))])
    threshold, value = best_threshold(scores, floats(0, 1), criterion)
    assert value == 1
    assert (scores >= np.float64(threshold)).tolist() == [False, True]
    doubles = np.array([np.float64(low), np.nextafter(np.float64(low), np.inf)])
    threshold, value = best_threshold(doubles, floats(0, 1), criterion)
    assert (doubles >= threshold).tolist() == [False, True]


@pytest.mark.parametrize("score", [1e30, -1e30, 3e38, -3e38])
@pytest.mark.parametrize("label", [0, 1])
def test_beyond_the_ends_of_large_scores(score, label):
    scores = floats(score, score)
    threshold, value = best_threshold(scores, floats(label, label), "accuracy")
    assert value == 1
    assert (scores >= np.float64(threshold)).tolist() == [label == 1] * 2


# ---- thresholds against all others


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_threshold_is_better(criterion, weighted, dtype):
    random = np.random.default_rng(len(criterion))
    for n in [1, 2, 3, 5, 8, 13, 40] * 6:
        scores = random.normal(size=n).astype(dtype)
        if random.random() < 0.5:
            scores = np.round(scores, 1)  # ties
        labels = (random.normal(size=n) + scores > random.normal()).astype(np.float32)
        weights = random.integers(0, 4, n) + 0.25 if weighted else np.ones(n)
        given = {**TARGETS, "target_precision": float(random.choice([0.6, 0.95]))}
        found = best_threshold(scores, labels, criterion, weights=weights if weighted else None, **given)
        expected = brute_force(scores, labels, weights, criterion, **given)
        assert found[1] == pytest.approx(expected[0][1], abs=1e-12)
        if weighted:  # rounding may set equal values apart
            assert any(found[0] == pytest.approx(cut) for cut, _ in expected)
        else:
            assert abs(found[0]) == pytest.approx(abs(expected[0][0]))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_many_rows_and_any_layout(criterion):
    random = np.random.default_rng(0)
    table = random.normal(size=(50_000, 3)).astype(np.float32)
    scores = np.round(table[:, 1] * 200) / 200
    labels = (random.normal(size=50_000) + scores > 1).astype(np.float32)
    expected = best_threshold(scores.astype(np.float64), labels, criterion)
    assert best_threshold(scores, labels, criterion) == expected
    assert best_threshold(np.stack([scores, scores], axis=1)[:, 1], labels, criterion) == expected
    mixed = random.permutation(50_000)
    assert best_threshold(scores[mixed], labels[mixed], criterion) == expected
    told = binary_scores(scores, labels, expected[0], 1.0)
    name = {"accuracy": "binary_classification_accuracy", "f_beta": "binary_f_1.000"}.get(criterion, criterion)
    assert told[name.partition("_at_")[0]] == expected[1]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("label", [0, 1])
def test_scores_that_are_not_finite(bad, dtype, label):
    scores = np.array([1, bad, 2], dtype)
    with pytest.raises(ValueError, match="scores must be finite, got"):
        best_threshold(scores, floats(0, label, 1), "accuracy")


def test_what_cannot_be_asked():
    with pytest.raises(ValueError, match="scores must be of one row at least, got none"):
        best_threshold(floats(), floats(), "accuracy")
    with pytest.raises(ValueError, match="criterion must be one of the guide's, got 'auc'"):
        best_threshold(SCORES, LABELS, "auc")


def test_nothing_given_is_changed():
    scores, labels, weights = SCORES.copy(), LABELS.copy(), np.ones(5, np.float32)
    best_threshold(scores, labels, "accuracy")
    best_threshold(scores, labels, "accuracy", weights=weights)
    assert scores.tobytes() == SCORES.tobytes()
    assert labels.tobytes() == LABELS.tobytes()


# ---- binary scores


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
