"""The kernel that counts votes, beside Python's counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.knn._vote import vote
from algorithms.knn.tests.oracle import majority

LABELS = st.sampled_from([0.0, 1.0, 2.0, -1.5, 1e30])


@st.composite
def neighbourhoods(draw):
    """Labels of rows, and for some queries the numbers of the rows near to them."""
    labels = np.array(draw(st.lists(LABELS, min_size=1, max_size=30)), np.float32)
    n, k = draw(st.integers(0, 6)), draw(st.integers(1, len(labels)))
    orders = [draw(st.permutations(range(len(labels))))[:k] for _ in range(n)]
    return labels, np.array(orders, np.int64).reshape(n, k)


def answers(labels, numbers, classifier, distances=None, farthest=False):
    n, k = numbers.shape
    told = np.tile(np.arange(k, dtype=np.float32), (n, 1)) if distances is None else distances
    found = np.full(n, np.nan, np.float32)
    vote(labels, numbers, np.ascontiguousarray(told), classifier, farthest, found)
    return found


@given(neighbourhoods())
def test_the_most_frequent_label_of_several_the_nearest_ones(given):
    labels, numbers = given
    wanted = [majority(labels[row].tolist()) for row in numbers]
    assert answers(labels, numbers, True).tolist() == wanted


@given(neighbourhoods())
def test_the_most_frequent_label_of_several_the_farthest_ones(given):
    labels, numbers = given
    wanted = [majority(labels[row].tolist()[::-1]) for row in numbers]  # seen from the farthest, it is the nearest
    assert answers(labels, numbers, True, farthest=True).tolist() == wanted


@given(neighbourhoods())
def test_the_mean_in_float64(given):
    labels, numbers = given
    wanted = labels.astype(np.float64)[numbers].mean(axis=1).astype(np.float32)
    np.testing.assert_allclose(answers(labels, numbers, False), wanted, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 10, 100, 1000, 1024])
@pytest.mark.parametrize("classes", [1, 2, 7, 1000])
def test_many_neighbours_and_classes(k, classes):
    random = np.random.default_rng(k + classes)
    labels = random.integers(0, classes, 3000).astype(np.float32)
    numbers = random.permuted(np.tile(np.arange(3000), (5, 1)), axis=1)[:, :k].copy()
    assert answers(labels, numbers, True).tolist() == [majority(labels[row].tolist()) for row in numbers]
    wanted = labels[numbers].mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(answers(labels, numbers, False), wanted, rtol=1e-6)


def test_zero_has_one_sign():
    """-0.0 and 0.0 are one label."""
    labels, numbers = np.array([1, -0.0, 0.0, 1, 0.0], np.float32), np.arange(5)[None]
    assert answers(labels, numbers, True).tolist() == [0.0]


def test_equally_near_rows_with_equal_votes():
    """Two labels, one vote each, both rows at distance 1: the answer is one of them, and always the same one."""
    labels = np.array([3, 5], np.float32)
    same = np.ones((1, 2), np.float32)
    [found] = set(answers(labels, np.array([[0, 1]]), True, same).tolist())
    assert found in (3, 5)
