"""Every contract test runs for every algorithm that is found."""

from collections.abc import Callable

import pytest

import algorithms
from algorithms.algorithm import Algorithm
from tests.examples import RECORDIO, encoded, example
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
    """A job trained on 200 rows of RecordIO, with the other 100 as test channel; tests must not change it."""
    made = JobFolder(tmp_path_factory.mktemp(algorithm.name), algorithm.name)
    one = example(algorithm.name)
    made.hyperparameters = dict(one.HYPERPARAMETERS)
    made.channel("train", {"data": encoded(*swapped(one.rows(200)))})
    made.channel("test", {"data": encoded(*swapped(one.rows(100, seed=1)))})
    assert made.train().exit_code == 0
    return made


def swapped(rows: tuple) -> tuple:
    """(features, labels) in the order that `encoded` wants them for RecordIO."""
    return rows[0], RECORDIO, rows[1]
