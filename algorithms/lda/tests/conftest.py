"""What the tests of training configure, and corpora of documents whose topics are known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from algorithms.lda.hyperparameters import LDAHyperparameters


@pytest.fixture(scope="session")
def configure() -> Callable[..., LDAHyperparameters]:
    """`configure(num_topics=2, feature_dim=4)`: as a client sends them, all strings."""
    return lambda **given: LDAHyperparameters.parse(
        {"mini_batch_size": "100"} | {name: str(value) for name, value in given.items()}
    )


def bars(side: int = 5) -> np.ndarray:
    """(2 side, side^2) float32: as of Griffiths and Steyvers, each topic is a row or a column of a square of words.

    The columns are uneven, each in its own way: even ones and even rows have one sum, so that there is a topic less
    than moments need to tell them apart.
    """
    words = np.arange(side * side).reshape(side, side)
    topics = np.zeros((2 * side, side * side), np.float32)
    for i in range(side):
        topics[i, words[i]] = 1 / side
        topics[side + i, words[:, i]] = np.roll(np.arange(side) + 1, i) * 2 / (side * (side + 1))
    return topics


def corpus_of(
    beta: np.ndarray, n: int, length: int, seed: int = 0, alpha0: float = 1.0
) -> tuple[sparse.csr_array, np.ndarray]:
    """n documents (n, V) of about `length` words each, and their mixtures (n, k), Dirichlet with the sum alpha0."""
    random = np.random.default_rng(seed)
    theta = random.dirichlet(np.full(len(beta), alpha0 / len(beta)), n)
    p = theta @ beta.astype(np.float64)
    lengths = random.poisson(length, n)
    counts = [random.multinomial(size, row / row.sum()) for size, row in zip(lengths, p, strict=True)]
    return sparse.csr_array(np.array(counts, np.float32)), theta


@pytest.fixture(scope="session")
def known() -> tuple[np.ndarray, sparse.csr_array, np.ndarray]:
    """beta (10, 25), a corpus of 2,000 documents of some 100 words, and their mixtures."""
    beta = bars()
    return beta, *corpus_of(beta, 2000, 100)
