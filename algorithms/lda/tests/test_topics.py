"""What is learned from corpora whose topics are known, and what is refused."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from algorithms.errors import UserError
from algorithms.lda.moments import Moments
from algorithms.lda.topics import learn, require_memory


@pytest.fixture
def run(configure):
    """`run(corpus, k, em_passes=0)`: Topics with the seed 0."""

    def trained(corpus, k, *, seed=0, threads=1, stopped=lambda: False, **given):
        h = configure(num_topics=k, feature_dim=corpus.shape[1], **{"max_restarts": 2} | given)
        return learn(corpus, h, np.random.default_rng(seed), threads, stopped)

    return trained


def matched(true, beta):
    """beta with its rows in the order of the true ones that they are nearest to, and that order."""
    order = linear_sum_assignment(np.abs(true[:, None] - beta[None]).sum(axis=2))[1]
    return beta[order], order


@pytest.mark.parametrize(("passes", "allowed", "off"), [(0, 0.05, 0.06), (10, 0.04, 0.03), (30, 0.03, 0.03)])
def test_finds_planted_topics(run, known, passes, allowed, off):
    true, corpus, _ = known
    topics = run(corpus, 10, em_passes=passes)
    assert topics.beta.dtype == topics.alpha.dtype == np.float32
    assert topics.beta.min() >= 0
    assert topics.beta.sum(axis=1) == pytest.approx(1, abs=1e-5)
    beta, order = matched(true, topics.beta)
    assert np.abs(true - beta).sum(axis=0).max() < allowed
    assert np.abs(topics.alpha[order] - 0.1).sum() < off


def test_order_zero_columns_and_copies(run, known):
    _, corpus, _ = known
    once = run(corpus, 10, em_passes=20)
    order = np.random.default_rng(3).permutation(corpus.shape[0])
    wide = sparse.csr_array((corpus.data, corpus.indices * 2 + 1, corpus.indptr), shape=(corpus.shape[0], 60))
    again = run(sparse.csr_array(corpus[order]), 10, em_passes=20)
    twice = run(sparse.vstack([corpus, corpus], format="csr"), 10, em_passes=20)
    spread = run(wide, 10, em_passes=20)
    for other in (again.beta, twice.beta, spread.beta[:, 1:50:2]):
        assert other == pytest.approx(once.beta, abs=1e-5)
    assert not spread.beta[:, ::2].any()
    assert twice.alpha == pytest.approx(once.alpha, abs=1e-5)


def test_same_seed_same_bits_for_any_threads(run, known):
    _, corpus, _ = known
    first, second = run(corpus, 10, em_passes=15), run(corpus, 10, em_passes=15, threads=2)
    assert np.array_equal(first.beta, second.beta)
    assert np.array_equal(first.alpha, second.alpha)


def test_one_topic_is_the_words_of_all(run):
    counts = np.random.default_rng(0).multinomial(30, [0.5, 0.3, 0.2], 50).astype(np.float32)
    topics = run(sparse.csr_array(counts), 1, em_passes=10)
    assert topics.beta == pytest.approx(counts.sum(axis=0, keepdims=True) / counts.sum(), abs=1e-3)
    assert topics.alpha == pytest.approx([1])


def test_empty_and_short_documents_do_not_matter(run, known):
    _, corpus, _ = known
    short = sparse.csr_array(([1.0], [0], [0, 0, 1]), shape=(2, 25), dtype=np.float32)
    without, with_them = (run(each, 10, em_passes=0).beta for each in (corpus, sparse.vstack([corpus, short], "csr")))
    assert matched(without, with_them)[0] == pytest.approx(without, abs=2e-3)


def test_stop_returns_what_there_is(run, known):
    _, corpus, _ = known
    topics = run(corpus, 10, stopped=lambda: True)
    assert topics.beta.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_extra_topics_lose_here_and_it_is_said(run, known, caplog):
    caplog.set_level("INFO", "inbuilt")
    run(known[1], 10, em_passes=0, max_restarts=6)
    assert "Running LDA for 13 topics (10 requested)" in caplog.text
    assert "10 are used." in caplog.text


def test_rank_too_low_is_refused(run):
    same = sparse.csr_array(np.float32([[3, 2, 1, 0]] * 20))
    with pytest.raises(UserError, match=r"'num_topics' must be at most .*, got 3 for a second moment of rank \d"):
        run(same, 3)


def test_short_documents_alone_are_refused(run):
    with pytest.raises(UserError, match="documents of at least 3 words, got none among 5"):
        run(sparse.csr_array(np.float32([[1, 1, 0]] * 5)), 2)


def test_memory(monkeypatch):
    monkeypatch.setattr("algorithms.lda.topics.free_memory", lambda: 2.0**30)
    require_memory(1000, 1000, 13, 10**5)
    with pytest.raises(UserError, match=r"10000 topics need .* GiB of memory, there are 1.0 GiB"):
        require_memory(1000, 1000, 10000, 10**5)
    require_memory(1000, 1000, 13, 10**7, 10**8)
    with pytest.raises(UserError, match=r"the draws of 1000 documents of 1000 words for 13 topics need 1\.1 GiB"):
        require_memory(1000, 1000, 13, 10**7, 13 * 10**7)


@pytest.mark.parametrize(("n", "V", "m", "length"), [(300, 8000, 4, 10), (500, 1000, 2, 300)])
def test_memory_is_what_the_moments_take(monkeypatch, n, V, m, length):
    """For many words in all, and in a document."""
    places = (np.repeat(np.arange(n), length), np.random.default_rng(0).integers(0, V, n * length))
    corpus = sparse.csr_array((np.ones(n * length, np.float32), places), shape=(n, V))
    tracemalloc.start()
    moments = Moments(corpus, 1.0)
    moments.third(moments.whitening(m, np.random.default_rng(0)).whiten)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    monkeypatch.setattr("algorithms.lda.topics.free_memory", lambda: 0.9 * most)
    with pytest.raises(UserError, match="need"):
        require_memory(n, V, m, corpus.nnz)
    monkeypatch.setattr("algorithms.lda.topics.free_memory", lambda: 2.0 * most)
    require_memory(n, V, m, corpus.nnz)
