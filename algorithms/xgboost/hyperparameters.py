"""The hyperparameters of the guide's table "XGBoost Hyperparameters", one field a row, and those that came later."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from algorithms.hyperparameters import Hyperparameters, hyperparameter
from algorithms.xgboost.constraints import faults
from algorithms.xgboost.metrics import spelling

INT_MAX = 2**31 - 1  # the library's integers have 32 bits

Objective = Literal[
    "reg:squarederror",
    "reg:linear",
    "reg:squaredlogerror",
    "reg:logistic",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "reg:gamma",
    "reg:tweedie",
    "binary:logistic",
    "binary:logitraw",
    "binary:hinge",
    "count:poisson",
    "multi:softmax",
    "multi:softprob",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
    "survival:cox",
    "survival:aft",
]
Updater = Literal[
    "grow_colmaker",
    "distcol",
    "grow_histmaker",
    "grow_local_histmaker",
    "grow_skmaker",
    "grow_fast_histmaker",
    "grow_quantile_histmaker",
    "grow_gpu",
    "grow_gpu_hist",
    "sync",
    "refresh",
    "prune",
    "shotgun",
    "coord_descent",
    "gpu_coord_descent",
]
Names = BeforeValidator(lambda value: [name for name in value if name != ""] if isinstance(value, list) else value)
OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list) or value is None else [value])
Metrics = BeforeValidator(
    lambda names: (
        list(dict.fromkeys(spelling(name) or name for name in names))
        if isinstance(names, list) and all(isinstance(name, str) for name in names)
        else names
    )
)
ONE_SLOPE = {"(-1)": -1, "(0)": 0, "(1)": 1, "-1": -1, "0": 0, "1": 1}  # how one feature's is written without a list
Slopes = BeforeValidator(
    lambda value: (
        [ONE_SLOPE.get(value[0], value[0])]
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)
        else value
    )
)
Feature = Annotated[int, Field(ge=0, le=INT_MAX)]
Quantile = Annotated[float, Field(ge=0, le=1)]


def _flag(value: Any) -> Any:
    return {"0": 0, "1": 1, "false": 0, "true": 1}.get(str(value).lower(), value)


Flag = Annotated[Literal[0, 1], BeforeValidator(_flag)]


class XGBoostHyperparameters(Hyperparameters):
    """What a user may set; names, ranges and defaults are the guide's, widened to what the current library can do.

    None means that the library decides; the description says how.
    """

    synonyms: ClassVar = {
        "learning_rate": "eta",
        "min_split_loss": "gamma",
        "reg_lambda": "lambda",
        "reg_alpha": "alpha",
        "max_bins": "max_bin",
    }

    num_round: int = hyperparameter(
        ge=1, le=INT_MAX, tune=(1, 4000), description="The number of rounds to run the training."
    )
    csv_weights: Flag = hyperparameter(
        0, description="1: the second column of a CSV training file, the one after the label, is the row's weight."
    )
    early_stopping_rounds: int | None = hyperparameter(
        None, ge=1, le=INT_MAX, description="Training stops when so many rounds have not improved the validation score."
    )
    seed: int = hyperparameter(
        0,
        ge=-INT_MAX,
        le=INT_MAX,
        description="Seed of the random numbers; the same seed gives the same artifact bytes.",
    )

    # the learning task
    objective: Objective = hyperparameter(
        "reg:squarederror", description="The learning task; reg:linear is the guide's name of reg:squarederror."
    )
    num_class: int | None = hyperparameter(
        None, ge=2, le=INT_MAX, description="The number of classes; required for multi:softmax and multi:softprob."
    )
    base_score: float | None = hyperparameter(
        None, description="The initial prediction of all rows; by default it is estimated from the labels."
    )
    scale_pos_weight: float | None = hyperparameter(
        None, ge=0, description="The weight of positive rows, 1 by default; sum(negative) / sum(positive) balances."
    )
    tweedie_variance_power: float | None = hyperparameter(
        None, gt=1, lt=2, description="The variance of the Tweedie distribution, 1.5 by default."
    )
    huber_slope: float | None = hyperparameter(
        None, gt=0, description="Where reg:pseudohubererror turns from a square to a line, 1 by default."
    )
    quantile_alpha: Annotated[list[Quantile], OneOrMore, Field(min_length=1)] | None = hyperparameter(
        None, description="The quantiles that reg:quantileerror predicts; it requires them."
    )
    aft_loss_distribution: Literal["normal", "logistic", "extreme"] | None = hyperparameter(
        None, description="The noise of survival:aft, normal by default."
    )
    aft_loss_distribution_scale: float | None = hyperparameter(
        None, gt=0, description="The scale of the noise of survival:aft, 1 by default."
    )
    lambdarank_pair_method: Literal["topk", "mean"] | None = hyperparameter(
        None, description="How pairs of rows are made for ranking: topk (the default), or mean, at random."
    )
    lambdarank_num_pair_per_sample: int | None = hyperparameter(
        None, ge=1, le=INT_MAX, description="Rows of topk, 32 by default, or pairs for each row of mean, 1 by default."
    )
    lambdarank_normalization: Flag | None = hyperparameter(
        None, description="Whether the gradients of a query are normalised, 1 by default."
    )
    lambdarank_score_normalization: Flag | None = hyperparameter(
        None, description="Whether a pair's gradient is divided by the difference of its scores, 1 by default."
    )
    lambdarank_unbiased: Flag | None = hyperparameter(
        None, description="Whether the position bias of clicks is learned, 0 by default."
    )
    lambdarank_bias_norm: float | None = hyperparameter(
        None, ge=0, description="The norm of the position bias, 1 by default."
    )
    ndcg_exp_gain: Flag | None = hyperparameter(
        None, description="Whether the gain of relevance r is 2 ** r - 1 (the default), or r."
    )
    eval_metric: Annotated[list[str], Metrics, Names, Field(min_length=1)] | None = hyperparameter(
        None, description="Metrics of the training and validation data; by default the objective's own."
    )

    # the booster
    booster: Literal["gbtree", "gblinear", "dart"] = hyperparameter(
        "gbtree", description="gbtree and dart are tree-based models, gblinear is a linear function."
    )
    eta: float | None = hyperparameter(
        None, ge=0, le=1, tune=(0.1, 0.5), description="Step size shrinkage, 0.3 by default, 0.5 for gblinear."
    )
    alpha: float = hyperparameter(0.0, ge=0, tune=(0, 1000), description="L1 regularization term on weights.")
    lambda_: float | None = hyperparameter(
        None,
        alias="lambda",
        ge=0,
        tune=(0, 1000),
        description="L2 regularization term on weights, 1 by default, 0 for gblinear.",
    )
    gamma: float | None = hyperparameter(
        None, ge=0, tune=(0, 5), description="Minimum loss reduction required to split a leaf, 0 by default."
    )
    max_depth: int | None = hyperparameter(
        None, ge=0, le=INT_MAX, tune=(0, 10), description="Maximum depth of a tree, 6 by default; 0 means no limit."
    )
    max_leaves: int | None = hyperparameter(
        None, ge=0, le=INT_MAX, description="Maximum number of leaves of a tree; 0, the default, means no limit."
    )
    min_child_weight: float | None = hyperparameter(
        None, ge=0, tune=(0, 120), description="Minimum sum of row weights (hessian) in a child, 1 by default."
    )
    max_delta_step: float | None = hyperparameter(
        None, ge=0, tune=(0, 10), description="Maximum step of a leaf's weight; 0, the default, means no limit."
    )
    subsample: float | None = hyperparameter(
        None, gt=0, le=1, tune=(0.5, 1), description="The share of rows drawn for each tree, 1 by default."
    )
    sampling_method: Literal["uniform", "gradient_based"] | None = hyperparameter(
        None, description="How rows are drawn: uniform (the default) or in proportion to their gradients."
    )
    colsample_bytree: float | None = hyperparameter(
        None, gt=0, le=1, tune=(0.5, 1), description="The share of columns drawn for each tree, 1 by default."
    )
    colsample_bylevel: float | None = hyperparameter(
        None, gt=0, le=1, tune=(0.1, 1), description="The share of columns drawn for each level, 1 by default."
    )
    colsample_bynode: float | None = hyperparameter(
        None, gt=0, le=1, tune=(0.1, 1), description="The share of columns drawn for each split, 1 by default."
    )
    tree_method: Literal["auto", "exact", "approx", "hist", "gpu_hist"] = hyperparameter(
        "auto", description="The tree construction algorithm; auto is hist."
    )
    grow_policy: Literal["depthwise", "lossguide"] | None = hyperparameter(
        None, description="Which leaf is split first: the one nearest to the root (the default), or the worst."
    )
    max_bin: int | None = hyperparameter(
        None, ge=2, le=INT_MAX, description="Maximum number of bins of a feature in hist and approx, 256 by default."
    )
    max_cached_hist_node: int | None = hyperparameter(
        None, ge=1, le=INT_MAX, description="Maximum number of nodes whose histograms are kept; bounds the memory."
    )
    num_parallel_tree: int | None = hyperparameter(
        None, ge=1, le=INT_MAX, description="Trees of a round, 1 by default; more make a boosted random forest."
    )
    monotone_constraints: Annotated[list[Literal[-1, 0, 1]], Slopes, Field(min_length=1)] | None = hyperparameter(
        None, description="For each feature: 1 if predictions must not fall with it, -1 if not rise, 0 if either."
    )
    interaction_constraints: list[list[Feature]] | None = hyperparameter(
        None, description="Groups of features (the first is 0) that may occur together on a path of a tree."
    )
    updater: Annotated[list[Updater], Names, Field(min_length=1)] | None = hyperparameter(
        None, description="The steps that build a tree, where tree_method does not say it; shotgun for gblinear."
    )
    process_type: Literal["default", "update"] = hyperparameter(
        "default", description="update would change the trees of a model; a job begins without one, so it is refused."
    )
    refresh_leaf: Flag | None = hyperparameter(
        None, description="Whether the updater refresh changes leaves (1, the default) or only statistics."
    )
    sample_type: Literal["uniform", "weighted"] | None = hyperparameter(
        None, description="How dart draws the trees to drop, uniform by default."
    )
    normalize_type: Literal["tree", "forest"] | None = hyperparameter(
        None, description="The weight of a tree of dart: as each dropped tree (the default) or as their sum."
    )
    rate_drop: float | None = hyperparameter(
        None, ge=0, le=1, description="The share of earlier trees that dart drops in a round, 0 by default."
    )
    one_drop: Flag | None = hyperparameter(
        None, description="Whether dart drops at least one tree in a round, 0 by default."
    )
    skip_drop: float | None = hyperparameter(
        None, ge=0, le=1, description="The probability that dart drops nothing in a round, 0 by default."
    )
    feature_selector: Literal["cyclic", "shuffle", "random", "greedy", "thrifty"] | None = hyperparameter(
        None, description="The order in which gblinear updates its weights, cyclic by default."
    )
    top_k: int | None = hyperparameter(
        None, ge=0, le=INT_MAX, description="Features that greedy and thrifty select; 0, the default, means all."
    )
    nthread: int | None = hyperparameter(
        None, ge=1, le=INT_MAX, description="Number of parallel threads, by default one for each core."
    )
    verbosity: int | None = hyperparameter(
        None, ge=0, le=3, description="What the library logs: nothing, warnings (1, the default), more, everything."
    )

    # what has another name or no meaning in the current library; `library_parameters` says so in the log
    silent: Flag | None = hyperparameter(None, description="1 is verbosity=0.")
    sketch_eps: float | None = hyperparameter(
        None, gt=0, lt=1, description="For tree_method=approx: max_bin is 1 / sketch_eps, unless it is set."
    )
    lambda_bias: float | None = hyperparameter(None, ge=0, le=1, description="Accepted; the bias is not regularized.")
    dsplit: Literal["row", "col"] | None = hyperparameter(None, description="Accepted if row: hosts share the rows.")
    predictor: Literal["auto", "cpu_predictor", "gpu_predictor"] | None = hyperparameter(
        None, description="Accepted; there is one predictor."
    )
    deterministic_histogram: Flag | None = hyperparameter(None, description="Accepted; histograms are deterministic.")
    prob_buffer_row: float | None = hyperparameter(None, gt=0, description="Accepted; nothing is buffered.")
    use_dask_gpu_training: Flag | None = hyperparameter(None, description="Accepted; the container chooses the device.")
    save_model_on_termination: Flag | None = hyperparameter(
        None, description="Accepted; a job that is stopped always saves its model."
    )

    # what the tuning service adds
    tuning_objective_metric: str = hyperparameter(
        "", alias="_tuning_objective_metric", description="The metric that is tuned: validation:rmse."
    )
    kfold: int | None = hyperparameter(
        None, alias="_kfold", ge=2, le=INT_MAX, description="The number of parts of a cross-validation."
    )
    num_cv_round: int | None = hyperparameter(
        None, alias="_num_cv_round", ge=1, le=INT_MAX, description="How often the cross-validation is repeated."
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if found := faults(self):
            raise ValueError("; ".join(found))
        return self
