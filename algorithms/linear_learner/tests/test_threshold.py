"""The best threshold: by hand, and against every threshold tried one by one."""

import math

import numpy as np
import pytest

from algorithms.linear_learner.metrics import best_threshold, binary_scores

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
