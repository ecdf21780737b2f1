"""What the tests of training configure: hyperparameters as a client sends them."""

from collections.abc import Callable

import pytest

from algorithms.pca.hyperparameters import PCAHyperparameters


@pytest.fixture(scope="session")
def configure() -> Callable[..., PCAHyperparameters]:
    """`configure(num_components=2, feature_dim=4)`: as a client sends them, all strings."""
    return lambda **given: PCAHyperparameters.parse({name: str(value) for name, value in given.items()})
