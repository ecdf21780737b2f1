"""Random cut trees grow as the paper says: beside a slow twin, by the odds of their cuts, and whatever the points."""

import numpy as np
import pytest

from algorithms.random_cut_forest.forest import grow
from algorithms.random_cut_forest.tests import oracle


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("d", [1, 5, 30])
def test_trees_are_the_twins(d):
    points = normal(3, 50, d).round(1)  # with one feature there are duplicates
    forest = grow(points, 7, 1)
    uniform = np.random.default_rng(7).random((3, 50, 2))
    for ours, sample, places in zip(oracle.trees(forest), points, uniform, strict=True):
        assert oracle.shape(ours) == oracle.shape(oracle.grown(sample, places))


def test_a_seed_gives_one_forest_whatever_the_threads():
    points = normal(9, 40, 4)
    one, two, other = grow(points, 5, 1), grow(points, 5, 3), grow(points, 6, 1)
    for name, array in one.arrays().items():
        assert array.tobytes() == two.arrays()[name].tobytes(), name
    assert one.value.tobytes() != other.value.tobytes()


def test_a_tree_has_all_its_points():
    points = normal(4, 64, 3)
    grown = grow(points, 0, 1).points
    for tree, sample in zip(grown, points, strict=True):
        assert sorted(map(tuple, tree)) == sorted(map(tuple, sample))


def test_the_points_given_stay():
    points = normal(4, 64, 3)
    before = points.copy()
    grow(points, 0, 1)
    assert np.array_equal(points, before)


def test_boxes_are_those_of_the_points():
    forest = grow(normal(3, 40, 5), 0, 1)
    at = 0
    for root in oracle.trees(forest):
        nodes = [root]
        while nodes:
            node = nodes.pop()
            if node.left is not None:
                low, high = node.points.min(axis=0), node.points.max(axis=0)
                assert np.array_equal(forest.boxes[at, :, :5], [low, high])
                assert forest.sides[at] == pytest.approx((high.astype(float) - low).sum())
                at += 1
                nodes += [node.right, node.left]
    assert at == len(forest.sides)


@pytest.mark.parametrize(("values", "depth"), [([1, 2, 3], 3), ([1, 1, 1], 1), ([1, 1, 2], 2), ([4], 1)])
def test_depth_counts_nodes(values, depth):
    """Three leaves: the hosted service's log says 3."""
    forest = grow(np.array(values, np.float32).reshape(1, -1, 1), 0, 1)
    assert forest.depths.tolist() == [depth]
    assert forest.num_nodes.tolist() == [2 * len(set(values)) - 1]


def test_a_features_odds_are_its_side():
    """Sides 1, 2 and 5 of 4,000 boxes: chi-square with 2 degrees of freedom, 13.8 at one in a thousand."""
    box = np.array([[0, 0, 0], [1, 2, 5], [0.5, 1, 2]], np.float32)
    forest = grow(np.tile(box, (4000, 1, 1)), 0, 1)
    roots = np.cumsum(forest.num_nodes) - forest.num_nodes
    seen = np.bincount(forest.feature[roots], minlength=3)
    wanted = 4000 * np.array([1, 2, 5]) / 8
    assert ((seen - wanted) ** 2 / wanted).sum() < 13.8


def test_a_cut_is_uniform_in_its_side():
    forest = grow(np.tile(np.array([[-3], [1]], np.float32), (4000, 1, 1)), 0, 1)
    seen, _ = np.histogram(forest.value[forest.feature == 0], 8, (-3, 1))
    assert seen.sum() == 4000
    assert ((seen - 500) ** 2 / 500).sum() < 24.3  # 7 degrees of freedom, one in a thousand


@pytest.mark.parametrize("low", [0.0, 1.0, -1.0, 3e38, -3e38, 1e-45, -1e-45, 16777216.0])
def test_neighbouring_values_are_parted(low):
    low = np.float32(low)
    pair = np.array([low, np.nextafter(low, np.float32(np.inf))], np.float32)
    forest = grow(np.tile(pair[:, None], (50, 1, 1)), 0, 1)
    assert forest.num_nodes.tolist() == [3] * 50
    assert (forest.value[forest.feature == 0] == low).all()


def test_a_long_chain():
    """Each value twice the last: nearly every cut parts one point, and no stack overflows."""
    points = np.ldexp(np.float32(1), np.arange(-148, 128)).astype(np.float32).reshape(1, -1, 1)
    forest = grow(points, 0, 1)
    assert forest.num_nodes.tolist() == [2 * 276 - 1]
    assert forest.depths[0] > 80
    np.testing.assert_allclose(
        forest.scores(points[0], 1), oracle.attributions(forest, points[0]).sum(axis=1), rtol=1e-6
    )
