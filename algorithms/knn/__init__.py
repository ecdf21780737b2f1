"""K-nearest neighbours: a row's label is the majority, or the mean, of the labels of the k rows nearest to it.

Training keeps a uniform sample of the rows (Vitter, "Random Sampling with a Reservoir", ACM TOMS 1985), projects it to
fewer dimensions if asked to, and builds an index of it with faiss, the library whose files the hosted service writes
(Douze et al., "The Faiss library", 2024). Guide: "K-Nearest Neighbors".
"""

from algorithms.algorithm import CSV, RECORDIO, Algorithm, ChannelSpec, Metric
from algorithms.knn.fit import evaluate, fit
from algorithms.knn.hyperparameters import KNNHyperparameters
from algorithms.knn.model import KNNModel, VerboseKNNModel

algorithm = Algorithm(
    name="knn",
    repository="knn",
    dimension="AWS/KNN",
    hyperparameters=KNNHyperparameters,
    fit=fit,
    load=KNNModel.load,
    evaluate=evaluate,
    channels=(ChannelSpec("train", required=True), ChannelSpec("test")),
    metrics=(Metric("test", "accuracy", "maximize"), Metric("test", "mse", "minimize")),
    content_types=(RECORDIO, CSV),
    verbose=VerboseKNNModel,
    self_test=KNNModel.self_test,
)
