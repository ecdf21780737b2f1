"""Random cut forest: a score for each row, the higher the fewer random cuts set it apart from the rows of a sample.

Trees of random cuts over a uniform sample: Guha, Mishra, Roy and Schrijvers, "Robust Random Cut Forest Based Anomaly
Detection on Streams", ICML 2016. Guide: "Random Cut Forest".
"""

from algorithms.algorithm import Algorithm, ChannelSpec, Metric
from algorithms.random_cut_forest.fit import evaluate, fit
from algorithms.random_cut_forest.hyperparameters import RandomCutForestHyperparameters
from algorithms.random_cut_forest.metrics import ALL_NAMES
from algorithms.random_cut_forest.model import RandomCutForestModel, VerboseRandomCutForestModel

algorithm = Algorithm(
    name="random_cut_forest",
    repository="randomcutforest",
    dimension="RandomCutForest",
    hyperparameters=RandomCutForestHyperparameters,
    fit=fit,
    load=RandomCutForestModel.load,
    evaluate=evaluate,
    channels=(ChannelSpec("train", required=True), ChannelSpec("test")),
    metrics=tuple(Metric("test", name, "maximize") for name in ALL_NAMES),
    wrapper="scores",
    verbose=VerboseRandomCutForestModel,
)
