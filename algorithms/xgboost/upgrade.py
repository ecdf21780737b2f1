"""What the library would misunderstand in an older model: its base score, and how many of its rounds answer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from formats import FormatError

BEST = "best_iteration"  # attribute: the last round that answers
LIMIT = "best_ntree_limit"  # attribute: how many trees of each class answer
DELETED = 2**31 - 1  # the feature of a node that was pruned
_LOGISTIC = ("binary:logistic", "reg:logistic")  # the margin is the logit of the base score
_LOG = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:aft", "survival:cox")  # its logarithm; of others itself


def base_score(stored: float, objective: str, version: tuple[int, int]) -> np.float32:
    """The base score from which the library gets the margin that the model was trained from.

    `stored` is what that version of XGBoost saved: before 1.0 the margin, later the base score. Of `binary:logitraw`
    the margin was the logit until 1.2, and is the base score itself now. Raises FormatError if it cannot be.
    """
    score = np.float32(stored)
    if not math.isfinite(score):
        raise FormatError(f"it is damaged: its base score is {stored}")
    if objective == "binary:logitraw" and (1, 0) <= version < (1, 3):
        return margin(score, "binary:logistic")
    if version >= (1, 0) or objective not in (*_LOGISTIC, *_LOG):
        return score
    if objective in _LOGISTIC:
        inverse = np.float32(1 / (1 + math.exp(-max(stored, -80.0))))
    else:
        inverse = np.float32(math.exp(max(-80.0, min(stored, 80.0))))
    # The inverse is rounded: of the scores around it, the one that gives back the very margin
    around = [inverse]
    for _ in range(2):
        around = [np.nextafter(around[0], np.float32(0)), *around, np.nextafter(around[-1], np.float32(np.inf))]
    return min(around, key=lambda each: abs(margin(each, objective) - score))


def margin(score: np.float32, objective: str) -> np.float32:
    """What the trees are added to, in float32, as the library computes it; infinite where the score is out of range."""
    if objective in _LOGISTIC:
        inside = 0 < score < 1
        return np.float32(-math.log(np.float32(1) / score - np.float32(1))) if inside else np.float32(np.inf)
    if objective in _LOG:
        return np.float32(math.log(score)) if score > 0 else np.float32(np.inf)
    return score


def rounds(
    attributes: dict[str, str], booster: dict[str, Any], groups: int, version: tuple[int, int]
) -> dict[str, str]:
    """The attributes, with `best_ntree_limit` where a model of that version must have one.

    Before 1.4 XGBoost loaded a model without it, and answered with all the trees; and before 1.6 it did not save how
    many of them make a round, so that `best_iteration` alone says nothing.
    """
    if BEST not in attributes or version >= (1, 4) or booster["name"] == "gblinear":
        return attributes
    trees = len(booster.get("gbtree", booster)["model"]["trees"])
    return {LIMIT: str(trees // groups)} | attributes


def mend(document: Any) -> bool:
    """Changes a model that XGBoost 1.0 to 1.4 saved as JSON so that the library understands it.

    Whether there was anything to change. Raises FormatError.
    """
    found = document.get("version")
    if not (isinstance(found, list) and found[:1] == [1] and found[1:2] in ([0], [1], [2], [3], [4])):
        return False
    try:
        _mend(document["learner"], (1, found[1]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"it is no XGBoost model, or damaged: {type(error).__name__} {error}") from None
    return True


def _mend(learner: dict[str, Any], version: tuple[int, int]) -> None:
    parameters, booster = learner["learner_model_param"], learner["gradient_booster"]
    parameters["base_score"] = str(base_score(float(parameters["base_score"]), learner["objective"]["name"], version))
    groups = max(1, int(parameters["num_class"]))
    learner["attributes"] = rounds(learner.get("attributes", {}), booster, groups, version)
    if booster["name"] == "gblinear":
        # one of no rounds is taken for untrained, and its base score for unknown
        booster["model"].setdefault("boosted_rounds", 1)
        return
    for tree in booster.get("gbtree", booster)["model"]["trees"]:  # 1.0 says that none is deleted
        tree["tree_param"]["num_deleted"] = str(tree["split_indices"].count(DELETED))
