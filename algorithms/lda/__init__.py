"""Latent Dirichlet allocation: the topics that documents of word counts are mixtures of, by tensor decomposition.

Moments of the corpus, whitened to a tensor of topics x topics x topics, are decomposed by alternating least squares
(Anandkumar, Ge, Hsu, Kakade and Telgarsky, "Tensor Decompositions for Learning Latent Variable Models", JMLR 15, 2014;
Kolda and Bader, "Tensor Decompositions and Applications", SIAM Review 51, 2009), and refined by
stochastic and then exact expectation maximization. Guide: "How LDA Works".
"""

from algorithms.algorithm import CSV, RECORDIO, Algorithm, ChannelSpec, Metric
from algorithms.lda.fit import evaluate, fit
from algorithms.lda.hyperparameters import LDAHyperparameters
from algorithms.lda.model import LDAModel

algorithm = Algorithm(
    name="lda",
    repository="lda",
    dimension="LDA",
    hyperparameters=LDAHyperparameters,
    fit=fit,
    load=LDAModel.load,
    evaluate=evaluate,
    channels=(ChannelSpec("train", required=True), ChannelSpec("test")),
    metrics=(Metric("test", "pwll", "maximize"),),
    content_types=(RECORDIO, CSV),
    max_hosts=1,
)
