"""Linear learner: many linear models in one pass over the data, of which the best is chosen and calibrated.

All models see the same mini-batches, so their scores and gradients are one matrix product each; they differ in learning
rate, schedule and regularisation. Guide: "Linear Learner"; "model packing" in Liberty et al., "Elastic Machine Learning
Algorithms in Amazon SageMaker", SIGMOD 2020.
"""

from algorithms.algorithm import CSV, RECORDIO, Algorithm, ChannelSpec, Metric
from algorithms.linear_learner.evaluation import evaluate
from algorithms.linear_learner.fit import fit
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.model import LinearModel, placed

SCORES = {
    "binary_classification_accuracy": None,
    "binary_f_beta": r"binary_f_\d\S*",
    "precision": None,
    "recall": None,
    "roc_auc_score": None,
    "multiclass_accuracy": None,
    "multiclass_top_k_accuracy": r"multiclass_top_k_accuracy_\d+",
    "dcg": None,
    "macro_recall": None,
    "macro_precision": None,
    "macro_f_beta": r"macro_f_\d\S*",
    "multiclass_balanced_accuracy": None,
}
LOSSES = {
    "objective_loss": r"[a-z_]+_objective",
    "multiclass_log_loss": None,
    "mse": None,
    "absolute_loss": None,
    "rmse": None,
}

algorithm = Algorithm(
    name="linear_learner",
    repository="linear-learner",
    dimension="Linear Learner",
    hyperparameters=LinearLearnerHyperparameters,
    fit=fit,
    load=LinearModel.load,
    evaluate=evaluate,
    channels=(ChannelSpec("train", required=True), ChannelSpec("validation"), ChannelSpec("test")),
    metrics=tuple(
        Metric(channel, name, "minimize" if names is LOSSES else "maximize", pattern)
        for channel in ("train", "validation", "test")
        for names in (LOSSES, SCORES)
        for name, pattern in names.items()
    ),
    content_types=(RECORDIO, CSV),
    devices=("cpu", "gpu"),
    on_device=placed,
    self_test=LinearModel.self_test,
)
