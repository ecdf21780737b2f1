"""PCA: the few directions that hold most of what varies in many features, in one streaming pass.

Regular mode finds them exactly, from the covariance matrix; randomized mode approximates them from a sketch of that
matrix which takes memory in proportion to the number of features (Tropp, Yurtsever, Udell and Cevher, "Fixed-Rank
Approximation of a Positive-Semidefinite Matrix from Streaming Data", NeurIPS 2017). Guide: "How PCA Works".
"""

from dataclasses import replace

from algorithms.algorithm import Algorithm, ChannelSpec, Metric
from algorithms.pca.fit import evaluate, fit
from algorithms.pca.hyperparameters import PCAHyperparameters
from algorithms.pca.model import PCAModel

algorithm = Algorithm(
    name="pca",
    repository="pca",
    dimension="PCA",
    hyperparameters=PCAHyperparameters,
    fit=fit,
    load=PCAModel.load,
    evaluate=evaluate,
    devices=("cpu", "gpu"),
    on_device=lambda model, device: replace(model, device=device),
    channels=(ChannelSpec("train", required=True), ChannelSpec("test")),
    metrics=(
        Metric("test", "reconstruction_error", "minimize"),
        Metric("test", "captured_variance", "maximize"),
    ),
    wrapper="projections",
)
