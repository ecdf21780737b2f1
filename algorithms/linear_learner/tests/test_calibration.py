"""The sample of scores that thresholds are found on, what it says of models, and when training ends."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as oracle

from algorithms.cluster import Cluster
from algorithms.linear_learner.calibration import ScoreSample
from algorithms.linear_learner.early_stopping import EarlyStopping
from algorithms.linear_learner.loss import Loss
from algorithms.linear_learner.selection import Assessment, as_threshold, metric, objective_name
from tests.hosts import on_hosts

ALONE = Cluster()
BINARY = {"predictor_type": "binary_classifier"}


def numbered(sample: ScoreSample, start: int, stop: int, batch: int) -> None:
    """Rows whose scores are their numbers, negated for the second model, and labels 1 where odd."""
    for first in range(start, stop, batch):
        numbers = np.arange(first, min(first + batch, stop), dtype=np.float32)
        sample.add(np.column_stack([numbers, -numbers]), numbers % 2)


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
@pytest.mark.parametrize(
    ("n", "kept"),
    [(0, []), (5, range(5)), (8, range(8)), (9, range(0, 9, 2)), (17, range(0, 17, 4)), (100, range(0, 100, 16))],
)
def test_of_many_rows_evenly_spaced_ones_are_kept(n, kept, batch):
    """Room for eight: every row, then every second, fourth, ... one, however they come."""
    sample = ScoreSample(2, 8)
    numbered(sample, 0, n, batch)
    sample.gather(ALONE)
    assert sample.scores(0).tolist() == list(kept)
    assert sample.scores(1).tolist() == [-number for number in kept]
    assert sample.labels.tolist() == [number % 2 for number in kept]
    assert sample.scores(0).dtype == sample.labels.dtype == np.float32


@pytest.mark.parametrize("n", [8, 64, 1000, 1001])
def test_at_least_half_of_the_room_is_used(n):
    sample = ScoreSample(1, 8)
    sample.add(np.zeros((n, 1), np.float32), np.zeros(n, np.float32))
    sample.gather(ALONE)
    assert 4 <= len(sample.labels) <= 8


def test_rows_are_copied():
    """The caller may write over his scores."""
    sample = ScoreSample(1, 8)
    scores, labels = np.ones((3, 1), np.float32), np.ones(3, np.float32)
    sample.add(scores, labels)
    scores[:], labels[:] = 0, 0
    sample.gather(ALONE)
    assert (sample.scores(0).tolist(), sample.labels.tolist()) == ([1] * 3, [1] * 3)


@pytest.mark.parametrize("shares", [[3, 4], [0, 8], [8, 8], [100, 1], [5, 0, 61], [1000, 1000]])
def test_hosts_give_each_the_same_share_of_their_rows(shares):
    """One sample on all hosts, in order of rank, of at most eight rows, every host's as far apart as the others'."""
    starts = 10_000 * np.arange(len(shares))

    def work(cluster: Cluster) -> list[float]:
        sample = ScoreSample(2, 8)
        numbered(sample, starts[cluster.rank], starts[cluster.rank] + shares[cluster.rank], 7)
        sample.gather(cluster)
        assert sample.labels.tolist() == (sample.scores(0) % 2).tolist()
        assert sample.scores(1).tolist() == (-sample.scores(0)).tolist()
        return sample.scores(0).tolist()

    first, *others = on_hosts(len(shares), work)
    assert all(other == first for other in others)
    assert len(first) <= 8
    strides = [
        2**k
        for k in range(12)
        if sum(-(-share // 2**k) for share in shares) <= 8 and all(-(-s // 2**k) <= 8 for s in shares)
    ]
    expected = [start + i for start, share in zip(starts, shares, strict=True) for i in range(0, share, strides[0])]
    assert first == expected


# what it says of models


def assessed(h, loss: Loss, margins, labels, weights=None, cluster=ALONE, batch=7, **wanted) -> Assessment:
    assessment = Assessment(h, loss, weights, margins.shape[1] // (h.num_classes if h.num_classes > 2 else 1), **wanted)
    for start in range(0, len(labels), batch):
        assessment.add(margins[start : start + batch], labels[start : start + batch])
    assessment.of_all_hosts(cluster)
    return assessment


def binary_rows(n: int = 100, models: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = (random.random(n) < 0.4).astype(np.float32)
    return (random.normal(size=(n, models)) + labels[:, None] * [0.5, 1, 2] - 1).astype(np.float32), labels


def test_binary_by_hand(configure):
    """Scores 2 and 0 of labels 1, 0 and 1 of labels 0: cut above 1, one of four rows is wrong."""
    margins = np.array([[2], [0], [0], [1]], np.float32)
    labels = np.array([1, 1, 0, 0], np.float32)
    found = assessed(configure(**BINARY), Loss("logistic"), margins, labels)
    (best,) = found.candidates()
    assert (best.value, best.margin) == (0.75, 1.5)
    assert found.rows == 4
    expected = np.mean(np.log1p(np.exp([-2, 0, 0, 1])))
    assert found.objectives.tolist() == pytest.approx([expected], rel=1e-6)
    scores = found.metrics(0, 1.5)
    assert (scores["precision"], scores["recall"], scores["binary_classification_accuracy"]) == (1, 0.5, 0.75)


@pytest.mark.parametrize("hosts", [1, 2])
def test_binary_against_scikit_learn(configure, hosts):
    margins, labels = binary_rows()

    def work(cluster: Cluster):
        mine = slice(cluster.rank, None, hosts)
        found = assessed(configure(**BINARY), Loss("logistic"), margins[mine], labels[mine], cluster=cluster)
        return found.objectives, found.candidates(), [found.metrics(i, 0.25) for i in range(3)], found.rows

    objectives, candidates, scores, n = on_hosts(hosts, work)[-1]
    assert n == 100
    for i in range(3):
        assert objectives[i] == pytest.approx(oracle.log_loss(labels, expit(margins[:, i].astype(float))), rel=1e-5)
        called = margins[:, i] >= 0.25
        assert scores[i]["binary_classification_accuracy"] == pytest.approx(oracle.accuracy_score(labels, called))
        assert scores[i]["binary_f_1.000"] == pytest.approx(oracle.f1_score(labels, called))
        assert scores[i]["roc_auc_score"] == pytest.approx(oracle.roc_auc_score(labels, margins[:, i]))
        every = [np.mean((margins[:, i] >= cut) == labels) for cut in np.append(margins[:, i], np.inf)]
        assert candidates[i].value == pytest.approx(max(every))
        assert np.mean((margins[:, i] >= candidates[i].margin) == labels) == pytest.approx(max(every))


def test_weights_of_classes(configure):
    """Rows of label 1 count three times in the objective, and as one in the number of rows."""
    margins, labels = binary_rows()
    weights = np.array([1, 3], np.float32)
    found = assessed(configure(**BINARY), Loss("logistic"), margins, labels, weights)
    losses = Loss("logistic").values(margins, labels).astype(float) * weights[labels.astype(int)][:, None]
    np.testing.assert_allclose(found.objectives, losses.mean(axis=0), rtol=1e-6)


def test_the_least_loss_is_the_greatest_value(configure):
    """With `loss_function` as criterion, or of regressors: the threshold is that of margin 0."""
    margins, labels = binary_rows()
    for h, loss in (
        (configure(**BINARY, binary_classifier_model_selection_criteria="loss_function"), Loss("logistic")),
        (configure(predictor_type="regressor"), Loss("squared_loss")),
    ):
        found = assessed(h, loss, margins, labels)
        assert [each.value for each in found.candidates()] == (-found.objectives).tolist()
        assert {each.margin for each in found.candidates()} == {0}


def test_a_model_that_diverged_is_the_worst(configure):
    margins, labels = binary_rows()
    margins[5, 1] = np.nan
    found = assessed(configure(**BINARY), Loss("logistic"), margins, labels)
    values = [each.value for each in found.candidates()]
    assert values[1] == -np.inf
    assert np.isfinite([values[0], values[2]]).all()
    assert np.isnan(found.objectives[1])


@pytest.mark.parametrize("hosts", [1, 2])
def test_multiclass_against_scikit_learn(configure, hosts):
    """Two models of four classes each, side by side in eight columns."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 90).astype(np.float32)
    margins = random.normal(size=(90, 8)).astype(np.float32)
    margins[np.arange(90), labels.astype(int)] += 1
    h = configure(predictor_type="multiclass_classifier", num_classes=4, accuracy_top_k=2)

    def work(cluster: Cluster):
        mine = slice(cluster.rank, None, hosts)
        found = assessed(h, Loss("softmax_loss"), margins[mine], labels[mine], cluster=cluster)
        return found.objectives, [found.metrics(i, 0.0) for i in range(2)]

    objectives, scores = on_hosts(hosts, work)[0]
    for i in range(2):
        own = margins[:, 4 * i : 4 * i + 4].astype(float)
        p = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
        assert objectives[i] == pytest.approx(oracle.log_loss(labels, p), rel=1e-5)
        assert scores[i]["multiclass_log_loss"] == pytest.approx(oracle.log_loss(labels, p), rel=1e-5)
        assert scores[i]["multiclass_accuracy"] == pytest.approx(np.mean(own.argmax(axis=1) == labels))
        assert scores[i]["multiclass_top_k_accuracy_2"] == pytest.approx(oracle.top_k_accuracy_score(labels, own, k=2))


def test_only_what_is_wanted(configure):
    """Between epochs there is no need of a sample, nor of metrics."""
    margins, labels = binary_rows()
    found = assessed(configure(**BINARY), Loss("logistic"), margins, labels, metrics=False, sample=False)
    assert found.metrics(0, 0.0) == {}
    regressor = configure(predictor_type="regressor")
    assert assessed(regressor, Loss("squared_loss"), margins, labels, metrics=False).metrics(0, 0.0) == {}
    names = list(assessed(regressor, Loss("squared_loss"), margins, labels).metrics(2, 0.0))
    assert names == ["mse", "absolute_loss", "rmse"]


def test_num_calibration_samples(configure):
    """A threshold of few rows: of 100 only 0, 16, 32, ... are looked at."""
    margins, labels = binary_rows()
    few = assessed(configure(**BINARY, num_calibration_samples=8), Loss("logistic"), margins, labels)
    expected = assessed(configure(**BINARY), Loss("logistic"), margins[::16], labels[::16])
    assert few.candidates() == expected.candidates()
    assert few.rows == 100


def test_names_and_thresholds():
    assert as_threshold("logistic", 0.0) == 0.5
    assert as_threshold("logistic", np.log(3)) == pytest.approx(0.75)
    assert as_threshold("hinge_loss", 1.25) == 1.25
    assert objective_name(Loss("logistic"), weighted=True) == "binary_classification_weighted_cross_entropy_objective"
    assert objective_name(Loss("softmax_loss"), weighted=True) == "multiclass_weighted_cross_entropy_objective"
    assert objective_name(Loss("hinge_loss"), weighted=True) == "weighted_hinge_loss_objective"
    assert objective_name(Loss("huber_loss"), weighted=False) == "huber_loss_objective"
    assert metric("train", "mse_objective").direction == metric("test", "rmse").direction == "minimize"
    assert metric("train", "dcg").direction == metric("test", "recall").direction == "maximize"


# when training ends


@pytest.mark.parametrize(
    ("losses", "improved", "over"),
    [
        ([1.0, 0.9, 0.8], [True, True, True], [False, False, False]),
        ([1.0, 1.1, 1.2], [True, False, False], [False, False, True]),
        ([1.0, 1.1, 0.5, 0.6, 0.7], [True, False, True, False, False], [False, False, False, False, True]),
        ([1.0, 0.95, 0.91], [True, True, True], [False, False, True]),  # improvements, and too small ones
        ([-0.8, -0.7, -0.95, -0.96, -0.97], [True, False, True, True, True], [False, False, False, False, True]),
        ([1.0, np.inf, np.inf], [True, False, False], [False, False, True]),
        ([np.inf, 1.0, 0.5], [False, True, True], [False, False, False]),
        ([0.0, 0.0, 0.0], [True, False, False], [False, False, True]),
    ],
)
def test_two_epochs_of_patience(losses, improved, over):
    """A tenth of the best loss is what counts; a criterion that is to grow comes negated."""
    stopping = EarlyStopping(2, 0.1)
    for loss, better, ends in zip(losses, improved, over, strict=True):
        assert stopping.improved(loss) == better
        assert stopping.is_over == ends


def test_the_models_of_the_best_epoch_are_kept():
    """Copies, in one place: memory does not grow with the epochs."""
    stopping = EarlyStopping(2, 0.1)
    assert stopping.kept is None
    weights, bias = np.ones((3, 2), np.float32), np.ones((1, 2), np.float32)
    stopping.keep(weights, bias, np.array([1.0, 2.0]))
    first = stopping.kept.weights
    weights[:] = 5
    assert stopping.kept.weights.tolist() == [[1, 1]] * 3
    stopping.keep(weights, bias * 7, np.array([0.5, 0.25]))
    assert stopping.kept.weights is first
    assert first.tolist() == [[5, 5]] * 3
    assert stopping.kept.bias.tolist() == [[7, 7]]
    assert stopping.kept.values.tolist() == [0.5, 0.25]
