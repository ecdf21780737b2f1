"""What the tests of training configure: hyperparameters as a client sends them."""

from collections.abc import Callable

import pytest

from algorithms.random_cut_forest.hyperparameters import RandomCutForestHyperparameters


@pytest.fixture(scope="session")
def configure() -> Callable[..., RandomCutForestHyperparameters]:
    """`configure(num_trees=50, num_samples_per_tree=16)`: as a client sends them, all strings."""
    return lambda **given: RandomCutForestHyperparameters.parse({name: str(value) for name, value in given.items()})
