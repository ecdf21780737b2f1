"""Scores and shares of a random cut forest: by hand, beside a slow twin, and what must hold whatever the data are."""

import numpy as np
import pytest

from algorithms.random_cut_forest.forest import Forest, grow, memory_needed
from algorithms.random_cut_forest.tests import oracle

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.float32(1e-45))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def column(*values):
    return np.array(values, np.float32)[:, None]


def one_tree(*values, seed=0):
    return grow(column(*values)[None], seed, 1)


def test_two_points_by_hand():
    """One cut between 0 and 10; log2(2) is 1."""
    forest = one_tree(0, 10)
    assert forest.feature.tolist() == [0, -1, -1]
    assert 0 <= forest.value[0] < 10
    assert forest.sides.tolist() == [10]
    # equal: 1 / (1 + log2 1); within: cut off at the leaf, 1 / 2; beyond, p = 30 / 40: 3/4 * 1 + 1/4 * 1/2
    np.testing.assert_allclose(forest.scores(column(0, 10, 5, 40, -30), 1), [1, 1, 0.5, 0.875, 0.875], rtol=1e-6)


def test_a_mass_by_hand():
    """Four points, three of them equal: log2(4) = 2; the heavy leaf lies at depth 1."""
    forest = one_tree(7, 3, 3, 3)
    assert forest.points[0, :, 0].tolist() == [3, 3, 3, 7]
    assert forest.mass.tolist() == [4, 3, 1]
    assert forest.num_nodes.tolist() == [3]
    assert forest.depths.tolist() == [2]
    np.testing.assert_allclose(forest.scores(column(3, 7), 1), [2 / (1 + np.log2(3)), 2], rtol=1e-6)


def test_features_by_hand():
    """A box of sides 1 and 3: x = (2, -4) lies 1 and 4 outside, p = 5 / 9, of which a fifth is the first feature's."""
    forest = grow(np.array([[[0, 0], [1, 3]]], np.float32), 0, 1)
    shares = forest.attributions(np.array([[2, -4]], np.float32), 1)[0]
    # the leaf that it comes to adds 4 / 9 * 1 / 2, in the ratio of the distances from its point
    point = forest.points[0, 0 if [2, -4][forest.feature[0]] <= forest.value[0] else 1]
    apart = np.abs([2, -4] - point)
    np.testing.assert_allclose(shares, np.array([1, 4]) / 9 + 2 / 9 * apart / apart.sum(), rtol=1e-6)


def test_points_all_alike():
    forest = grow(np.full((3, 8, 2), 4, np.float32), 0, 1)
    assert forest.num_nodes.tolist() == [1, 1, 1]
    rows = np.array([[4, 4], [4, 5]], np.float32)
    np.testing.assert_allclose(forest.scores(rows, 1), [1, 3], rtol=1e-6)
    np.testing.assert_allclose(forest.attributions(rows, 1), [[0.5, 0.5], [0, 3]], rtol=1e-6)


def test_trees_of_one_point_score_nothing():
    forest = grow(normal(5, 1, 3), 0, 1)
    assert forest.scores(forest.points[:, 0], 1).tolist() == [0] * 5
    assert not forest.attributions(normal(4, 3), 1).any()


def test_no_rows():
    forest = grow(normal(2, 4, 3), 0, 1)
    assert forest.scores(normal(0, 3), 2).shape == (0,)
    assert forest.attributions(normal(0, 3), 2).shape == (0, 3)


@pytest.mark.parametrize("d", [1, 3, 8, 9, 16, 20, 30, 40, 600])
def test_scores_are_the_twins(d):
    points = normal(4, 30, d)
    points[:, 20:] = points[:, :10]  # masses of 2
    forest = grow(points, 1, 1)
    rows = np.concatenate([2 * normal(40, d, seed=1), points[0], points[1, :5] + normal(5, d, seed=2) / 100])
    wanted = oracle.attributions(forest, rows)
    np.testing.assert_allclose(forest.scores(rows, 1), wanted.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(forest.attributions(rows, 1), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 5000])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_answer_depends_on_its_row_alone(count, threads):
    forest = grow(normal(6, 40, 5), 1, 1)
    rows = normal(5000, 5, seed=3)
    assert np.array_equal(forest.scores(rows[:count], threads), forest.scores(rows, 1)[:count])
    assert np.array_equal(forest.attributions(rows[:count], threads), forest.attributions(rows, 1)[:count])
    again = np.repeat(rows[:1], 11, axis=0)
    assert set(forest.scores(again, threads)) == {forest.scores(rows[:1], 1)[0]}


def test_the_order_of_points_does_not_matter():
    points = normal(5, 60, 4)
    mixed = points[:, np.random.default_rng(1).permutation(60)]
    one, other = grow(points, 3, 1), grow(mixed, 3, 1)
    rows = normal(50, 4, seed=2)
    assert np.array_equal(one.scores(rows, 1), other.scores(rows, 1))


def test_shares_sum_to_the_score():
    forest = grow(normal(20, 64, 12), 0, 1)
    rows = np.concatenate([3 * normal(100, 12, seed=1), forest.points[0]])
    shares = forest.attributions(rows, 2)
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), forest.scores(rows, 1), rtol=1e-6)


def test_the_feature_that_is_off_has_the_share():
    forest = grow(normal(50, 128, 6), 0, 1)
    row = np.zeros((1, 6), np.float32)
    row[0, 4] = 100
    shares = forest.attributions(row, 1)[0]
    assert shares[4] > 0.9 * shares.sum()


@pytest.mark.parametrize(
    "values",
    [
        (-LARGEST, 0, LARGEST),
        (1e30, 2e30, -3e38),
        (0, SMALLEST, 2 * SMALLEST),
        (1, np.nextafter(np.float32(1), np.float32(2)), 2),
        (-0.0, 0.0, 1e-30),
        (LARGEST, float(np.nextafter(np.float32(LARGEST), np.float32(0))), 1),
    ],
)
def test_all_finite_data_have_finite_scores(values):
    points = np.random.default_rng(0).choice(np.array(values, np.float32), (5, 20, 3))
    forest = grow(points, 0, 1)
    extremes = np.array([LARGEST, -LARGEST, 0, SMALLEST, 1], np.float32)
    rows = np.concatenate([points[0], np.random.default_rng(1).choice(extremes, (30, 3)).astype(np.float32)])
    scores = forest.scores(rows, 1)
    assert ((scores >= 0) & (scores <= np.log2(20) * (1 + 1e-6))).all()
    np.testing.assert_allclose(scores, oracle.attributions(forest, rows).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(forest.attributions(rows, 1).sum(axis=1), scores, rtol=1e-6)


def test_ten_thousand_features_of_huge_range():
    points = (3e38 * np.random.default_rng(0).uniform(-1, 1, (2, 4, 10_000))).astype(np.float32)
    forest = grow(points, 0, 1)
    rows = np.concatenate([points[0], -points[1]])
    np.testing.assert_allclose(forest.scores(rows, 1), oracle.attributions(forest, rows).sum(axis=1), rtol=1e-6)


def test_a_large_row_leaves_others_alone():
    forest = grow(normal(5, 50, 4), 0, 1)
    rows = normal(20, 4, seed=1)
    alone = forest.scores(rows, 1)
    rows[7] = 1e38
    scores = forest.scores(rows, 1)
    assert np.array_equal(np.delete(scores, 7), np.delete(alone, 7))
    assert scores[7] == pytest.approx(np.log2(50), rel=1e-6)


def test_outliers_that_no_subtree_matters_to():
    """Their weight falls below what is looked at long before a leaf."""
    forest = grow(normal(10, 200, 6), 0, 1)
    rows = 1e6 * normal(64, 6, seed=1)
    rows[::3] /= 1e6
    np.testing.assert_allclose(forest.scores(rows, 1), oracle.attributions(forest, rows).sum(axis=1), rtol=1e-6)


def test_memory_is_as_foretold():
    forest = grow(normal(7, 33, 11), 0, 1)
    assert forest.num_bytes == memory_needed(7, 33, 11)
    assert isinstance(forest, Forest)
