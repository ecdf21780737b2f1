"""K-nearest neighbours: a row's label is the majority, or the mean, of the labels of the k rows nearest to it.

Training keeps a uniform sample of the rows (Vitter, "Random Sampling with a Reservoir", ACM TOMS 1985), projects it to
fewer dimensions if asked to, and builds an index of it with faiss, the library whose files the hosted service writes
(Douze et al., "The Faiss library", 2024). Guide: "K-Nearest Neighbors".
"""

from dataclasses import replace

from algorithms.algorithm import CSV, RECORDIO, Algorithm, ChannelSpec, Metric
from algorithms.knn.fit import evaluate, fit
from algorithms.knn.hyperparameters import KNNHyperparameters
from algorithms.knn.model import KNNModel, VerboseKNNModel
from algorithms.knn.on_device import placed

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
    devices=("cpu", "gpu"),
    on_device=lambda model, device: replace(model, search=placed(model.search, device)),
)
