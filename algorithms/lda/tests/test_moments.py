"""The moments beside sums over all pairs and triples of words, and the whitening beside a dense eigenproblem."""

from itertools import permutations

import numpy as np
import pytest
from scipy import sparse

from algorithms.lda.moments import Moments, squares

A0 = 0.7


def brute(documents, a0):
    """M1, M2 and M3 (V, V, V) by definition: means over documents of means over ordered pairs and triples of words."""
    V = documents.shape[1]
    ones, twos, threes = [], [], []
    for counts in documents.astype(int):
        words = np.repeat(np.arange(V), counts)
        if len(words):
            ones.append(np.bincount(words, minlength=V) / len(words))
        for size, found in ((2, twos), (3, threes)):
            if len(words) >= size:
                moment = np.zeros((V,) * size)
                chosen = list(permutations(words, size))
                for each in chosen:
                    moment[each] += 1 / len(chosen)
                found.append(moment)
    m1, e2, e3 = np.mean(ones, axis=0), np.mean(twos, axis=0), np.mean(threes, axis=0)
    mixed = np.einsum("ij,k->ijk", e2, m1)
    mixed = mixed + mixed.transpose(0, 2, 1) + mixed.transpose(2, 1, 0)
    cube = np.einsum("i,j,k->ijk", m1, m1, m1)
    m3 = e3 - a0 / (a0 + 2) * mixed + 2 * a0**2 / ((a0 + 2) * (a0 + 1)) * cube
    return m1, e2 - a0 / (a0 + 1) * np.outer(m1, m1), m3


@pytest.fixture
def documents():
    """Documents of 0 to 9 words: some are too short for pairs or triples."""
    counts = np.random.default_rng(4).poisson(0.8, (12, 5)).astype(np.float32)
    counts[0] = 0
    counts[1] = [1, 0, 0, 0, 0]
    counts[2] = [1, 0, 0, 1, 0]
    return counts


def test_one_document_by_hand():
    # words a, a, b: of the six ordered pairs two are aa, two ab, two ba; each of the six triples has two a and one b
    moments = Moments(sparse.csr_array(np.float32([[2, 1]])), 1.0)
    assert moments.mean == pytest.approx([2 / 3, 1 / 3])
    expected = np.array([[1 / 3, 1 / 3], [1 / 3, 0]]) - 0.5 * np.outer([2 / 3, 1 / 3], [2 / 3, 1 / 3])
    assert moments.second(np.eye(2)) == pytest.approx(expected)
    third = Moments(sparse.csr_array(np.float32([[2, 1]])), 1e-12).third(np.eye(2))
    assert third == pytest.approx(np.array([[[0, 1 / 3], [1 / 3, 0]], [[1 / 3, 0], [0, 0]]]), abs=1e-9)


def test_are_the_brute_force_moments(documents):
    m1, m2, m3 = brute(documents, A0)
    moments = Moments(sparse.csr_array(documents), A0)
    W = np.random.default_rng(1).normal(size=(5, 3))
    assert moments.mean == pytest.approx(m1)
    assert moments.second(np.eye(5)) == pytest.approx(m2, abs=1e-12)
    assert moments.third(np.eye(5)) == pytest.approx(m3, abs=1e-12)
    assert moments.third(W) == pytest.approx(np.einsum("abc,ai,bj,ck->ijk", m3, W, W, W), abs=1e-12)
    assert moments.along(W.T) == pytest.approx(np.einsum("abc,ai,bi,ci->i", m3, W, W, W), abs=1e-12)


def test_whitening_is_that_of_the_greatest_eigenvalues(documents):
    _, m2, _ = brute(documents, A0)
    values, vectors = np.linalg.eigh(m2)
    white = Moments(sparse.csr_array(documents), A0).whitening(2, np.random.default_rng(0))
    assert white.values == pytest.approx(values[::-1][:2])
    assert np.abs((white.vectors * vectors[:, ::-1][:, :2]).sum(axis=0)) == pytest.approx(1)
    assert white.whiten.T @ m2 @ white.whiten == pytest.approx(np.eye(2), abs=1e-10)
    assert white.whiten.T @ white.unwhiten == pytest.approx(np.eye(2), abs=1e-10)
    assert len(white.leading(1).values) == 1


def test_leading_eigenvalues_of_many_words():
    random = np.random.default_rng(2)
    beta, theta = random.dirichlet(np.full(400, 0.05), 6), random.dirichlet(np.full(6, 0.1), 800)
    counts = np.float32([random.multinomial(80, each) for each in theta @ beta])
    moments = Moments(sparse.csr_array(counts), 0.6)
    white = moments.whitening(6, random)
    assert white.values == pytest.approx(np.linalg.eigvalsh(moments.second(np.eye(400)))[::-1][:6], rel=1e-9)


def test_eigenvalues_below_zero_are_left_out():
    # two words that never meet: M2 = -a0 / (a0 + 1) M1 M1 and what the pairs of one word give
    moments = Moments(sparse.csr_array(np.float32([[1, 1], [1, 1]])), 1.0)
    assert len(moments.whitening(2, np.random.default_rng(0)).values) == 1


def test_sums_in_pieces(monkeypatch):
    X, Y = np.random.default_rng(0).normal(size=(2, 50, 4))
    whole = squares(X, Y)
    monkeypatch.setattr("algorithms.lda.moments.ROWS", 100)
    assert squares(X, Y) == pytest.approx(whole)
    assert whole == pytest.approx(np.einsum("ni,nj,nk->ijk", X, X, Y))


def test_documents_order_and_copies(documents):
    W = np.random.default_rng(1).normal(size=(5, 2))
    once = Moments(sparse.csr_array(documents), A0)
    for other in (documents[::-1], np.vstack([documents, documents])):
        moments = Moments(sparse.csr_array(other), A0)
        assert moments.third(W) == pytest.approx(once.third(W), abs=1e-13)
        assert moments.second(W) == pytest.approx(once.second(W), abs=1e-13)
