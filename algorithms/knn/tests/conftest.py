"""What the tests of training configure: hyperparameters as a client sends them."""

from collections.abc import Callable
from functools import partial

import pytest

from algorithms.job import Job
from algorithms.knn.hyperparameters import KNNHyperparameters


@pytest.fixture(scope="session")
def configure() -> Callable[..., KNNHyperparameters]:
    """`configure(k=3, predictor_type="classifier", sample_size=100)`: as a client sends them, all strings."""
    return lambda **given: KNNHyperparameters.parse({name: str(value) for name, value in given.items()})


@pytest.fixture
def make_job(make_job: Callable[..., Job]) -> Callable[..., Job]:
    """Of several hosts each has its own rows, unless `replicated`."""
    return partial(make_job, replicated=False)
