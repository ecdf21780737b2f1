"""The three-sigma rule and what is counted by it: by hand, then beside scikit-learn, then over hosts."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from algorithms.cluster import Cluster
from algorithms.random_cut_forest.metrics import ALL_NAMES, NAMES, anomalous, evaluated, limit, moments
from tests.hosts import on_hosts

BOTH = list(NAMES)
ONE_FAR = np.array([1] * 20 + [10], np.float32)  # mean 10 / 7, deviation 1.917: the limit is 7.179


def test_the_limit_by_hand():
    mean, deviation = moments(ONE_FAR, Cluster())
    assert mean == pytest.approx(10 / 7)
    assert deviation == pytest.approx(9 * np.sqrt(20) / 21)
    assert limit(mean, deviation) == pytest.approx(7.1784, abs=1e-4)
    assert moments(np.empty(0, np.float32), Cluster()) == (0, 0)


def test_metrics_by_hand():
    """One row is called anomalous, and is; another one, which is one, too, is missed."""
    labels = np.array([True] + [False] * 19 + [True])
    assert evaluated(ONE_FAR, labels, BOTH, Cluster()) == {
        "accuracy": 20 / 21,
        "precision": 1.0,
        "recall": 0.5,
        "f1": 2 / 3,
        "negative_precision": 19 / 20,
        "negative_recall": 1.0,
        "negative_f1": 38 / 39,
    }


def test_without_anomalies_nothing_is_divided_by_zero():
    found = evaluated(np.ones(5, np.float32), np.zeros(5, bool), BOTH, Cluster())
    assert (found["accuracy"], found["precision"], found["recall"], found["f1"]) == (1, 0, 0, 0)
    assert set(evaluated(np.empty(0, np.float32), np.empty(0, bool), BOTH, Cluster()).values()) == {0.0}


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
@pytest.mark.parametrize("value", [0, 0.1, 1.0000001, 3e38])
def test_equal_scores_are_no_anomalies(n, value):
    """However their mean is rounded."""
    scores = np.full(n, value, np.float32)
    assert not anomalous(scores, limit(*moments(scores, Cluster()))).any()


def test_a_limit_between_two_float32_numbers():
    one, next_one = np.float32(1), np.nextafter(np.float32(1), np.float32(2))
    assert anomalous(np.array([one, next_one]), 1 + 2.0**-25).tolist() == [False, True]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["accuracy"], {"accuracy", "f1"}),
        ([], {"f1"}),
        (BOTH, set(ALL_NAMES)),
        ([BOTH[1]], {*ALL_NAMES} - {"accuracy"}),
    ],
)
def test_f1_is_there_whatever_is_asked_for(asked, names):
    assert set(evaluated(ONE_FAR, ONE_FAR > 1, asked, Cluster())) == names


@pytest.mark.parametrize("seed", range(5))
def test_as_scikit_learn(seed):
    random = np.random.default_rng(seed)
    labels = random.random(2000) < 0.02
    scores = (random.normal(1, 0.1, 2000) + labels * random.normal(0.4, 0.3, 2000)).astype(np.float32)
    exact = scores.astype(np.float64)
    called = exact > exact.mean() + 3 * exact.std()
    precision, recall, f1, _ = precision_recall_fscore_support(labels, called, zero_division=0)
    found = evaluated(scores, labels, BOTH, Cluster())
    wanted = [accuracy_score(labels, called), precision[1], recall[1], f1[1], precision[0], recall[0], f1[0]]
    assert list(found) == list(ALL_NAMES)
    assert list(found.values()) == pytest.approx(wanted)


@pytest.mark.parametrize("share", [0, 1, 700])
def test_hosts_count_together(share):
    random = np.random.default_rng(0)
    scores = random.normal(1, 0.1, 2000).astype(np.float32) + (np.arange(2000) % 100 == 0)
    labels = scores > 1.5
    alone = evaluated(scores, labels, BOTH, Cluster())
    parts = [slice(0, share), slice(share, None)]
    hosts = on_hosts(
        2, lambda cluster: evaluated(scores[parts[cluster.rank]], labels[parts[cluster.rank]], BOTH, cluster)
    )
    assert hosts[0] == hosts[1] == pytest.approx(alone)
    assert alone["f1"] == 1
