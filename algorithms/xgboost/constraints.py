"""What must hold between hyperparameters, and between them and the data's width, in the hosted container's words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from algorithms.errors import UserError
from algorithms.xgboost.metrics import METRICS, NAMES, misfit, spelling

if TYPE_CHECKING:
    from algorithms.xgboost.hyperparameters import XGBoostHyperparameters

# the tree method that an updater belongs to; the library has only the first of each today
GROWERS = {
    "grow_colmaker": "exact",
    "grow_histmaker": "approx",
    "grow_quantile_histmaker": "hist",
    "distcol": "exact",
    "grow_gpu": "exact",
    "grow_local_histmaker": "approx",
    "grow_skmaker": "approx",
    "grow_fast_histmaker": "hist",
    "grow_gpu_hist": "hist",
}
LINEAR = ("shotgun", "coord_descent", "gpu_coord_descent")
UPDATES = ("refresh", "prune")
PROBABILITY, POSITIVE = ("binary:logistic", "reg:logistic"), ("reg:gamma", "reg:tweedie", "count:poisson")
SURVIVAL = ("survival:cox", "survival:aft")


def tree_method(h: XGBoostHyperparameters) -> str:
    """The tree method in the current library's terms: exact, approx or hist; an updater overrides `tree_method`."""
    for updater in h.updater or ():
        if updater in GROWERS:
            return GROWERS[updater]
    return {"auto": "hist", "gpu_hist": "hist"}.get(h.tree_method, h.tree_method)


def faults(h: XGBoostHyperparameters) -> list[str]:
    """A sentence for each rule between hyperparameters that is broken."""
    found = [*_task(h), *_metrics(h), *_linear(h)]
    return found if h.booster == "gblinear" else [*found, *_trees(h)]


def check_width(h: XGBoostHyperparameters, width: int) -> None:
    """Raises UserError where the constraints are not those of `width` features."""
    monotone = h.monotone_constraints or ()
    if monotone and len(monotone) != width:
        raise UserError(
            f"hyperparameter 'monotone_constraints' must have one value for each of the {width} features of the "
            f"training data, got {len(monotone)}"
        )
    last = max((feature for group in h.interaction_constraints or () for feature in group), default=-1)
    if last >= width:
        raise UserError(
            f"hyperparameter 'interaction_constraints' must name features in [0, {width - 1}], as the training data "
            f"have {width}, got {last}"
        )


def _task(h: XGBoostHyperparameters) -> Iterator[str]:
    multiclass = h.objective.startswith("multi:")
    if multiclass and h.num_class is None:
        yield "Require input for parameter 'num_class' for multi-classification"
    if not multiclass and h.num_class is not None:
        yield "Do not need to setup parameter 'num_class' for learning task other than multi classification."
    if h.objective == "reg:quantileerror" and h.quantile_alpha is None:
        yield "hyperparameter 'quantile_alpha' is required for objective 'reg:quantileerror'"
    if h.base_score is not None:
        if h.objective in PROBABILITY and not 0 < h.base_score < 1:
            yield f"hyperparameter 'base_score' must be in (0, 1) for objective '{h.objective}', got {h.base_score:g}"
        if h.objective in (*POSITIVE, *SURVIVAL) and not h.base_score > 0:
            yield f"hyperparameter 'base_score' must be > 0 for objective '{h.objective}', got {h.base_score:g}"
    if h.dsplit == "col":
        yield "hyperparameter 'dsplit' must be row, since hosts share the rows of a channel, got 'col'"


def _metrics(h: XGBoostHyperparameters) -> Iterator[str]:
    outputs = len(h.quantile_alpha or ()) if h.objective == "reg:quantileerror" else 1
    for name in h.eval_metric or ():
        if spelling(name) is None:
            yield f"hyperparameter 'eval_metric' has the unknown metric '{_short(name)}'; {_known(name, NAMES)}"
        elif sentence := misfit(name, h.objective, outputs):
            yield sentence
    tuned = h.tuning_objective_metric
    channel, _, name = tuned.partition(":")
    if tuned and (name not in NAMES or channel not in ("train", "validation")):
        names = frozenset(f"{metric.channel}:{metric.name}" for metric in METRICS)
        unknown = f"'{_short(tuned)}'; {_known(tuned, names)}"
        yield f"hyperparameter '_tuning_objective_metric' is the unknown metric {unknown}"
    elif tuned and name not in (h.eval_metric or ()) and (sentence := misfit(name, h.objective, outputs)):
        yield sentence


def _linear(h: XGBoostHyperparameters) -> Iterator[str]:
    if h.booster != "gblinear":
        return
    updater = (h.updater or ["shotgun"])[-1]
    if h.updater is not None and (len(h.updater) != 1 or updater not in LINEAR):
        yield "Linear updater should be one of these options: 'shotgun', 'coord_descent'."
    elif updater == "shotgun" and h.feature_selector in ("random", "greedy", "thrifty"):
        yield f"feature_selector '{h.feature_selector}' can only be used with updater 'coord_descent'"
    if h.process_type == "update":
        yield "process_type 'update' can only be used with a booster of trees, got booster 'gblinear'"
    for name in ("monotone_constraints", "interaction_constraints"):
        if getattr(h, name):
            yield f"{name} can be used only with a booster of trees, got booster 'gblinear'"


def _trees(h: XGBoostHyperparameters) -> Iterator[str]:
    updaters = h.updater or []
    growers = [name for name in updaters if name in GROWERS]
    if wrong := [name for name in updaters if name in LINEAR]:
        yield f"updater '{wrong[0]}' can only be used with booster 'gblinear', got booster '{h.booster}'"
    elif h.process_type == "update":
        if not updaters or any(name not in UPDATES for name in updaters):
            yield "process_type 'update' can only be used with updater 'refresh' and 'prune'"
        return
    elif len(growers) > 1:
        yield f"Only one tree grow plugin can be selected, got {', '.join(growers)}"
    elif updaters and updaters[0] not in GROWERS:
        yield f"updater must begin with the one that grows a tree, such as grow_colmaker, got '{updaters[0]}'"
    if tree_method(h) == "exact":
        if h.max_depth == 0:
            yield "hyperparameter 'max_depth' must be greater than 0 for tree_method 'exact', got 0"
        if h.sampling_method == "gradient_based":
            yield "sampling_method 'gradient_based' can only be used with tree_method 'hist' or 'approx', got 'exact'"


def _known(name: str, names: frozenset[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(names)[:60])}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
