"""Exact passes beside their formula in NumPy; stochastic ones by what must not change them."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.lda import _refinement, _sampling
from algorithms.lda.refinement import CHAINS, EXACT, TRIAL, likeliest, parts, refine
from algorithms.lda.sampling import Sampler, coarse, fitted

K, V, N = 3, 30, 200


@pytest.fixture(scope="module")
def corpus():
    random = np.random.default_rng(0)
    beta, theta = random.dirichlet(np.full(V, 0.2), K), random.dirichlet(np.full(K, 0.2), N)
    counts = np.float32([random.multinomial(40, each) for each in theta @ beta])
    counts[3] = 0
    return sparse.csr_array(counts), beta


def go(corpus, beta, passes, **changed):
    return refine(corpus, beta, passes, **{"seed": 5, "threads": 1, "stopped": lambda: False} | changed)


def test_halves_of_a_pass_are_their_formula(corpus):
    matrix, beta = corpus
    counts = matrix.toarray().astype(np.float64)
    topics, alpha = np.zeros((V, 8), np.float32), np.zeros(8, np.float32)
    topics[:, :K], alpha[:K] = beta.T, [0.1, 0.2, 0.3]
    theta = np.float32(np.random.default_rng(1).dirichlet(np.ones(8), N))
    theta[:, K:] = 0
    p = theta[:, :K].astype(np.float64)
    for _ in range(2):
        p = p * ((counts / (p @ beta + 1e-300)) @ beta.T) + alpha[:K]
        p /= p.sum(axis=1, keepdims=True)
    _refinement.infer(*parts(matrix), topics, alpha, theta, np.empty((1, 24), np.float32), 2, 1)
    assert theta[:, :K] == pytest.approx(p, abs=1e-5)
    assert not theta[:, K:].any()
    expected, likelihood = np.empty_like(topics), np.empty(V)
    _refinement.count(*parts(matrix.tocsc()), topics, theta, expected, likelihood, 1)
    assert expected[:, :K] == pytest.approx((beta * (p.T @ (counts / (p @ beta)))).T, rel=1e-3, abs=1e-3)
    assert likelihood.sum() == pytest.approx((counts * np.log(p @ beta)).sum(), rel=1e-5)


@pytest.mark.parametrize("passes", [EXACT, 40, 5 * TRIAL])
def test_threads_order_and_copies_change_nothing(corpus, passes):
    matrix, beta = corpus
    share, refined = go(matrix, beta, passes)
    assert share.sum() == pytest.approx(1)
    assert refined.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(go(matrix, beta, passes, threads=2)[1], refined)
    order = np.random.default_rng(1).permutation(N)
    for other in (matrix[order], sparse.vstack([matrix, matrix], format="csr")):
        again = go(sparse.csr_array(other), beta, passes)
        assert again[1] == pytest.approx(refined, abs=1e-5)
        assert again[0] == pytest.approx(share, abs=1e-5)


def test_draws_are_whole_and_repeatable(corpus):
    matrix, beta = corpus
    topics, prior = np.zeros((V, 8), np.float32), np.zeros(8, np.float32)
    topics[:, :K], prior[:K] = beta.T + 1e-3, 0.1
    samplers = [Sampler(parts(matrix), topics, prior, K, seed, 1) for seed in (1, 1, 2)]
    for sampler in samplers:
        for _ in range(5):
            sampler.sweep()
    assert np.array_equal(samplers[0].given.sum(axis=1), matrix.sum(axis=1))
    assert np.array_equal(samplers[0].given, np.rint(samplers[0].given))
    assert np.array_equal(samplers[0].topics, samplers[1].topics)
    assert not np.array_equal(samplers[0].topics, samplers[2].topics)
    assert not samplers[0].given[:, K:].any()


def test_draws_have_their_probabilities():
    """One word, of which a document has one: what each of K topics is given follows alpha times the word's weights."""
    n, k = 40_000, 11
    random = np.random.default_rng(3)
    topics, prior = np.zeros((1, 16), np.float32), np.zeros(16, np.float32)
    topics[0, :k], prior[:k] = random.random(k), random.random(k)
    prior[4] = topics[0, 7] = 0
    keys = random.integers(2**63, size=n).astype(np.uint64)
    rows = (np.arange(n + 1), np.zeros(n, np.int32), np.ones(n, np.float32))
    given, tallies = np.zeros((n, 16), np.float32), np.zeros((1, 1, 16), np.int64)
    drawings, scratch = np.full(n, -1, np.int16), np.zeros((1, 128), np.float32)
    for seed in (1, 2):  # the second pass takes back what the first has given
        tallies[:] = 0
        _sampling.sweep(*rows, topics, prior, rows[0], keys, seed, drawings, given, tallies, scratch, 1)
    wanted = topics[0] * prior / (topics[0] @ prior)
    drawn = tallies[0, 0] / 65536
    assert drawn.sum() == n
    assert np.array_equal(given.sum(axis=0), drawn)
    assert np.array_equal(given.argmax(axis=1), drawings)
    assert not drawn[wanted == 0].any()
    assert (np.abs(drawn - n * wanted) <= 5 * np.sqrt(n * wanted)).all()


def test_word_of_no_topic_is_not_drawn():
    matrix = sparse.csr_array(np.float32([[2, 3, 1], [0, 4, 0]]))
    topics, prior = np.zeros((3, 8), np.float32), np.zeros(8, np.float32)
    topics[:, :2], prior[:2] = [[0.5, 0.2], [0, 0], [0.5, 0.8]], 0.1
    sampler = Sampler(parts(matrix), topics, prior, 2, 1, 1)
    sampler.sweep()
    assert sampler.given.sum(axis=1).tolist() == [3, 0]


def test_likeliest_chain_goes_on(corpus):
    matrix, beta = corpus
    topics, prior = np.zeros((V, 8), np.float32), np.zeros(8, np.float32)
    topics[:, :K], prior[:K] = 0.05 * beta.T + 0.95 / V, 0.5
    start, columns = Sampler(parts(matrix), topics, prior, K, 5, 1), parts(matrix.tocsc())
    chains = [start.again(number) for number in range(CHAINS)]
    for chain in chains:
        for _ in range(TRIAL):
            chain.sweep()
    found = [chain.likelihood(columns) for chain in chains]
    assert len(set(found)) == CHAINS
    for number, chain in enumerate(chains):
        p = (chain.mixtures() @ chain.topics.T)[matrix.toarray() > 0]
        assert found[number] == pytest.approx(matrix.data @ np.log(p) / matrix.sum(), rel=1e-5)
    sampler, done = likeliest(start, columns, 10_000, lambda: False)
    assert done == CHAINS * TRIAL
    assert np.array_equal(sampler.topics, chains[int(np.argmax(found))].topics)
    assert not start.given.any()
    assert likeliest(start, columns, 2 * TRIAL, lambda: False) == (start, 0)
    asked = iter([False] * TRIAL + [True] * 3)  # a stop as the second chain begins
    assert np.array_equal(likeliest(start, columns, 10_000, lambda: next(asked))[0].topics, chains[0].topics)


def test_large_and_fractional_counts():
    matrix = sparse.csr_array(np.float32([[1e6, 0.25, 0, 3], [2.5, 0, 70, 1], [0, 1, 1e5, 0.5]]))
    share, beta = go(matrix, np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]]), 30)
    assert sorted(beta.argmax(axis=1)) == [0, 2]  # which is which is up to the draws: there are three documents
    assert beta.max(axis=1).min() > 0.9
    assert share.sum() == pytest.approx(1)


@pytest.mark.parametrize("times", [1e3, 1e6, 1e12, 1e36])
def test_documents_of_very_many_words(corpus, times):
    """They say what they do in shares; 1e12 words were once more than the tallies hold, 1e36 than single precision."""
    matrix, true = corpus
    beta = 0.8 * true + 0.2 / V
    _, refined = go(matrix, beta, 40)
    with np.errstate(over="raise", invalid="raise"):
        share, many = go(sparse.csr_array((matrix * times).astype(np.float32)), beta, 40)
    assert share.sum() == pytest.approx(1)
    assert many.min() >= 0
    assert many.sum(axis=1) == pytest.approx(1)
    assert np.abs(many - true).sum(axis=1).max() < np.abs(refined - true).sum(axis=1).max() + 0.1


def test_one_document_of_counts_near_the_end_of_float32(corpus):
    matrix = corpus[0].tolil()
    matrix[5, :2] = 3e38
    share, beta = go(sparse.csr_array(matrix), corpus[1], 30)
    assert np.isfinite(beta).all()
    assert share.sum() == pytest.approx(1)


def test_fractions_leave_no_topic_below_nothing():
    """Rounding of what is taken from a topic and given again went below 0 by more than the least prior."""
    random = np.random.default_rng(0)
    matrix = sparse.csr_array(np.float32(np.exp(random.normal(0, 4, (50, 40)))))
    topics, prior = np.zeros((40, 8), np.float32), np.zeros(8, np.float32)
    topics[:, :5], prior[:5] = random.dirichlet(np.ones(40), 5).T, 0.1
    sampler = Sampler(parts(matrix), topics, prior, 5, 1, 1)
    for _ in range(60):
        sampler.sweep()
        assert sampler.given.min() >= 0
    assert np.isfinite(sampler.alpha).all()


def test_few_tallies_where_memory_is_short(corpus, monkeypatch):
    """Each thread has some: of many topics, words and threads they were the most that training held."""
    matrix, beta = corpus
    _, once = go(matrix, beta, 20)
    monkeypatch.setattr("algorithms.lda.sampling.free_memory", lambda: 4.0 * 3 * 8 * V * 8)
    topics = np.full((V, 8), 1 / V, np.float32)
    assert len(Sampler(parts(matrix), topics, np.ones(8, np.float32), K, 0, 64)._tallies) == 3
    assert np.array_equal(go(matrix, beta, 20, threads=8)[1], once)


def test_stop_leaves_what_there_is(corpus):
    matrix, beta = corpus
    share, refined = go(matrix, beta, 50, stopped=lambda: True)
    assert share.sum() == pytest.approx(1)
    assert refined == pytest.approx(beta, abs=0.01)


def test_topic_that_nothing_falls_to_stays():
    matrix = sparse.csr_array(np.float32([[5, 3, 0], [2, 9, 0], [4, 4, 1]]))
    share, beta = go(matrix, np.array([[0.5, 0.5, 0], [0, 0, 1.0]]), EXACT)
    assert np.isfinite(share).all()
    assert beta.sum(axis=1) == pytest.approx(1)


def test_prior_is_fitted_to_draws():
    random, alpha = np.random.default_rng(0), np.array([0.2, 1.0, 0.5])
    given = np.float32([random.multinomial(200, each) for each in random.dirichlet(alpha, 20000)])
    found = np.full(3, 0.5)
    for _ in range(100):
        found = fitted(found, given, np.full(len(given), 200.0))
    assert found == pytest.approx(alpha, rel=0.05)


def test_coarse_keeps_ten_digits():
    x = np.random.default_rng(0).random(1000)
    assert coarse(x) == pytest.approx(x, rel=2**-10)
    assert np.array_equal(coarse(x * (1 + 1e-13)), coarse(x))
    assert coarse(np.zeros(2)).tolist() == [0, 0]
