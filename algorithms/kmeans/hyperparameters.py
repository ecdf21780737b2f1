"""The hyperparameters of the guide's table "K-Means Hyperparameters", one field a row."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from algorithms.hyperparameters import Hyperparameters, hyperparameter

Positive = Annotated[int, Field(ge=1)]
Metric = Literal["msd", "ssd"]
# the guide's prose also spells it with a hyphen
Initialisation = Annotated[
    Literal["random", "kmeans++"], BeforeValidator(lambda value: "kmeans++" if value == "k-means++" else value)
]


class KMeansHyperparameters(Hyperparameters):
    """What a user may set; names, ranges and defaults are the guide's."""

    feature_dim: int = hyperparameter(ge=1, le=2**31 - 1, description="The number of features in the input data.")
    k: int = hyperparameter(ge=1, description="The number of required clusters.")
    epochs: int = hyperparameter(1, ge=1, tune=(1, 10), description="The number of passes done over the training data.")
    eval_metrics: Annotated[list[Metric], Field(min_length=1)] = hyperparameter(
        ["msd"],
        description="Metrics that score the test channel: msd, the mean, and ssd, the sum of the squared distances.",
    )
    extra_center_factor: Positive | Literal["auto"] = hyperparameter(
        "auto",
        tune=(4, 10),
        description="Training keeps K = k * extra_center_factor centers, reduced to k at the end.",
    )
    half_life_time_size: int = hyperparameter(
        0, ge=0, description="Number of later points after which an observation's weight is 1/2; 0 means no decay."
    )
    init_method: Initialisation = hyperparameter(
        "random", tune=("kmeans++", "random"), description="How the initial K centers are chosen."
    )
    local_lloyd_init_method: Initialisation = hyperparameter(
        "kmeans++", description="How Lloyd's method is initialised when it reduces the K centers to k."
    )
    local_lloyd_max_iter: int = hyperparameter(
        300, ge=1, description="The greatest number of iterations of Lloyd's method."
    )
    local_lloyd_num_trials: Positive | Literal["auto"] = hyperparameter(
        "auto", description="How often Lloyd's method is run; the run of least loss is kept."
    )
    local_lloyd_tol: float = hyperparameter(
        0.0001, ge=0, le=1, description="Lloyd's method stops when the loss falls by less than this share of itself."
    )
    mini_batch_size: int = hyperparameter(
        5000, ge=1, tune=(3000, 15000), description="The number of observations in a mini-batch, on each host."
    )
    force_dense: bool = hyperparameter(
        True,
        description="Accepted because the SageMaker Python SDK sends it; sparse data are read as sparse either way.",
    )
