"""Whether a model's document holds together: every index in it points at something.

The library trusts a model that it loads, and ends the process, then or at some prediction, where it must not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats import FormatError

_PER_NODE = (
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "default_left",
    "loss_changes",
    "sum_hessian",
)
_INT32 = np.iinfo(np.int32)


def check(document: Any) -> None:
    """Raises FormatError for a document, JSON or UBJSON, that no XGBoost has written whole."""
    try:
        learner = document["learner"]
        parameters = learner["learner_model_param"]
        width = _whole(parameters["num_feature"], 1)
        classes = _whole(parameters["num_class"], 0)
        groups = max(1, classes, _whole(parameters.get("num_target", "1"), 0))
        _check_names(learner, width)
        booster = learner["gradient_booster"]
        match booster["name"]:
            case "gblinear":
                weights = _numbers(booster["model"]["weights"])
                _require(len(weights) == (width + 1) * groups, "number of weights")
            case "gbtree":
                _check_trees(booster["model"], width, groups)
            case "dart":
                _check_trees(booster["gbtree"]["model"], width, groups)
                _require(
                    len(_numbers(booster["weight_drop"])) == len(booster["gbtree"]["model"]["trees"]), "weight_drop"
                )
            case other:
                raise FormatError(f"its booster must be gbtree, dart or gblinear, found '{other}'")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"it is no XGBoost model, or damaged: {type(error).__name__} {error}") from None


def _check_names(learner: dict[str, Any], width: int) -> None:
    for name in ("feature_names", "feature_types"):
        found = learner.get(name, [])
        _require(isinstance(found, list) and len(found) in (0, width), name)
        _require(all(isinstance(each, str) for each in found), name)
    attributes = learner.get("attributes", {})
    _require(all(isinstance(value, str) for value in attributes.values()), "attributes")


def _check_trees(model: dict[str, Any], width: int, groups: int) -> None:
    trees = model["trees"]
    _require(len(trees) == _whole(model["gbtree_model_param"]["num_trees"], 0), "num_trees")
    # the library reserves memory for all classes and targets that it is told of; a tree of vectors has all of them
    vectors = any(_whole(tree["tree_param"].get("size_leaf_vector", "0"), 0) > 1 for tree in trees)
    _require(vectors or groups <= max(1, len(trees)), "number of classes or targets")
    group = _integers(model["tree_info"], 0, groups - 1)
    _require(len(group) == len(trees), "tree_info")
    if "iteration_indptr" in model:
        rounds = _integers(model["iteration_indptr"], 0, len(trees))
        _require(
            len(rounds) > 0 and bool(rounds[0] == 0 and rounds[-1] == len(trees) and (np.diff(rounds) >= 0).all()),
            "iteration_indptr",
        )
    _require(_whole(model["gbtree_model_param"].get("num_parallel_tree", "1"), 0) >= 0, "num_parallel_tree")
    for i, tree in enumerate(trees):
        try:
            _check_tree(tree, width, groups)
        except FormatError as error:
            raise FormatError(f"tree {i + 1} of {len(trees)}: {error}") from None
        _require(_whole(tree.get("id", i), i) == i, f"id of tree {i + 1}")


def _check_tree(tree: dict[str, Any], width: int, groups: int) -> None:
    """Every node but the root is the child of one: from the root each path ends at a leaf, and inside the arrays."""
    nodes = _whole(tree["tree_param"]["num_nodes"], 1)
    size = _whole(tree["tree_param"].get("size_leaf_vector", "0"), 0)
    _require(size in (0, 1, groups), "size_leaf_vector")
    if size > 1 and "leaf_weights" not in tree:
        raise FormatError("it has leaves of vectors as XGBoost wrote them before 3.1, which it cannot read any more")
    left = _integers(tree["left_children"], -1, nodes - 1)
    right = _integers(tree["right_children"], -1, nodes - 1)
    parents = _integers(tree["parents"], -1, _INT32.max)
    features = _integers(tree["split_indices"], 0, _INT32.max)
    _require(len(left) == nodes, "left_children")
    for name in _PER_NODE:
        _require(len(_numbers(tree[name])) == nodes, name)
    inner = np.flatnonzero(left >= 0)
    children = np.concatenate([left[inner], right[inner]])
    _require(bool((children > 0).all() and len(np.unique(children)) == len(children)), "children")
    _require(bool((parents[left[inner]] == inner).all() and (parents[right[inner]] == inner).all()), "parents")
    _require(
        bool(((parents[1:] >= 0) & (parents[1:] < nodes)).all()), "parents"
    )  # of deleted nodes too: it follows them
    _require(bool((features[inner] < width).all()), "split_indices")
    _require(len(_numbers(tree["base_weights"])) in (nodes, nodes * size), "base_weights")
    if size > 1:
        leaves = len(_numbers(tree["leaf_weights"])) // size
        _require(bool((right[left < 0] < leaves).all()), "leaf_weights")
    _check_categories(tree, nodes)


def _check_categories(tree: dict[str, Any], nodes: int) -> None:
    if "split_type" not in tree:  # before XGBoost 1.3
        return
    kinds = _integers(tree["split_type"], 0, 1)
    _require(len(kinds) == nodes, "split_type")
    owners = _integers(tree["categories_nodes"], 0, nodes - 1)
    starts = _integers(tree["categories_segments"], 0, _INT32.max)
    sizes = _integers(tree["categories_sizes"], 0, _INT32.max)
    categories = _integers(tree["categories"], 0, 2**24)
    _require(len(owners) == len(starts) == len(sizes), "categories_nodes")
    _require(bool((starts + sizes <= len(categories)).all()), "categories_sizes")
    _require(np.array_equal(owners, np.flatnonzero(kinds)), "categories_nodes")


def _numbers(values: Any) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.asarray(values)
    if array.size == 0:
        return np.empty(0)
    _require(array.ndim == 1 and array.dtype.kind in "biuf", "type of an array")
    return array


def _integers(values: Any, low: int, high: int) -> NDArray[np.int64]:
    array = _numbers(values)
    _require(array.size == 0 or array.dtype.kind in "biu", "type of an array")
    whole = array.astype(np.int64)
    _require(bool(((low <= whole) & (whole <= high)).all()), f"a value outside {low}..{high}")
    return whole


def _whole(value: Any, least: int) -> int:
    """A parameter: its text in JSON and UBJSON."""
    number = int(value)
    _require(least <= number <= _INT32.max, f"a parameter of {number}")
    return number


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise FormatError(f"it is damaged: {what} cannot be")
