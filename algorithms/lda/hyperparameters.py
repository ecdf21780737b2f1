"""The hyperparameters of the guide's table "LDA Hyperparameters", one field a row."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from algorithms.hyperparameters import Hyperparameters, One, hyperparameter


class LDAHyperparameters(Hyperparameters):
    """What a user may set; names, ranges and defaults are the guide's, but for the default of alpha0."""

    num_topics: int = hyperparameter(ge=1, tune=(1, 150), description="The number of topics to find within the data.")
    feature_dim: int = hyperparameter(
        ge=1, le=2**31 - 1, description="The size of the vocabulary of the input document corpus."
    )
    mini_batch_size: int = hyperparameter(
        ge=1, description="The total number of documents in the corpus; the model does not depend on it."
    )
    # the guide's table says 0.1; the hosted container's own default, and all later guides, have 1.0
    alpha0: float = hyperparameter(
        1.0,
        ge=1e-30,  # what single precision holds, with each topic's share
        le=1e30,
        tune=(0.1, 10),
        description="Initial guess for the concentration parameter, the sum of the Dirichlet prior's elements: small "
        "values give sparse topic mixtures, values greater than 1 more uniform ones.",
    )
    max_restarts: int = hyperparameter(
        10, ge=1, description="The number of restarts of the alternating least squares (ALS) decomposition."
    )
    max_iterations: int = hyperparameter(1000, ge=1, description="The maximum number of iterations of an ALS restart.")
    tol: float = hyperparameter(1e-8, gt=0, description="Target error tolerance of ALS.")
    allow_svd_init: bool = hyperparameter(
        True, description="Whether the first restarts begin from a singular value decomposition, not at random."
    )
    em_passes: int = hyperparameter(
        320,
        ge=0,
        description="Passes of expectation maximization over the corpus that refine the decomposed topics; 0: none.",
    )
    passes: One = hyperparameter(
        1, alias="epochs", description="Accepted because the hosted service knows it: the corpus is read once."
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.num_topics > self.feature_dim:
            raise ValueError(
                f"hyperparameter 'num_topics' must be at most 'feature_dim', got '{self.num_topics}' "
                f"for {self.feature_dim} features"
            )
        return self
