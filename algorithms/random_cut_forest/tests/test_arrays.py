"""A forest from its arrays is the same forest; damaged arrays are refused with a sentence."""

import numpy as np
import pytest

from algorithms.random_cut_forest.forest import Forest, grow


@pytest.fixture
def arrays():
    points = np.random.default_rng(0).normal(size=(4, 16, 3)).astype(np.float32)
    points[:, 12:] = points[:, :4]
    return {name: array.copy() for name, array in grow(points, 0, 1).arrays().items()}


def first(arrays, leaf):
    return int(np.flatnonzero((arrays["feature"] < 0) == leaf)[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_round_trip(arrays, threads):
    forest, again = Forest.of(arrays), Forest.of(Forest.of(arrays, threads).arrays(), threads)
    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    assert np.array_equal(forest.scores(rows, 1), again.scores(rows, 1))
    for name in Forest.__slots__:
        assert np.array_equal(getattr(forest, name), getattr(again, name)), name


@pytest.mark.parametrize("name", ["points", "num_nodes", "feature", "value", "mass"])
def test_each_array_must_be_there_of_its_type_and_shape(arrays, name):
    whole = arrays.pop(name)
    with pytest.raises(ValueError, match=f"the array '{name}' is missing"):
        Forest.of(arrays)
    for damaged in (whole.astype(np.float64), whole[None]):
        with pytest.raises(ValueError, match=f"'{name}' must have . dimensions of (float|int)32, got shape"):
            Forest.of(arrays | {name: damaged})
    with pytest.raises(ValueError, match="must"):
        Forest.of(arrays | {name: whole[:-1]})
    with pytest.raises(ValueError, match="must"):
        Forest.of(arrays | {name: whole[:0]})


@pytest.mark.parametrize("name", ["points", "value"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_must_be_finite(arrays, name, bad):
    arrays[name].flat[3] = bad
    with pytest.raises(ValueError, match=f"'{name}' must be finite"):
        Forest.of(arrays)


@pytest.mark.parametrize("count", [0, -1, 32, 2**31 - 1])
def test_numbers_of_nodes_have_bounds(arrays, count):
    arrays["num_nodes"][2] = count
    with pytest.raises(ValueError, match="'num_nodes' must be 1 to 31, got"):
        Forest.of(arrays)


def test_nodes_of_another_tree(arrays):
    arrays["num_nodes"] += np.array([2, -2, 0, 0], np.int32)
    with pytest.raises(ValueError, match="tree 0 is damaged: "):
        Forest.of(arrays)


@pytest.mark.parametrize("mass", [0, -1, 3, 100, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("leaf", [True, False])
def test_masses_must_add_up(arrays, mass, leaf):
    arrays["mass"][first(arrays, leaf)] = mass
    with pytest.raises(ValueError, match=r"tree 0 is damaged: (the masses|points of a leaf differ)"):
        Forest.of(arrays)


@pytest.mark.parametrize("feature", [3, 2**31 - 1, -2, -(2**31)])
def test_features_must_exist(arrays, feature):
    arrays["feature"][0] = feature
    with pytest.raises(ValueError, match="tree 0 is damaged: a cut's feature does not exist"):
        Forest.of(arrays)


def test_a_cut_too_many(arrays):
    arrays["feature"][arrays["num_nodes"][0] - 1] = 1
    with pytest.raises(ValueError, match="tree 0 is damaged: its nodes do not form a tree"):
        Forest.of(arrays)


def test_a_cut_too_few(arrays):
    arrays["feature"][0] = -1
    with pytest.raises(ValueError, match="tree 0 is damaged"):
        Forest.of(arrays)


def test_points_of_a_leaf_must_be_equal(arrays):
    heavy = int(np.flatnonzero((arrays["feature"] < 0) & (arrays["mass"] == 2))[0])
    at = int(arrays["mass"][:heavy][arrays["feature"][:heavy] < 0].sum())
    arrays["points"][0, at, 1] += 1
    with pytest.raises(ValueError, match="tree 0 is damaged: points of a leaf differ"):
        Forest.of(arrays)


@pytest.mark.parametrize("value", [-1e9, 1e9])
def test_a_cut_must_part(arrays, value):
    arrays["value"][0] = value
    with pytest.raises(ValueError, match="tree 0 is damaged: a cut does not lie between the points of its sides"):
        Forest.of(arrays)


def test_arbitrary_damage_is_refused_or_harmless(arrays):
    """Bytes changed at random: never a crash, and finite scores where it is not refused."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(5, 3)).astype(np.float32)
    refused = 0
    for _ in range(300):
        damaged = {name: array.copy() for name, array in arrays.items()}
        data = damaged[random.choice(sorted(damaged))].view(np.uint8).reshape(-1)
        data[random.integers(len(data))] = random.integers(256)
        try:
            forest = Forest.of(damaged)
        except ValueError:
            refused += 1
        else:
            assert np.isfinite(forest.scores(rows, 1)).all()
    assert refused > 200
