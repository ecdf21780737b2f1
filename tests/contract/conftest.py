"""Every contract test runs for every algorithm that is found."""

from collections.abc import Callable

import pytest

import algorithms
from algorithms.algorithm import Algorithm
from tests.examples import encoded, example
from tests.job_folder import JobFolder


@pytest.fixture(params=algorithms.names(), scope="session")
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    return algorithms.find(request.param)


@pytest.fixture
def job(algorithm: Algorithm, job_folder: Callable[[str], JobFolder]) -> JobFolder:
    """A job with the example's hyperparameters and no channels."""
    made = job_folder(algorithm.name)
    made.hyperparameters = dict(example(algorithm.name).HYPERPARAMETERS)
    return made


@pytest.fixture(scope="session")
def trained(algorithm: Algorithm, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A job trained on 200 rows of the default content type, with 100 more in each other channel; not to be changed."""
    made = JobFolder(tmp_path_factory.mktemp(algorithm.name), algorithm.name)
    one = example(algorithm.name)
    made.hyperparameters = dict(one.HYPERPARAMETERS)
    for i, channel in enumerate(algorithm.channels):
        features, labels = one.rows(100 if i else 200, i)
        made.channel(channel.name, {"data": encoded(features, algorithm.content_types[0], labels)})
    assert made.train().exit_code == 0
    return made
