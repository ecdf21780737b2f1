"""The mixture that maximises a document's likelihood: by hand, beside other optimisers, and its certificate."""

import numpy as np
import pytest
from scipy import optimize, sparse

from algorithms.lda.mixtures import certified, mixtures


def mixture(counts, beta, **given) -> np.ndarray:
    """Of one document."""
    return mixtures(sparse.csr_array(np.array([counts], np.float32)), np.array(beta, np.float32), 1, **given)[0]


def likelihood(counts: np.ndarray, theta: np.ndarray, beta: np.ndarray) -> float:
    """A word."""
    p = theta.astype(np.float64) @ beta.astype(np.float64)
    return float(counts[counts > 0] @ np.log(p[counts > 0]) / counts.sum())


@pytest.mark.parametrize(
    ("counts", "beta", "expected"),
    [
        ([3, 1], [[1, 0], [0, 1]], [0.75, 0.25]),
        ([0, 5], [[1, 0], [0, 1]], [0, 1]),
        ([0.5, 1.5], [[1, 0], [0, 1]], [0.25, 0.75]),
        ([2], [[1], [0], [0]], [1, 0, 0]),
        ([7, 1], [[0.6, 0.4], [0.4, 0.6]], [1, 0]),
        ([1, 0, 1], [[0.5, 0.5, 0], [0, 0.5, 0.5]], [0.5, 0.5]),
        # the second word is as likely in any mixture: 3 / t = 2 / (1 - t)
        ([3, 4, 2], [[0.5, 0.5, 0], [0, 0.5, 0.5]], [0.6, 0.4]),
        # the words have (2 + t) / 4 and (2 - t) / 4: 4 / (2 + t) = 2 / (2 - t)
        ([4, 2], [[0.75, 0.25], [0.5, 0.5]], [2 / 3, 1 / 3]),
    ],
)
def test_by_hand(counts, beta, expected):
    np.testing.assert_allclose(mixture(counts, beta), expected, atol=2e-6)


def test_documents_without_known_words():
    beta = np.array([[0.5, 0.5, 0], [0.1, 0.9, 0]], np.float32)
    corpus = sparse.csr_array(np.array([[0, 0, 0], [0, 0, 9], [4, 0, 9], [4, 0, 0]], np.float32))
    prior = np.array([0.2, 0.8], np.float32)
    found = mixtures(corpus, beta, 1, prior=prior)
    assert np.array_equal(found, [prior, prior, [1, 0], [1, 0]])
    assert np.array_equal(mixtures(corpus, beta, 1)[0], [0.5, 0.5])


def test_stored_zeros_count_nothing():
    beta = np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)
    corpus = sparse.csr_array((np.array([2, 0, 0], np.float32), [0, 1, 1], [0, 2, 3]), shape=(2, 2))
    assert np.array_equal(mixtures(corpus, beta, 1), [[1, 0], [0.5, 0.5]])


def random_case(seed: int, k: int, V: int, n: int, length: int, concentration: float):
    random = np.random.default_rng(seed)
    beta = random.dirichlet(np.full(V, concentration), k).astype(np.float32)
    p = random.dirichlet(np.full(k, 1 / k), n) @ beta.astype(np.float64)
    counts = np.array([random.multinomial(length, row / row.sum()) for row in p], np.float32)
    return counts, beta


CASES = [
    (0, 2, 5, 10, 20, 1.0),
    (1, 5, 30, 10, 50, 0.1),
    (2, 10, 25, 10, 150, 0.3),
    (3, 20, 200, 10, 80, 0.1),
    (4, 6, 4, 10, 30, 1.0),
]


def cost(theta, B, share):
    """What a mixture costs, and the slope."""
    p = np.maximum(theta @ B, 1e-300)
    return -share @ np.log(p), -B @ (share / p)


def sum_to_one(theta, *_):
    """0 where it does."""
    return theta.sum() - 1


@pytest.mark.parametrize("case", CASES)
def test_beside_a_general_optimiser(case):
    """SciPy's SLSQP never finds a better mixture; where the optimum is unique, it finds the same one."""
    counts, beta = random_case(*case)
    found = mixtures(sparse.csr_array(counts), beta, 1)
    k = len(beta)
    for c, theta in zip(counts[:5], found[:5], strict=True):
        words = c > 0
        B, share = beta[:, words].astype(np.float64), c[words].astype(np.float64) / c.sum()
        done = optimize.minimize(
            cost, np.full(k, 1 / k), (B, share), jac=True, method="SLSQP", bounds=[(0, 1)] * k, options={"ftol": 1e-14},
            constraints={"type": "eq", "fun": sum_to_one, "jac": lambda t, *_: np.ones_like(t)},
        )  # fmt: skip
        theirs = np.maximum(done.x, 0) / np.maximum(done.x, 0).sum()
        assert likelihood(c, theta, beta) >= likelihood(c, theirs, beta) - 1e-6
        assert likelihood(c, theta, beta) <= likelihood(c, theirs, beta) + 1e-4
        if k <= np.linalg.matrix_rank(B):
            np.testing.assert_allclose(theta, theirs, atol=0.02)


@pytest.mark.parametrize("case", CASES)
def test_beside_long_expectation_maximisation(case):
    counts, beta = random_case(*case)
    found = mixtures(sparse.csr_array(counts), beta, 1)
    B, share = beta.astype(np.float64), counts / counts.sum(axis=1, dtype=np.float64, keepdims=True)
    theta = np.full(found.shape, 1 / len(beta))
    for _ in range(3000):
        p = theta @ B
        theta *= np.divide(share, p, out=np.zeros_like(p), where=share > 0) @ B.T
    for c, ours, theirs in zip(counts, found, theta, strict=True):
        assert likelihood(c, ours, beta) >= likelihood(c, theirs, beta) - 1e-6


def certificate(counts: np.ndarray, theta: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """max_k g_k - 1 of each document, in float64."""
    theta, beta = theta.astype(np.float64), beta.astype(np.float64)
    p = theta @ beta
    ratio = np.divide(counts, p, out=np.zeros_like(p), where=counts > 0)
    return (ratio @ beta.T / counts.sum(axis=1, dtype=np.float64, keepdims=True)).max(axis=1) - 1


@pytest.mark.parametrize(
    "case", [*CASES, (5, 50, 300, 100, 100, 0.05), (6, 30, 10, 100, 1, 0.5), (7, 3, 50, 100, 1000, 0.01)]
)
def test_the_certificate(case):
    """What the kernel says of its answers, the answers' own gap, and the simplex."""
    counts, beta = random_case(*case)
    found, gaps = certified(sparse.csr_array(counts), beta, 1)
    assert (gaps <= 1e-6).all()
    assert (certificate(counts, found, beta) <= 2e-6).all()  # rounded to float32
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_smaller_tolerance():
    counts, beta = random_case(3, 20, 200, 50, 80, 0.1)
    assert (certified(sparse.csr_array(counts), beta, 1, tolerance=1e-10)[1] <= 1e-10).all()


def test_topics_that_do_not_take_part_have_exact_zeros(known):
    beta, corpus, _ = known
    found = mixtures(corpus, beta, 1)
    assert (found == 0).mean() > 0.3
    assert not ((found > 0) & (found < 1e-5)).any()


def test_near_to_the_true_mixtures(known):
    """Of documents of 100 words, with the true topics: a mean L1 distance of about 0.15."""
    beta, corpus, theta = known
    assert np.abs(mixtures(corpus, beta, 1) - theta).sum(axis=1).mean() < 0.2


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_same_bits_for_any_number_of_threads(known, threads):
    beta, corpus, _ = known
    assert np.array_equal(mixtures(corpus, beta, threads), mixtures(corpus, beta, 1))


def test_the_same_bits_alone_and_among_others(known):
    beta, corpus, _ = known
    every = mixtures(corpus, np.asfortranarray(beta), 1)
    for i in range(0, 2000, 97):
        assert np.array_equal(mixtures(corpus[[i]], beta, 1)[0], every[i])


def test_multiplied_counts_and_words_that_are_never_seen(known):
    beta, corpus, _ = known
    every = mixtures(corpus, beta, 1)
    np.testing.assert_allclose(mixtures(4 * corpus, beta, 1), every, atol=1e-6)
    wider = sparse.csr_array((corpus.data, corpus.indices, corpus.indptr), shape=(2000, 30))
    assert np.array_equal(mixtures(wider, np.pad(beta, ((0, 0), (0, 5))), 1), every)


@pytest.mark.parametrize("copies", [2, 7])
def test_equal_topics(copies):
    """No mixture is the only best one, and the best likelihood is found all the same."""
    counts, beta = random_case(1, 5, 30, 20, 50, 0.1)
    found, gaps = certified(sparse.csr_array(counts), np.tile(beta, (copies, 1)), 1)
    assert (gaps <= 1e-6).all()
    once = mixtures(sparse.csr_array(counts), beta, 1)
    for c, theta, other in zip(counts, found, once, strict=True):
        assert likelihood(c, theta, np.tile(beta, (copies, 1))) == pytest.approx(likelihood(c, other, beta), abs=2e-6)


def test_numbers_near_the_ends_of_float32():
    tiny, huge = np.float32(1e-44), np.float32(3e38)
    beta = np.array([[1, 0, tiny], [0, 1, 2 * tiny]], np.float32)
    np.testing.assert_allclose(mixture([huge, huge, 0], beta), [0.5, 0.5], atol=1e-6)
    assert np.array_equal(mixture([0, 0, 1], beta), [0, 1])
    assert np.isfinite(mixture([1, 1e30, 1], beta)).all()


def test_a_document_of_many_words():
    """More than the vocabulary of a short one: 50,000 different words."""
    random = np.random.default_rng(0)
    beta = random.dirichlet(np.full(50_000, 0.1), 8).astype(np.float32)
    counts = random.poisson(1e5 * (beta[2] * 0.7 + beta[5] * 0.3)).astype(np.float32)[None]
    found, gaps = certified(sparse.csr_array(counts), beta, 1)
    assert gaps[0] <= 1e-6
    np.testing.assert_allclose(found[0, [2, 5]], [0.7, 0.3], atol=0.02)
