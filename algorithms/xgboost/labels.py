"""Which labels an objective, and each metric that scores it, can take: the library's own rules, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.metrics import CLASSES, RANKED, family
from algorithms.xgboost.parameters import default_metric, split_metrics

GREATEST_RELEVANCE = 31  # the gain 2 ** relevance - 1 must fit into 32 bits


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What a label must be.

    text: the rule in words
    of:   who wants it: `objective 'reg:gamma'`
    low, high: the bounds, `low` itself excluded if `above`; whole: integers only
    """

    text: str
    of: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    whole: bool = False

    def allows(self, labels: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n,) -> (n,): False for NaN and infinities."""
        allowed = np.isfinite(labels) & (labels <= self.high)
        allowed &= labels > self.low if self.above else labels >= self.low
        return allowed & (labels == np.floor(labels)) if self.whole else allowed

    def first_fault(self, labels: NDArray[np.float32]) -> int | None:
        """The first row whose label is refused; None if there is none."""
        refused = ~self.allows(labels)
        return int(refused.argmax()) if refused.any() else None

    def sentence(self, label: float) -> str:
        """`the label must be 0 or 1 for objective 'binary:hinge', got 2`."""
        return f"the label must be {self.text} for {self.of}, got {label:.9g}"


def label_rules(h: XGBoostHyperparameters) -> list[LabelRule]:
    """The objective's rule, then those of the metrics that want more; every label must obey all of them."""
    library, own = split_metrics(h)
    rules = [_of_objective(h)]
    for name in [*library, *own] or [default_metric(h)]:
        of, metric = f"eval_metric '{name}'", family(name)
        two_classes = metric in CLASSES and not h.objective.startswith("multi:")
        if two_classes or metric in ("map", "pre") or (metric == "aucpr" and h.objective.startswith("rank:")):
            rules.append(LabelRule("0 or 1", of, 0, 1, whole=True))
        elif metric in RANKED:
            rules.append(_relevance(h, of))
    return rules


def _of_objective(h: XGBoostHyperparameters) -> LabelRule:
    of = f"objective '{h.objective}'"
    match h.objective:
        case "binary:hinge" | "rank:map":
            return LabelRule("0 or 1", of, 0, 1, whole=True)
        case "binary:logistic" | "binary:logitraw":
            return LabelRule("0 or 1, or a probability between them,", of, 0, 1)
        case "reg:logistic":
            return LabelRule("in [0, 1]", of, 0, 1)
        case "multi:softmax" | "multi:softprob":
            last = (h.num_class or 0) - 1
            return LabelRule(f"an integer in [0, {last}] (num_class is {h.num_class})", of, 0, last, whole=True)
        case "rank:ndcg":
            return _relevance(h, of)
        case "reg:squaredlogerror":
            return LabelRule("greater than -1", of, -1, above=True)
        case "reg:gamma" | "survival:aft":
            return LabelRule("greater than 0", of, 0, above=True)
        case "count:poisson" | "reg:tweedie":
            return LabelRule("0 or greater", of, 0)
    # survival:cox too, a negative label is a censored time, and rank:pairwise, where only the order counts
    return LabelRule("a finite number", of)


def _relevance(h: XGBoostHyperparameters, of: str) -> LabelRule:
    if h.ndcg_exp_gain == 0:
        return LabelRule("0 or greater", of, 0)
    text = f"an integer in [0, {GREATEST_RELEVANCE}] (unless ndcg_exp_gain is 0)"
    return LabelRule(text, of, 0, GREATEST_RELEVANCE, whole=True)
