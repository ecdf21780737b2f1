"""Factorization machines: a linear model and the interactions of all pairs of features, of which few rows have any.

The weight of a pair is the inner product of its features' factors, so that it is known of pairs that never occurred
together, and a row costs the features it has. Rendle, "Factorization Machines", ICDM 2010. Guide: "Factorization
Machines".
"""

from algorithms.algorithm import CSV, LIBSVM, RECORDIO, Algorithm, ChannelSpec, Metric
from algorithms.factorization_machines.fit import evaluate, fit
from algorithms.factorization_machines.hyperparameters import FactorizationMachinesHyperparameters
from algorithms.factorization_machines.metrics import LOGGED, LOSSES, SCORES
from algorithms.factorization_machines.model import FactorizationMachine, placed

algorithm = Algorithm(
    name="factorization_machines",
    repository="factorization-machines",
    dimension="factorization-machines",
    hyperparameters=FactorizationMachinesHyperparameters,
    fit=fit,
    load=FactorizationMachine.load,
    evaluate=evaluate,
    channels=(ChannelSpec("train", required=True), ChannelSpec("test")),
    metrics=tuple(
        Metric(channel, name, "minimize" if names is LOSSES else "maximize", LOGGED.get(name))
        for channel in ("train", "test")
        for names in (LOSSES, SCORES)
        for name in names
    ),
    content_types=(RECORDIO, LIBSVM, CSV),
    devices=("cpu", "gpu"),
    on_device=placed,
    self_test=FactorizationMachine.self_test,
)
