"""XGBoost's old binary format, which its versions up to 1.7 wrote and those after 3.0 cannot read, as UBJSON.

The file is C structs as they lay in memory, little-endian, each followed by what it counts. Layouts: `src/learner.cc`,
`src/gbm/gbtree_model.h`, `src/gbm/gblinear_model.h` and `include/xgboost/tree_model.h` of XGBoost 0.72 to 1.7.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.xgboost import ubjson, upgrade
from formats import FormatError

# base_score, num_feature, num_class, contain_extra_attrs, contain_eval_metrics, the version, num_target
_LEARNER = struct.Struct("<f I i i i I I I 104x")
# num_trees, num_parallel_tree (num_roots before 1.6), ..., size_leaf_vector
_FOREST = struct.Struct("<i i 20x i 128x")
_LINEAR = struct.Struct("<I i 128x")  # num_feature, num_output_group
_TREE = struct.Struct("<i i i 4x i i 124x")  # num_roots, num_nodes, num_deleted, ..., num_feature, size_leaf_vector
_NODE = np.dtype([("parent", "<u4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("value", "<f4")])
_STATISTICS = np.dtype([("gain", "<f4"), ("hessian", "<f4"), ("weight", "<f4"), ("leaves", "<i4")])
_LENGTH = struct.Struct("<Q")
_DELETED = 0xFFFFFFFF  # the split of a node that was pruned
_BIT = 0x80000000  # of a split: missing goes left; of a parent: the node is its left child

# The parameters' struct, after b"binf" or not, and the length and first letters of the objective's name.
_BEGINNING = re.compile(rb"(?:binf)?.{136}.\0{7}[a-z]+:", re.DOTALL)
_RENAMED = {"reg:linear": "reg:squarederror"}
# What the library must find beside these objectives' names. Empty, it is the defaults; none changes a prediction.
_PARAMETERS = {
    "count:poisson": "poisson_regression_param",
    "reg:tweedie": "tweedie_regression_param",
    "survival:aft": "aft_loss_param",
}
# Attributes that are no one's but the format's own: the objective's and the process's settings.
_SETTINGS = re.compile(r"count_poisson_max_delta_step|objective|metrics|SAVED_PARAM_.*")


def is_binary(content: bytes) -> bool:
    """Whether a file begins as the old binary format does."""
    return _BEGINNING.match(content) is not None


def to_ubjson(content: bytes) -> bytes:
    """The same model as XGBoost 1.7 would save it in UBJSON. Raises FormatError."""
    return ubjson.dump(document(content))


def document(content: bytes) -> dict[str, Any]:
    """The model by the schema of XGBoost 1.7: objects as dict, numbers of nodes as arrays. Raises FormatError."""
    scan = _Scan(content)
    base, width, classes, has_attributes, has_metrics, major, minor, targets = scan.struct(_LEARNER)
    written = scan.text()
    objective = _RENAMED.get(written.removeprefix("gpu:"), written.removeprefix("gpu:"))
    groups = max(classes, targets, 1)
    booster = _booster(scan, scan.text(), groups)
    attributes = {scan.text(): scan.text() for _ in range(scan.length())} if has_attributes else {}
    if major == 0:  # later versions keep these among the attributes, or not at all
        if objective == "count:poisson":
            scan.text()  # max_delta_step
        for _ in range(scan.length() if has_metrics else 0):
            scan.text()
    if scan.at != len(content):
        raise FormatError(f"expected the end of the model at byte {scan.at + 1}, found {len(content) - scan.at} more")
    attributes = {name: value for name, value in attributes.items() if not _SETTINGS.fullmatch(name)}
    parameters = {
        "base_score": str(upgrade.base_score(base, objective, (major, minor))),
        "boost_from_average": "0",  # it is known
        "num_class": str(classes),
        "num_feature": str(width),
        "num_target": str(max(targets, 1)),
    }
    learner = {
        "attributes": upgrade.rounds(attributes, booster, groups, (major, minor)),
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": booster,
        "learner_model_param": parameters,
        "objective": _objective(objective, classes),
    }
    return {"learner": learner, "version": [1, 7, 6]}


def _objective(name: str, classes: int) -> dict[str, Any]:
    if name.startswith("multi:"):
        return {"name": name, "softmax_multiclass_param": {"num_class": str(classes)}}
    return {"name": name} | ({_PARAMETERS[name]: {}} if name in _PARAMETERS else {})


def _booster(scan: _Scan, name: str, groups: int) -> dict[str, Any]:
    if name == "gblinear":
        scan.struct(_LINEAR)
        # the library takes one of no rounds for untrained, and its base score for unknown
        return {"model": {"boosted_rounds": 1, "weights": scan.vector()}, "name": name}
    if name not in ("gbtree", "dart"):
        raise FormatError(f"its booster must be gbtree, dart or gblinear, found '{name[:50]}'")
    count, parallel, size_leaf_vector = scan.struct(_FOREST)
    if size_leaf_vector != 0:
        raise FormatError(f"its leaves must be numbers, found vectors of {size_leaf_vector}, which no XGBoost predicts")
    trees: list[dict[str, Any]] = []
    while len(trees) < count:
        trees.append(_tree(scan, len(trees)))
    if groups > max(len(trees), 1):  # the library reserves memory for all that it is told of
        raise FormatError(f"it is damaged: it has {groups} classes or targets and {len(trees)} trees")
    step = max(parallel, 1) * groups
    model = {
        "gbtree_model_param": {
            "num_parallel_tree": str(max(parallel, 1)),
            "num_trees": str(len(trees)),
            "size_leaf_vector": "0",
        },
        "iteration_indptr": [*range(0, len(trees), step), len(trees)],  # where each round begins
        "tree_info": scan.array(np.dtype("<i4"), len(trees)).tolist(),
        "trees": trees,
    }
    if name == "gbtree":
        return {"model": model, "name": name}
    drop = scan.vector().tolist() if trees else []
    return {"gbtree": {"model": model, "name": "gbtree"}, "name": name, "weight_drop": drop}


def _tree(scan: _Scan, number: int) -> dict[str, Any]:
    roots, n, deleted, width, size_leaf_vector = scan.struct(_TREE)
    if roots != 1 or n < 1 or size_leaf_vector != 0:
        raise FormatError(f"tree {number} is damaged: it has {roots} roots, {n} nodes and leaves of {size_leaf_vector}")
    nodes = scan.array(_NODE, n)
    statistics = scan.array(_STATISTICS, n)
    if int((nodes["split"][1:] == _DELETED).sum()) != deleted:
        raise FormatError(f"tree {number} is damaged: its deleted nodes are not {deleted}")
    parents = (nodes["parent"] & ~np.uint32(_BIT)).astype(np.int32)
    if not (parents[1:] < n).all():  # those of deleted nodes too: the library follows them
        raise FormatError(f"tree {number} is damaged: it has {n} nodes and a parent beyond")
    nothing = np.empty(0, np.int32)
    return {
        "base_weights": statistics["weight"],
        "categories": nothing,
        "categories_nodes": nothing,
        "categories_segments": np.empty(0, np.int64),
        "categories_sizes": np.empty(0, np.int64),
        "default_left": (nodes["split"] >= _BIT).astype(np.uint8),
        "id": number,
        "left_children": nodes["left"],
        "loss_changes": statistics["gain"],
        "parents": parents,
        "right_children": nodes["right"],
        "split_conditions": nodes["value"],  # of a leaf its answer
        "split_indices": (nodes["split"] & ~np.uint32(_BIT)).astype(np.int32),
        "split_type": np.zeros(n, np.uint8),
        "sum_hessian": statistics["hessian"],
        "tree_param": {
            "num_deleted": str(deleted),
            "num_feature": str(width),
            "num_nodes": str(n),
            "size_leaf_vector": "0",
        },
    }


class _Scan:
    """A place in the bytes; each method reads on from there, and nothing that is not all there."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 4 if content.startswith(b"binf") else 0

    def take(self, size: int) -> bytes:
        part = self.content[self.at : self.at + size]
        if len(part) < size:
            raise FormatError(f"the model is cut short or damaged: {size} bytes must follow byte {self.at}")
        self.at += size
        return part

    def struct(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size))

    def array(self, kind: np.dtype[Any], length: int) -> NDArray[Any]:
        return np.frombuffer(self.take(length * kind.itemsize), kind)

    def length(self) -> int:
        (found,) = self.struct(_LENGTH)
        return int(found)

    def vector(self) -> NDArray[np.float32]:
        return self.array(np.dtype("<f4"), self.length())

    def text(self) -> str:
        try:
            return self.take(self.length()).decode()
        except UnicodeDecodeError:
            raise FormatError(f"the model is damaged: the text before byte {self.at + 1} is not UTF-8") from None
