"""From the guide's hyperparameters to the parameters of the current library: what was renamed, what it uses."""

from __future__ import annotations

from typing import Any

import numpy as np

from algorithms.xgboost.constraints import GROWERS, tree_method
from algorithms.xgboost.hyperparameters import INT_MAX, XGBoostHyperparameters
from algorithms.xgboost.metrics import OWN, RANKED, family

FLOAT32 = np.finfo(np.float32)

OURS = {"num_round", "csv_weights", "early_stopping_rounds", "_tuning_objective_metric", "_kfold", "_num_cv_round"}
TREES = {
    *("gamma", "max_depth", "max_leaves", "min_child_weight", "max_delta_step", "subsample", "sampling_method"),
    *("colsample_bytree", "colsample_bylevel", "colsample_bynode", "tree_method", "grow_policy", "max_bin"),
    *("max_cached_hist_node", "num_parallel_tree", "monotone_constraints", "interaction_constraints"),
    *("process_type", "refresh_leaf"),
}
DART = {"sample_type", "normalize_type", "rate_drop", "one_drop", "skip_drop"}
LINEAR = {"feature_selector", "top_k"}
RANKING = {
    *("lambdarank_pair_method", "lambdarank_num_pair_per_sample", "lambdarank_normalization"),
    *("lambdarank_score_normalization", "lambdarank_unbiased", "lambdarank_bias_norm", "ndcg_exp_gain"),
}
OBJECTIVES = {  # parameter -> the beginnings of the objectives that use it
    "scale_pos_weight": ("reg:squarederror", "reg:linear", "reg:logistic", "binary:log", "reg:gamma"),
    "tweedie_variance_power": ("reg:tweedie",),
    "huber_slope": ("reg:pseudohubererror",),
    "quantile_alpha": ("reg:quantileerror",),
    "aft_loss_distribution": ("survival:aft",),
    "aft_loss_distribution_scale": ("survival:aft",),
    **dict.fromkeys(RANKING, ("rank:",)),
}
GONE = {  # name -> what became of it
    "lambda_bias": "the bias is not regularized",
    "dsplit": "hosts share the rows",
    "predictor": "the library has one predictor",
    "deterministic_histogram": "histograms are deterministic",
    "prob_buffer_row": "nothing is buffered",
    "use_dask_gpu_training": "the container chooses the device",
    "save_model_on_termination": "a job that is stopped always saves its model",
}


def library_parameters(h: XGBoostHyperparameters) -> tuple[dict[str, Any], list[str]]:
    """What `xgboost.train` takes, and a line to log for each name or value that has changed or is not used.

    `objective`, `booster` and `seed` are always there, the rest where the user has set it.
    """
    given = {name: value for name, value in h.values().items() if value is not None and name in _set(h) - OURS}
    parameters: dict[str, Any] = {"objective": h.objective, "booster": h.booster, "seed": h.seed} | given
    lines = [*_renamed(h, parameters), *_trees(h, parameters), *_unused(h, parameters)]
    library, own = split_metrics(h)
    parameters.pop("eval_metric", None)
    if library:
        parameters["eval_metric"] = library
    elif own:
        parameters["disable_default_eval_metric"] = 1
    if h.objective == "binary:logitraw" and not own and h.eval_metric is None and not h.tuning_objective_metric:
        lines.append("objective 'binary:logitraw' is scored by 'auc', since 'logloss' is not defined for raw scores")
    return {name: _written(name, value) for name, value in parameters.items()}, lines


def split_metrics(h: XGBoostHyperparameters) -> tuple[list[str], list[str]]:
    """The metrics asked for, the tuned one included: the library's, as it prints them, and ours.

    Both are empty where the library's default for the objective will do.
    """
    asked = [*(h.eval_metric or ())]
    if (tuned := h.tuning_objective_metric.partition(":")[2]) and tuned not in asked:
        asked.append(tuned)
    if not asked and h.objective == "binary:logitraw":
        asked = ["auc"]  # as the guide's library had it; the current default takes the raw score for a probability
    return (
        list(dict.fromkeys(_library_name(h, name) for name in asked if name not in OWN)),
        [name for name in asked if name in OWN],
    )


def watched_metric(h: XGBoostHyperparameters) -> str:
    """The metric that early stopping watches, as it is printed: the tuned one, the last asked for, or the default."""
    asked = [h.tuning_objective_metric.partition(":")[2]] if h.tuning_objective_metric else h.eval_metric
    if asked:
        return asked[-1] if asked[-1] in OWN else _library_name(h, asked[-1])
    return default_metric(h)


def default_metric(h: XGBoostHyperparameters) -> str:
    """The metric that training prints when none is asked for."""
    match h.objective:
        case "reg:squarederror" | "reg:linear" | "reg:logistic":
            return "rmse"
        case "rank:map" | "rank:ndcg" | "rank:pairwise":
            metric = "map" if h.objective == "rank:map" else "ndcg"
            rows = h.lambdarank_num_pair_per_sample or 32
            return metric if h.lambdarank_pair_method == "mean" else f"{metric}@{rows}"
        case "reg:tweedie":
            return _library_name(h, "tweedie-nloglik")
    return {
        "reg:squaredlogerror": "rmsle",
        "reg:pseudohubererror": "mphe",
        "reg:absoluteerror": "mae",
        "reg:quantileerror": "quantile",
        "reg:gamma": "gamma-deviance",
        "binary:logistic": "logloss",
        "binary:logitraw": "auc",
        "binary:hinge": "error",
        "count:poisson": "poisson-nloglik",
        "multi:softmax": "mlogloss",
        "multi:softprob": "mlogloss",
        "survival:cox": "cox-nloglik",
        "survival:aft": "aft-nloglik",
    }[h.objective]


def _library_name(h: XGBoostHyperparameters, name: str) -> str:
    return f"{name}@{h.tweedie_variance_power or 1.5:g}" if name == "tweedie-nloglik" else name


def _set(h: XGBoostHyperparameters) -> set[str]:
    """The guide's names of what the user has set."""
    return {type(h).model_fields[name].alias or name for name in h.model_fields_set}


def _renamed(h: XGBoostHyperparameters, parameters: dict[str, Any]) -> list[str]:
    lines = []
    if h.objective == "reg:linear":
        parameters["objective"] = "reg:squarederror"
        lines.append("objective 'reg:linear' is called 'reg:squarederror' now")
    if (silent := parameters.pop("silent", None)) is not None:
        if silent and h.verbosity is None:
            parameters["verbosity"] = 0
        lines.append(f"hyperparameter 'silent' is called 'verbosity' now: it is {parameters.get('verbosity', 1)}")
    for name, reason in GONE.items():
        if parameters.pop(name, None) is not None:
            lines.append(f"hyperparameter '{name}' has no effect any more: {reason}")
    return lines


def _trees(h: XGBoostHyperparameters, parameters: dict[str, Any]) -> list[str]:
    """Tree methods, updaters and bins, in the current library's names."""
    lines = []
    if h.booster == "gblinear":
        if h.updater == ["gpu_coord_descent"]:
            parameters["updater"] = ["coord_descent"]
            lines.append("updater 'gpu_coord_descent' is called 'coord_descent' now")
    else:
        if h.tree_method == "gpu_hist":
            parameters["tree_method"] = "hist"
            lines.append("tree_method 'gpu_hist' is called 'hist' now")
        if h.updater and h.process_type != "update":
            lines += _grown(h.updater, tree_method(h), parameters)
    if (eps := parameters.pop("sketch_eps", None)) is not None:
        if h.booster != "gblinear" and tree_method(h) == "approx" and h.max_bin is None:
            parameters["max_bin"] = min(max(round(1 / eps), 2), INT_MAX)
            lines.append(f"hyperparameter 'sketch_eps' is called 'max_bin' now: it is {parameters['max_bin']}")
        else:
            lines.append("hyperparameter 'sketch_eps' has no effect: only tree_method 'approx' without max_bin uses it")
    return lines


def _grown(updaters: list[Any], method: str, parameters: dict[str, Any]) -> list[str]:
    """A tree method stands for the updater that grows trees and the pruning after it; other sequences are kept."""
    text = ",".join(updaters)
    replaced = parameters.pop("tree_method", method) not in (method, "auto")
    rest = set(updaters[1:])
    if rest <= {"prune", "sync"} and ("prune" in rest or updaters[0] != "grow_colmaker"):
        del parameters["updater"]
        parameters["tree_method"] = method
        lines = [f"updater '{text}' is called tree_method '{method}' now"]
    else:
        current = next(name for name, of in GROWERS.items() if of == method)
        parameters["updater"] = [current, *updaters[1:]]
        lines = [] if current == updaters[0] else [f"updater '{updaters[0]}' is called '{current}' now"]
    if replaced:
        lines.append("hyperparameter 'tree_method' has no effect: 'updater' says how trees are grown")
    return lines


def _unused(h: XGBoostHyperparameters, parameters: dict[str, Any]) -> list[str]:
    """Takes out what the booster or the objective does not use: the library would complain about it."""
    ranked = any(family(name) in RANKED for name in split_metrics(h)[0])
    lines = []
    for name in list(parameters):
        if h.booster == "gblinear" and name in TREES:
            reason = "" if name == "max_delta_step" and h.objective == "count:poisson" else "booster 'gblinear'"
        elif (h.booster != "dart" and name in DART) or (h.booster != "gblinear" and name in LINEAR):
            reason = f"booster '{h.booster}'"
        elif name == "top_k" and "coord_descent" not in parameters.get("updater", ()):
            reason = "updater 'shotgun'"
        elif name == "max_cached_hist_node" and tree_method(h) == "exact":
            reason = "tree_method 'exact'"
        elif name in OBJECTIVES and not h.objective.startswith(OBJECTIVES[name]):
            reason = "" if name == "ndcg_exp_gain" and ranked else f"objective '{h.objective}'"
        else:
            reason = ""
        if reason:
            del parameters[name]
            lines.append(f"hyperparameter '{name}' has no effect with {reason}")
    return lines


def _written(name: str, value: Any) -> Any:
    """A value as the library reads it: numbers are float32 there, and it refuses what that cannot hold."""
    match name:
        case "eval_metric":
            return value
        case "updater":
            return ",".join(value)
        case "monotone_constraints":
            return f"({','.join(map(str, value))})"
        case "interaction_constraints":
            return str(value).replace(" ", "")
        case "quantile_alpha":
            return str([_written("", alpha) for alpha in value]).replace(" ", "")
    if isinstance(value, float):
        held = min(max(value, float(FLOAT32.min)), float(FLOAT32.max))
        return held if abs(held) >= FLOAT32.tiny else 0.0
    return value
