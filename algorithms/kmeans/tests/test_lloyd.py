"""Weighted Lloyd's method: by hand, then against scikit-learn from the same start."""

import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import KMeans

from algorithms.kmeans.lloyd import Lloyd, draw, plus_plus, uniform

LINE = np.array([[0.0], [1.0], [9.0], [10.0]])


def lloyd(plus_plus=True, max_iterations=300, tolerance=0.0):
    return Lloyd(plus_plus, max_iterations, tolerance)


def best(P, w, k, tries=20, **how):
    results = [lloyd(**how).reduce(P, w, k, np.random.default_rng(seed)) for seed in range(tries)]
    return min(results, key=lambda result: result[1])


@pytest.mark.parametrize(
    ("w", "k", "centers", "msd"),
    [
        ([1, 1, 1, 1], 2, [0.5, 9.5], 0.25),
        ([3, 1, 1, 1], 2, [0.25, 9.5], (3 / 16 + 9 / 16 + 2 / 4) / 6),
        ([1, 1, 1, 1], 1, [5], (25 + 16 + 16 + 25) / 4),
        ([1, 3, 0, 0], 1, [0.75], (9 / 16 + 3 / 16) / 4),
        ([1, 2, 3, 4], 4, [0, 1, 9, 10], 0),
        ([1, 1, 0, 0], 2, [0, 1], 0),
    ],
)
def test_by_hand(w, k, centers, msd):
    found, found_msd = best(LINE, np.array(w, float), k)
    assert np.sort(found.ravel()) == pytest.approx(centers)
    assert found_msd == pytest.approx(msd)


def test_one_iteration_by_hand():
    """On 0, 1, 9, 10 the six starts give these means after one assignment, an equal distance going to the first."""
    once = {(0, 1): (0, 20 / 3), (0, 9): (0.5, 9.5), (0, 10): (0.5, 9.5), (1, 9): (0.5, 9.5), (1, 10): (0.5, 9.5)}
    once[9, 10] = (10 / 3, 10)
    for seed in range(30):
        start = LINE[uniform(np.ones(4), 2, np.random.default_rng(seed))].ravel()
        centers, _ = lloyd(False, max_iterations=1).reduce(LINE, np.ones(4), 2, np.random.default_rng(seed))
        assert np.sort(centers.ravel()) == pytest.approx(once[tuple(np.sort(start))])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("plus_plus_init", [True, False])
def test_against_scikit_learn_from_the_same_start(seed, plus_plus_init):
    random = np.random.default_rng(seed)
    P, w = random.normal(size=(100, 5)), random.integers(1, 50, 100).astype(float)
    choose = plus_plus if plus_plus_init else lambda P, w, k, random: uniform(w, k, random)
    start = P[choose(P, w, 8, np.random.default_rng(seed))]
    oracle = KMeans(8, init=start, n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(P, sample_weight=w)
    centers, msd = lloyd(plus_plus_init).reduce(P, w, 8, np.random.default_rng(seed))
    np.testing.assert_allclose(centers, oracle.cluster_centers_, rtol=1e-9, atol=1e-9)
    assert msd == pytest.approx(oracle.inertia_ / w.sum())


def test_plus_plus_draws_by_weight_and_squared_distance():
    """First point by weight, second by weight times squared distance to it: 12 ordered pairs."""
    P, w, draws = np.array([[0.0], [1.0], [3.0], [3.5]]), np.array([1.0, 2.0, 1.0, 4.0]), 20_000
    D = (P - P.T) ** 2 * w
    wanted = (w / w.sum())[:, None] * D / D.sum(axis=1, keepdims=True)
    random, seen = np.random.default_rng(7), np.zeros((4, 4))
    for _ in range(draws):
        first, second = plus_plus(P, w, 2, random)
        seen[first, second] += 1
    assert np.trace(seen) == 0
    off = ~np.eye(4, dtype=bool)
    assert stats.chisquare(seen[off], wanted[off] * draws).pvalue > 1e-3


@pytest.mark.parametrize("w", [[0, 1, 0, 3], [5, 0, 0, 0], [0, 0, 0, 1e-300]])
def test_what_has_no_chance_is_never_drawn(w):
    w = np.array(w, float)
    random = np.random.default_rng(0)
    assert {draw(w, random) for _ in range(500)} == set(np.flatnonzero(w).tolist())


@pytest.mark.parametrize("choose", [plus_plus, lambda P, w, k, random: uniform(w, k, random)])
@pytest.mark.parametrize("seed", range(5))
def test_initial_points_differ_and_weightless_ones_come_last(choose, seed):
    P, w = np.array([[0.0], [0], [0], [5], [9]]), np.array([1.0, 1, 1, 1, 0])
    for k in range(1, 6):
        chosen = choose(P, w, k, np.random.default_rng(seed)).tolist()
        assert len(set(chosen)) == k
        assert k == 5 or 4 not in chosen


@pytest.mark.parametrize("plus_plus_init", [True, False])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_duplicates_only(plus_plus_init, k):
    centers, msd = lloyd(plus_plus_init).reduce(np.full((5, 2), 3.0), np.ones(5), k, np.random.default_rng(0))
    assert centers.tolist() == [[3, 3]] * k
    assert msd == 0


def test_tolerance_stops_early_and_none_does_not():
    """In 1-D from a bad start the loss falls slowly: tolerance 1 (a fall of less than all) stops at once."""
    P = np.random.default_rng(1).random((500, 1))
    losses = [
        lloyd(False, tolerance=tolerance).reduce(P, np.ones(500), 10, np.random.default_rng(3))[1]
        for tolerance in (1.0, 0.01, 0.0)
    ]
    assert losses[0] > losses[1] > losses[2]


def test_the_points_are_left_as_they_were():
    P = LINE.copy()
    lloyd().reduce(P, np.ones(4), 2, np.random.default_rng(0))
    assert P.tolist() == LINE.tolist()
