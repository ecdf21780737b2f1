"""The hyperparameters of the guide's table "PCA Hyperparameters", one field a row."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator

from algorithms.hyperparameters import Hyperparameters, hyperparameter

# before there was a randomized mode, the regular one was called stable
Mode = Annotated[
    Literal["regular", "randomized"], BeforeValidator(lambda value: "regular" if value == "stable" else value)
]


class PCAHyperparameters(Hyperparameters):
    """What a user may set; names, ranges and defaults are the guide's."""

    feature_dim: int = hyperparameter(ge=1, le=2**31 - 1, description="Input dimension.")
    num_components: int = hyperparameter(ge=1, description="The number of principal components to compute.")
    # required in the guide, but the SageMaker Python SDK always sends 500
    mini_batch_size: int = hyperparameter(
        500, ge=1, description="Number of rows in a mini-batch. The model does not depend on it, nor does the memory."
    )
    algorithm_mode: Mode = hyperparameter("regular", description="Mode for computing the principal components.")
    extra_components: int = hyperparameter(
        -1,
        ge=-1,
        description="In randomized mode: the greater, the more accurate, with time and memory in proportion; "
        "-1 means the maximum of 10 and num_components.",
    )
    subtract_mean: bool = hyperparameter(
        True, description="Whether the data are unbiased, both during training and at inference."
    )
    force_dense: bool = hyperparameter(
        True,
        description="Accepted because the hosted service knows it; sparse data are read as sparse either way.",
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.num_components > self.feature_dim:
            raise ValueError(
                f"hyperparameter 'num_components' must be at most 'feature_dim', got '{self.num_components}' "
                f"for {self.feature_dim} features"
            )
        return self
