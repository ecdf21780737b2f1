"""The hyperparameters of the guide's table "RCF Hyperparameters", one field a row."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from algorithms.hyperparameters import Hyperparameters, One, hyperparameter

WIDEST = 10_000  # features
Width = Annotated[int, Field(ge=1, le=WIDEST)]
EvalMetric = Literal["accuracy", "precision_recall_fscore"]


class RandomCutForestHyperparameters(Hyperparameters):
    """What a user may set; names, ranges and defaults are the guide's.

    The hosted service also has `_kvstore`, `_num_kv_servers` and `_ftp_port`, which are of its own cluster: like all
    names that begin so they are accepted, and nothing is done with them.
    """

    feature_dim: Width | Literal["auto"] = hyperparameter(
        "auto", description="The number of features in the data set; auto takes it from the first row."
    )
    num_trees: int = hyperparameter(
        100, ge=50, le=1000, tune=(50, 1000), description="Number of trees in the forest: the more, the less noise."
    )
    num_samples_per_tree: int = hyperparameter(
        256,
        ge=1,
        le=2048,
        tune=(1, 2048),
        description="Number of random samples given to each tree: about normal rows to one anomaly.",
    )
    eval_metrics: list[EvalMetric] = hyperparameter(
        ["accuracy", "precision_recall_fscore"],
        description="What a labeled test channel is scored by; f1 is reported in any case, for the tuner.",
    )
    share_rows: bool = hyperparameter(
        False,
        description="Where there are fewer rows than all trees ask for: whether each tree draws its rows from all of "
        "them, instead of getting a part of its own as in the hosted service.",
    )
    # hidden in the hosted service
    mini_batch_size: int = hyperparameter(
        1000,
        ge=1,
        description="Accepted because the hosted service knows it; neither the model nor the memory depends on it.",
    )
    passes: One = hyperparameter(
        1, alias="epochs", description="Accepted because the hosted service knows it: the sample is drawn in one pass."
    )
    force_dense: bool = hyperparameter(
        True, description="Accepted because the hosted service knows it; sparse rows are made dense either way."
    )
