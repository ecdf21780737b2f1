"""K-means: groups rows around `k` centers, in one streaming pass over mini-batches.

Each mini-batch moves the centers towards the rows nearest to them, by the share that those rows have in all the rows a
center has seen (Sculley, "Web-Scale K-Means Clustering", WWW 2010, algorithm 1). To be more accurate than that alone,
K = k * extra_center_factor centers are kept and, weighted by their counts, reduced to k in the end by Lloyd's method
with k-means++ initialisation (Arthur and Vassilvitskii, SODA 2007). Guide: "How K-Means Clustering Works".
"""

from dataclasses import replace

from algorithms.algorithm import Algorithm, ChannelSpec, Metric
from algorithms.kmeans.fit import TRAIN_MSD, evaluate, fit
from algorithms.kmeans.hyperparameters import KMeansHyperparameters
from algorithms.kmeans.model import KMeansModel

algorithm = Algorithm(
    name="kmeans",
    repository="kmeans",
    dimension="AWS/KMeansWebscale",
    hyperparameters=KMeansHyperparameters,
    fit=fit,
    load=KMeansModel.load,
    evaluate=evaluate,
    devices=("cpu", "gpu"),
    on_device=lambda model, device: replace(model, device=device),
    channels=(ChannelSpec("train", required=True), ChannelSpec("test")),
    metrics=(
        TRAIN_MSD,
        Metric("test", "msd", "minimize"),
        Metric("test", "ssd", "minimize"),
    ),
)
