"""A model as releases before 3.1 understand it too: with one base score, written as one number.

Since 3.1 the library writes a list, with a number for each class or quantile. Older releases, those of the hosted
containers among them, open such a file without a word, take the list for some other number, and answer wrongly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.xgboost import ubjson, upgrade

BY_MARGIN = (0, 90)  # a version that saved the margin


def portable(content: bytes) -> bytes:
    """The model in UBJSON, as the library wrote it, with `base_score` as one number. It answers the same.

    Several are folded into the trees. A model that has no place for them, of no trees or of leaves that are vectors, is
    left as it is: none is trained here.
    """
    document = ubjson.parse(content)
    learner = document["learner"]
    parameters, booster = learner["learner_model_param"], learner["gradient_booster"]
    scores = parameters["base_score"].strip("[]").split(",")
    if len(scores) == 1 or booster["name"] == "gblinear":
        parameters["base_score"] = scores[0]  # a linear booster adds the first one to every class
        return ubjson.dump(document)
    objective = learner["objective"]["name"]
    margins = np.array([upgrade.margin(np.float32(score), objective) for score in scores])
    if not _folded(booster, margins):
        return content
    parameters["base_score"] = str(upgrade.base_score(0.0, objective, BY_MARGIN))
    return ubjson.dump(document)


def _folded(booster: dict[str, Any], margins: NDArray[np.float32]) -> bool:
    """Adds each class's margin to the leaves of its first tree; false if there is no place for it.

    The library adds up in float32, the margin first and then tree by tree, so that the sums are the same to the bit.
    Those of dart are rounded otherwise, since its trees have weights.
    """
    model = booster.get("gbtree", booster)["model"]
    groups, trees = np.asarray(model["tree_info"]).tolist(), model["trees"]
    vectors = any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees)
    if vectors or not set(range(len(margins))) <= set(groups):
        return False
    for group, margin in enumerate(margins):
        first = groups.index(group)
        tree = trees[first]
        weight = np.float32(booster["weight_drop"][first] if "weight_drop" in booster else 1)
        values = tree["split_conditions"].astype(np.float32)  # of a leaf it is the value
        with np.errstate(all="ignore"):
            values[tree["left_children"] == -1] += margin / weight
        if not np.isfinite(values).all():  # dart has dropped the tree until its weight was next to nothing
            return False
        tree["split_conditions"] = values
    return True
