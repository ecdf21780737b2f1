"""The hyperparameters of the guide's table "Factorization Machines Hyperparameters", one field a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from algorithms.hyperparameters import Hyperparameters, hyperparameter

Method = Literal["normal", "uniform", "constant"]
TERMS = ("bias", "linear", "factors")
WIDE = (1e-8, 512.0)  # the guide's tuning range of all rates, decays and initial values
METHOD = "The distribution of the initial {0}: normal, uniform, or the same constant."
SCALE = "With uniform: the initial {0} lies between minus and plus this."
SIGMA = "With normal: the standard deviation of the initial {0}."
VALUE = "With constant: the initial {0}."


def _amount(default: float | None, description: str) -> Any:
    """A number that is not negative, tuned within the guide's range."""
    return hyperparameter(default, ge=0, tune=WIDE, description=description)


class FactorizationMachinesHyperparameters(Hyperparameters):
    """What a user may set; names, ranges and defaults are the guide's."""

    synonyms: ClassVar = {"epoch": "epochs"}  # as the guide's tuning table has it

    # the data and what is predicted
    feature_dim: int = hyperparameter(ge=1, description="The number of features in the input data.")
    num_factors: int = hyperparameter(ge=1, description="The number of factors of each feature.")
    predictor_type: Literal["binary_classifier", "regressor"] = hyperparameter(
        description="The type of the label: 0 or 1, or a real number."
    )
    use_bias: bool = hyperparameter(True, description="Whether there is a global bias.")
    use_linear: bool = hyperparameter(True, description="Whether there are linear terms.")

    # passes over the data
    epochs: int = hyperparameter(1, ge=1, tune=(1, 1000), description="The number of passes over the training data.")
    mini_batch_size: int = hyperparameter(
        1000, ge=1, tune=(100, 10000), description="The number of observations of a step, on each host."
    )
    batch_metrics_publish_interval: int = hyperparameter(
        500, ge=1, description="The number of mini-batches between two reports of the metrics within an epoch."
    )

    # the optimizer
    bias_lr: float = _amount(0.1, "The learning rate of the bias.")
    linear_lr: float = _amount(0.001, "The learning rate of the linear terms.")
    factors_lr: float = _amount(0.0001, "The learning rate of the factors.")
    bias_wd: float = _amount(0.01, "The weight decay of the bias.")
    linear_wd: float = _amount(0.001, "The weight decay of the linear terms.")
    factors_wd: float = _amount(0.00001, "The weight decay of the factors.")
    clip_gradient: float | None = hyperparameter(
        None, gt=0, description="Gradients are clipped to the interval from minus to plus this; by default not."
    )
    eps: float | None = hyperparameter(
        None, gt=0, description="What keeps the optimizer from dividing by 0; by default 1e-8."
    )
    rescale_grad: float | None = hyperparameter(
        None,
        gt=0,
        description="What the sum of the gradients over a mini-batch's rows is multiplied by; by default it is divided "
        "by their number.",
    )

    # what learning starts from
    bias_init_method: Method = hyperparameter("normal", description=METHOD.format("bias"))
    bias_init_scale: float | None = _amount(None, SCALE.format("bias"))
    bias_init_sigma: float = _amount(0.01, SIGMA.format("bias"))
    bias_init_value: float | None = hyperparameter(None, tune=WIDE, description=VALUE.format("bias"))
    linear_init_method: Method = hyperparameter("normal", description=METHOD.format("linear term"))
    linear_init_scale: float | None = _amount(None, SCALE.format("linear term"))
    linear_init_sigma: float = _amount(0.01, SIGMA.format("linear term"))
    linear_init_value: float | None = hyperparameter(None, tune=WIDE, description=VALUE.format("linear term"))
    factors_init_method: Method = hyperparameter("normal", description=METHOD.format("factor"))
    factors_init_scale: float | None = _amount(None, SCALE.format("factor"))
    factors_init_sigma: float = _amount(0.001, SIGMA.format("factor"))
    factors_init_value: float | None = hyperparameter(None, tune=WIDE, description=VALUE.format("factor"))

    @model_validator(mode="after")
    def _together(self) -> Self:
        if found := list(_faults(self)):
            raise ValueError("; ".join(found))
        return self


def _faults(h: FactorizationMachinesHyperparameters) -> Iterator[str]:
    """A sentence for each term whose initial value cannot be chosen."""
    for term in TERMS:
        method = getattr(h, f"{term}_init_method")
        needed = {"uniform": f"{term}_init_scale", "constant": f"{term}_init_value"}.get(method)
        if needed and getattr(h, needed) is None:
            yield f"hyperparameter '{needed}' is required where '{term}_init_method' is '{method}': a number" + (
                " >= 0" if method == "uniform" else ""
            )
