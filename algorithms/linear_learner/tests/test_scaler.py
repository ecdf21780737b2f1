"""Means and deviations against NumPy in float64, what training sees of rows, and the way back to raw features."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.linear_learner.scaler import Scaler, moments
from formats import Batch
from tests.hosts import on_hosts

both = pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
ALONE = Cluster()


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 6) of different scales and places, the last feature mostly 0, and labels."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 6)) * [1, 1e-6, 1e6, 1, 1, 3] + [0, 0, 0, 1000, -3, 1]
    X[:, 5] *= random.random(n) < 0.1
    return X.astype(np.float32), random.normal(50, 7, n).astype(np.float32)


def check(found, X: np.ndarray, y: np.ndarray) -> None:
    table = np.column_stack([X, y]).astype(np.float64)
    np.testing.assert_allclose(found.mean, table.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.deviation, table.std(axis=0), rtol=1e-9)
    assert (found.mean.dtype, found.deviation.dtype, found.rows) == (np.float64, np.float64, len(X))


@both
def test_by_hand(kind):
    """1, 2, 3, 4: mean 5/2, deviation sqrt(5/4); 0, 0, 0, 8: mean 2, deviation sqrt(12); labels 0, 0, 6, 6: 3 and 3."""
    X = np.array([[1, 0], [2, 0], [3, 0], [4, 8]], np.float32)
    found = moments(ALONE, [Batch(kind(X), np.array([0, 0, 6, 6], np.float32))], 2)
    assert found.mean.tolist() == [2.5, 2, 3]
    np.testing.assert_allclose(found.deviation, [np.sqrt(1.25), np.sqrt(12), 3], rtol=1e-15)
    assert found.rows == 4


@both
@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 1000])
def test_against_numpy(kind, n):
    X, y = rows(n)
    check(moments(ALONE, [Batch(kind(X), y)], 6), X, y)


@both
def test_batches_of_any_size(kind):
    X, y = rows(500)
    parts = [Batch(kind(X[a:b]), y[a:b]) for a, b in ((0, 1), (1, 300), (300, 300), (300, 500))]
    check(moments(ALONE, parts, 6), X, y)


def test_sparse_batches_among_dense_ones():
    X, y = rows(500)
    check(moments(ALONE, [Batch(X[:200], y[:200]), Batch(sparse.csr_array(X[200:]), y[200:])], 6), X, y)


def test_explicit_zeros_of_sparse_rows():
    """Stored zeros are values like the others."""
    X, y = rows(100)
    stored = sparse.csr_array(np.ones_like(X))
    stored.data[:] = X.ravel()
    check(moments(ALONE, [Batch(stored, y)], 6), X, y)


@both
def test_far_from_zero(kind):
    """A deviation of 1 at 100,000: the sum of squares less the square of the sum would lose it in float32."""
    X = (np.random.default_rng(0).normal(size=(5000, 1)) + 1e5).astype(np.float32)
    y = np.zeros(5000, np.float32)
    found = moments(ALONE, [Batch(kind(X), y)], 1)
    assert found.deviation[0] == pytest.approx(X.astype(np.float64).std(), rel=1e-9)


@both
def test_several_hosts(kind):
    """One of them has no rows; all of them find the same bits."""
    X, y = rows(500)
    shares = [(0, 10), (10, 10), (10, 500)]

    def work(cluster: Cluster):
        mine = slice(*shares[cluster.rank])
        batches = [Batch(kind(X[mine]), y[mine])] if len(y[mine]) else []
        return moments(cluster, batches, 6)

    found = on_hosts(3, work)
    check(found[0], X, y)
    for other in found[1:]:
        assert other.mean.tobytes() == found[0].mean.tobytes()
        assert other.deviation.tobytes() == found[0].deviation.tobytes()


@both
@pytest.mark.parametrize("value", [0, 0.1, 1e-30, -123456.789, 3e20])
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_a_constant_feature_has_no_deviation(kind, value, n):
    """Exactly 0, though 0.1 times 1,000 is not the sum of 1,000 of them; its neighbour has one."""
    X = np.column_stack([np.full(n, value), np.arange(n)]).astype(np.float32)
    found = moments(ALONE, [Batch(kind(X), X[:, 0])], 2)
    assert (found.deviation[0], found.deviation[2]) == (0, 0)
    assert np.float32(found.mean[0]) == np.float32(value)
    assert (found.deviation[1] > 0) == (n > 1)


def test_no_rows():
    found = moments(ALONE, [], 3)
    assert (found.mean.tolist(), found.deviation.tolist(), found.rows) == ([0] * 4, [0] * 4, 0)


# scaling


SHIFT = np.array([1, -2, 0.5], np.float32)
SCALE = np.array([2, 0.5, 4], np.float32)
X3 = np.array([[3, 0, 0.5], [1, -2, 1], [0, 4, -1]], np.float32)


def test_dense_rows_by_hand():
    out = np.full((5, 3), np.nan, np.float32)
    found = Scaler(SHIFT, SCALE).features(X3, out)
    assert found.tolist() == [[4, 1, 0], [0, 0, 2], [-2, 3, -6]]
    assert np.shares_memory(found, out)
    assert X3[0].tolist() == [3, 0, 0.5]  # the caller's rows are his
    assert Scaler(None, SCALE).features(X3, out).tolist() == [[6, 0, 2], [2, -1, 4], [0, 2, -4]]


def test_sparse_rows_are_scaled_and_stay_sparse():
    """The places of the values stay, and the caller's values."""
    thin = sparse.csr_array(X3)
    found = Scaler(None, SCALE).features(thin, np.empty((0, 3), np.float32))
    assert isinstance(found, sparse.csr_array)
    assert found.toarray().tolist() == [[6, 0, 2], [2, -1, 4], [0, 2, -4]]
    assert (found.nnz, found.dtype) == (thin.nnz, np.float32)
    assert thin.toarray().tolist() == X3.tolist()


def test_sparse_rows_where_the_first_were_dense():
    """The shift is of the first rows; these few become dense."""
    found = Scaler(SHIFT, SCALE).features(sparse.csr_array(X3), np.empty((3, 3), np.float32))
    assert found.tolist() == [[4, 1, 0], [0, 0, 2], [-2, 3, -6]]


def test_labels_by_hand():
    y = np.array([10, 14, 4], np.float32)
    found = Scaler(None, SCALE, 10.0, 4.0).labels(y)
    assert found.tolist() == [0, 1, -1.5]
    assert found.dtype == np.float32
    assert Scaler(None, SCALE).labels(y) is y


def test_unscaled_by_hand():
    """2 (x - 1) + 3 of labels (y - 10) / 4: y = 4 (2 x + 1) + 10 = 8 x + 14."""
    scaler = Scaler(np.array([1], np.float32), np.array([2], np.float32), 10.0, 4.0)
    weights, bias = scaler.unscaled(np.array([[1]], np.float32), np.array([3], np.float32))
    assert (weights.tolist(), bias.tolist()) == ([[8]], [14])
    assert (weights.dtype, bias.dtype) == (np.float32, np.float32)


@both
@pytest.mark.parametrize("label", [(0.0, 1.0), (-30.0, 12.5)])
def test_unscaled_weights_give_the_same_scores(kind, label):
    """Scaled rows times the learned weights, in the labels' unit, are raw rows times the unscaled ones: 4 models."""
    X, y = rows(300)
    found = moments(ALONE, [Batch(X, y)], 6)
    shift = found.mean[:-1].astype(np.float32) if kind is np.asarray else None
    scaler = Scaler(shift, (1 / found.deviation[:-1]).astype(np.float32), *label)
    random = np.random.default_rng(1)
    weights = random.normal(size=(6, 4)).astype(np.float32)
    bias = random.normal(size=4).astype(np.float32)
    seen = scaler.features(kind(X), np.empty_like(X)) @ weights + bias
    raw, intercept = scaler.unscaled(weights, bias)
    scores = kind(X) @ raw.astype(np.float64) + intercept
    np.testing.assert_allclose(scores, seen * label[1] + label[0], rtol=1e-4, atol=2e-3 * label[1])
