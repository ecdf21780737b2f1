"""Which rows become the first centers: their probabilities, and rows that coincide."""

import numpy as np
import pytest
from scipy import sparse, stats

from algorithms.cluster import Cluster
from algorithms.kmeans.initialise import plus_plus_rows, uniform_rows

both_methods = pytest.mark.parametrize("choose", [uniform_rows, plus_plus_rows])
both_kinds = pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
LINE = np.array([[0], [1], [3], [3.5]], np.float32)
DRAWS = 4000


@both_kinds
@pytest.mark.parametrize("offset", [0, 1000])
def test_plus_plus_draws_by_squared_distance(kind, offset):
    """First row uniformly, then in proportion to the squared distance: probabilities of the 12 pairs, by hand."""
    D = (LINE - LINE.T).astype(np.float64) ** 2
    wanted = D / D.sum(axis=1, keepdims=True) / 4
    random, seen, X = np.random.default_rng(1), np.zeros((4, 4)), kind(LINE + np.float32(offset))
    for _ in range(DRAWS):
        first, second = plus_plus_rows(Cluster(), X, 2, random).ravel() - offset
        seen[LINE.ravel() == first, LINE.ravel() == second] += 1
    off = ~np.eye(4, dtype=bool)
    assert seen[off].sum() == DRAWS
    assert stats.chisquare(seen[off], wanted[off] * DRAWS).pvalue > 1e-3


@both_kinds
def test_random_draws_every_pair_alike(kind):
    random, seen, X = np.random.default_rng(1), np.zeros((4, 4)), kind(LINE)
    for _ in range(DRAWS):
        first, second = uniform_rows(Cluster(), X, 2, random).ravel()
        seen[LINE.ravel() == first, LINE.ravel() == second] += 1
    off = ~np.eye(4, dtype=bool)
    assert seen[off].sum() == DRAWS
    assert stats.chisquare(seen[off]).pvalue > 1e-3


@both_kinds
@pytest.mark.parametrize("seed", range(5))
def test_plus_plus_takes_different_values_first(kind, seed):
    """10 values, 20 rows each: all ten are taken before any comes twice."""
    values = (np.arange(20).reshape(10, 2) % 7 + np.arange(10)[:, None] * 3).astype(np.float32)
    X = kind(np.repeat(values, 20, axis=0))
    assert len(np.unique(plus_plus_rows(Cluster(), X, 10, np.random.default_rng(seed)), axis=0)) == 10
    assert len(plus_plus_rows(Cluster(), X, 25, np.random.default_rng(seed))) == 25


@both_methods
@both_kinds
@pytest.mark.parametrize("offset", [0, 1e4])
def test_no_row_is_taken_twice(choose, kind, offset):
    X = (np.random.default_rng(0).normal(size=(40, 3)) + offset).astype(np.float32)
    centers = choose(Cluster(), kind(X), 40, np.random.default_rng(0))
    assert sorted(map(tuple, centers)) == sorted(map(tuple, X))


@both_methods
@both_kinds
def test_rows_of_zeros(choose, kind):
    assert choose(Cluster(), kind(np.zeros((5, 3), np.float32)), 5, np.random.default_rng(0)).tolist() == [[0] * 3] * 5
