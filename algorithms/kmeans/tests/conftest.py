"""What the tests of training configure: hyperparameters as a client sends them."""

from collections.abc import Callable

import pytest

from algorithms.kmeans.hyperparameters import KMeansHyperparameters


@pytest.fixture(scope="session")
def configure() -> Callable[..., KMeansHyperparameters]:
    """`configure(k=3, feature_dim=4)`: as a client sends them, all strings."""
    return lambda **given: KMeansHyperparameters.parse({name: str(value) for name, value in given.items()})
