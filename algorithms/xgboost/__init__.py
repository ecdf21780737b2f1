"""XGBoost: gradient boosted trees, by the current release of the library itself.

Trees are added one after another, each fitted to the gradient of the loss of those before it, and regularised (Chen and
Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016). What is here is what surrounds the library in the
hosted container: hyperparameters, data, rounds and checkpoints, artifacts old and new, answers. Guide: "XGBoost
Algorithm".
"""

from algorithms.algorithm import CSV, JSON, JSONLINES, LIBSVM, PARQUET, RECORDIO, Algorithm, ChannelSpec
from algorithms.xgboost.fit import fit
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.metrics import METRICS
from algorithms.xgboost.model import XGBoostModel
from algorithms.xgboost.outputs import adapted
from formats import Expected


def expected(model: XGBoostModel) -> Expected:
    """Rows of as many features as the model has, LibSVM indices counting as they did in training."""
    return Expected(model.width, first_index=model.first_index)


algorithm = Algorithm(
    name="xgboost",
    repository="xgboost",
    dimension="XGBoost",
    hyperparameters=XGBoostHyperparameters,
    fit=fit,
    devices=("cpu", "gpu"),
    load=XGBoostModel.load,
    channels=(ChannelSpec("train", required=True), ChannelSpec("validation")),
    metrics=METRICS,
    content_types=(LIBSVM, CSV, RECORDIO, PARQUET),
    request_types=(LIBSVM, CSV, JSON, JSONLINES, RECORDIO),
    response_types=(CSV, JSON, JSONLINES, RECORDIO),
    csv_joined=True,
    expected=expected,
    adapted=adapted,
    metric_line=r"\[[0-9]+\].*(?:\t|#011){channel}-{name}:(\S+)",
    allows_missing=True,
)
