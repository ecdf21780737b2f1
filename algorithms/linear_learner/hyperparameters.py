"""The hyperparameters of the guide's table "Linear Learner Hyperparameters", one field a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from algorithms.hyperparameters import Hyperparameters, hyperparameter

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Inside = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]

Loss = Literal[
    "auto",
    "logistic",
    "squared_loss",
    "absolute_loss",
    "hinge_loss",
    "eps_insensitive_squared_loss",
    "eps_insensitive_absolute_loss",
    "quantile_loss",
    "huber_loss",
    "softmax_loss",
]
Criterion = Literal["accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function"]
# and two that the SageMaker Python SDK knows besides
SDKCriterion = Literal[
    "accuracy",
    "f_beta",
    "precision_at_target_recall",
    "recall_at_target_precision",
    "loss_function",
    "f1",
    "cross_entropy_loss",
]
# of each predictor type, what auto means first
LOSSES = {
    "binary_classifier": ("logistic", "hinge_loss"),
    "multiclass_classifier": ("softmax_loss",),
    "regressor": (
        "squared_loss",
        "absolute_loss",
        "eps_insensitive_squared_loss",
        "eps_insensitive_absolute_loss",
        "quantile_loss",
        "huber_loss",
    ),
}
FEWEST_CLASSES, MOST_CLASSES = 3, 1_000_000


class LinearLearnerHyperparameters(Hyperparameters):
    """What a user may set; names and ranges are the guide's, defaults those that the hosted service logs."""

    synonyms: ClassVar = {"positive_example_weight": "positive_example_weight_mult"}  # the guide's name of 2018

    # the data and what is predicted
    feature_dim: Count | Auto = hyperparameter(
        "auto", description="The number of features in the input data; auto takes it from the first row."
    )
    predictor_type: Literal["binary_classifier", "multiclass_classifier", "regressor"] = hyperparameter(
        description="The type of the label: 0 or 1, one of num_classes classes, or a real number."
    )
    num_classes: int = hyperparameter(
        1,
        ge=1,
        le=MOST_CLASSES,
        description="The number of classes of a multiclass_classifier, 3 at least, where it is required; "
        "otherwise ignored.",
    )
    force_dense: bool = hyperparameter(
        True,
        description="Accepted because the hosted service knows it; sparse data are read as sparse either way.",
    )

    # passes over the data
    epochs: int = hyperparameter(15, ge=1, description="The greatest number of passes over the training data.")
    mini_batch_size: int = hyperparameter(
        1000, ge=1, tune=(100, 5000), description="The number of observations of a step, on each host."
    )
    num_models: Count | Auto = hyperparameter(
        "auto",
        description="The number of models trained in parallel; auto means 32, and in a tuning job it is always 1.",
    )
    early_stopping_patience: int = hyperparameter(
        3, ge=1, description="The number of epochs without improvement after which training ends."
    )
    early_stopping_tolerance: float = hyperparameter(
        0.001, gt=0, description="The part of the best loss by which a loss must be less to count as an improvement."
    )

    # the loss
    loss: Loss = hyperparameter(
        "auto",
        description="The loss function; auto is logistic, softmax_loss or squared_loss, after the predictor_type.",
    )
    margin: float = hyperparameter(1.0, gt=0, description="Margin of hinge_loss.")
    quantile: Inside = hyperparameter(
        0.5, description="Quantile of quantile_loss: the label is less than the prediction with this probability."
    )
    loss_insensitivity: float = hyperparameter(
        0.01, gt=0, description="The error that the epsilon-insensitive losses count as none, in units of the label."
    )
    huber_delta: float = hyperparameter(
        1.0, gt=0, description="The error at which huber_loss turns from a square to a line, in units of the label."
    )
    positive_example_weight_mult: Positive | Literal["balanced", "auto"] = hyperparameter(
        1.0,
        tune=(1e-5, 1e5),
        description="The weight of positive examples of a binary_classifier, where a negative one weighs 1; balanced: "
        "both classes weigh the same.",
    )
    balance_multiclass_weights: bool = hyperparameter(
        False, description="Whether all classes of a multiclass_classifier weigh the same in the loss."
    )

    # regularization
    wd: NotNegative | Auto = hyperparameter(
        "auto", tune=(1e-7, 1), description="The weight decay, that is the L2 regularization; 0 for none."
    )
    l1: NotNegative | Auto = hyperparameter(
        "auto", tune=(1e-7, 1), description="The L1 regularization; 0 for none, which auto means too."
    )
    use_bias: bool = hyperparameter(
        True, tune=("True", "False"), description="Whether the linear function has an intercept."
    )
    bias_lr_mult: Positive | Auto = hyperparameter(
        "auto", description="The bias's learning rate is learning_rate times this; auto means 10."
    )
    bias_wd_mult: NotNegative | Auto = hyperparameter(
        "auto", description="The bias's weight decay is wd times this; auto means 0."
    )

    # the optimizer
    optimizer: Literal["auto", "adam", "sgd", "rmsprop"] = hyperparameter(
        "auto", description="The optimization algorithm; auto means adam."
    )
    learning_rate: Positive | Auto = hyperparameter(
        "auto", tune=(1e-5, 1), description="The step size of the optimizer; auto tries 0.005 and 0.1."
    )
    momentum: Decay | Auto = hyperparameter("auto", description="Momentum of sgd; auto means 0.")
    beta_1: Decay | Auto = hyperparameter(
        "auto", description="Decay rate of adam's first moment estimates; auto means 0.9."
    )
    beta_2: Decay | Auto = hyperparameter(
        "auto", description="Decay rate of adam's second moment estimates; auto means 0.999."
    )
    use_lr_scheduler: bool = hyperparameter(True, description="Whether the learning rate decreases with time.")
    lr_scheduler_step: Count | Auto = hyperparameter(
        "auto", description="The number of steps between decreases of the learning rate; auto tries 10 and 100."
    )
    lr_scheduler_factor: Inside | Auto = hyperparameter(
        "auto", description="The factor of such a decrease; auto means 0.99."
    )
    lr_scheduler_minimum_lr: Positive | Auto = hyperparameter(
        "auto", description="The learning rate never decreases below this; auto tries 0.0001 and 0.00001."
    )
    init_method: Literal["uniform", "normal"] = hyperparameter(
        "uniform", description="The distribution of the initial weights: uniform within init_scale, or normal."
    )
    init_scale: float = hyperparameter(
        0.07, gt=0, description="Uniform initial weights lie between minus and plus this."
    )
    init_sigma: float = hyperparameter(0.01, gt=0, description="The standard deviation of normal initial weights.")
    init_bias: float = hyperparameter(0.0, description="The initial bias.")

    # preprocessing
    normalize_data: bool | Auto = hyperparameter(
        True, description="Whether features are scaled to a standard deviation of 1; auto means true."
    )
    normalize_label: bool | Auto = hyperparameter(
        "auto", description="Whether a regressor's label is scaled to a standard deviation of 1; auto means true."
    )
    unbias_data: bool | Auto = hyperparameter(
        "auto", description="Whether features are shifted to a mean of 0; auto: where they are dense. Needs use_bias."
    )
    unbias_label: bool | Auto = hyperparameter(
        "auto", description="Whether a regressor's label is shifted to a mean of 0; auto means true. Needs use_bias."
    )
    num_point_for_scaler: int = hyperparameter(
        10_000, ge=1, description="The number of rows, the first, from which means and deviations are computed."
    )

    # which model is best, and its threshold
    binary_classifier_model_selection_criteria: SDKCriterion = hyperparameter(
        "accuracy",
        description="What the best model of a binary_classifier is, and its threshold; f1 is f_beta with 1, "
        "cross_entropy_loss is loss_function.",
    )
    target_recall: float = hyperparameter(
        0.8, gt=0, le=1, description="The recall that precision_at_target_recall holds."
    )
    target_precision: float = hyperparameter(
        0.8, gt=0, le=1, description="The precision that recall_at_target_precision holds."
    )
    f_beta: float = hyperparameter(1.0, gt=0, description="Beta of the F scores and of the criterion f_beta.")
    accuracy_top_k: int = hyperparameter(
        3,
        ge=1,
        le=MOST_CLASSES,
        description="A row counts for the top k accuracy if its class is among the k likeliest.",
    )
    num_calibration_samples: Count | Auto = hyperparameter(
        "auto",
        description="The greatest number of rows that the threshold is found on; auto: so many that 128 MiB hold the "
        "scores of all models, a million rows of 32.",
    )

    tuning_objective_metric: str = hyperparameter(
        "", alias="_tuning_objective_metric", description="Set by the platform in a tuning job, where num_models is 1."
    )

    @property
    def models(self) -> int | Auto:
        """The number of models to train: of a tuning job 1, as in the guide, "Tuning a Linear Learner Model"."""
        return 1 if self.tuning_objective_metric else self.num_models

    @property
    def criterion(self) -> Criterion:
        """binary_classifier_model_selection_criteria by the guide's name."""
        given = self.binary_classifier_model_selection_criteria
        return "f_beta" if given == "f1" else "loss_function" if given == "cross_entropy_loss" else given

    @property
    def criterion_given(self) -> bool:
        """Whether the user set a criterion: it then is the one of early stopping too."""
        return "binary_classifier_model_selection_criteria" in self.model_fields_set

    @property
    def loss_function(self) -> str:
        """The loss by its name, never auto."""
        return LOSSES[self.predictor_type][0] if self.loss == "auto" else self.loss

    @model_validator(mode="after")
    def _together(self) -> Self:
        if found := list(_faults(self)):
            raise ValueError("; ".join(found))
        return self


def _faults(h: LinearLearnerHyperparameters) -> Iterator[str]:
    """A sentence for each rule between hyperparameters that is broken."""
    losses = LOSSES[h.predictor_type]
    if h.loss_function not in losses:
        allowed = f"one of auto, {', '.join(losses)} for predictor_type '{h.predictor_type}'"
        yield f"hyperparameter 'loss' must be {allowed}, got '{h.loss}'"
    if h.predictor_type == "multiclass_classifier" and not h.num_classes >= FEWEST_CLASSES:
        rule = f"an integer in [{FEWEST_CLASSES}, {MOST_CLASSES}]"
        if "num_classes" in h.model_fields_set:
            yield (
                f"hyperparameter 'num_classes' must be {rule} for predictor_type '{h.predictor_type}', "
                f"got {h.num_classes}"
            )
        else:
            yield f"hyperparameter 'num_classes' is required for predictor_type '{h.predictor_type}': {rule}"
    if (
        h.predictor_type == "binary_classifier"
        and h.binary_classifier_model_selection_criteria == "f1"
        and h.f_beta != 1
    ):
        yield f"hyperparameter 'f_beta' must be 1 for the criterion 'f1', got {h.f_beta:g}"
