"""What the tests of training configure: hyperparameters as a client sends them."""

from collections.abc import Callable

import pytest

from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters


@pytest.fixture(scope="session")
def configure() -> Callable[..., LinearLearnerHyperparameters]:
    """`configure(predictor_type="regressor", epochs=3)`: as a client sends them, all strings."""
    return lambda **given: LinearLearnerHyperparameters.parse({name: str(value) for name, value in given.items()})
