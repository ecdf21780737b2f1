"""The kernel by hand, its scores beside a double sum over pairs, its gradients beside finite differences."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.factorization_machines._factorization import Step, adam, margins


def rows(*dense, index=np.int32):
    """CSR of the numbers that are not None; 0 is stored."""
    dense = np.array(dense, float)
    stored = ~np.isnan(dense)
    indptr = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(index)
    return sparse_of(dense[stored].astype(np.float32), np.nonzero(stored)[1].astype(index), indptr, dense.shape)


def sparse_of(data, indices, indptr, shape):
    X = sparse.csr_array((data, indices, indptr), shape=shape)
    X.indices, X.indptr = indices, indptr  # of the type that was asked for
    return X


def model(width, k, seed=0):
    """A bias, weights (N,) and factors (N, k)."""
    random = np.random.default_rng(seed)
    normal = random.standard_normal
    return float(np.float32(normal())), normal(width, np.float32), normal((width, k), np.float32)


def sample(n, width, index=np.int32, seed=0):
    """About a third of the numbers, the third row empty."""
    dense = np.random.default_rng(seed).normal(size=(n, width))
    dense[np.random.default_rng(seed + 1).random((n, width)) < 0.7] = np.nan
    dense[2:3] = np.nan
    return rows(*dense, index=index)


def scores(X, bias, linear, factors, threads=1):
    out = np.full(X.shape[0], np.nan, np.float32)
    margins(X.indptr, X.indices, X.data, bias, linear, factors, out, threads)
    return out


def pairwise(X, bias, linear, factors):
    """Source: the guide, "How Factorization Machines Work", in float64, a stored number after the other."""
    out = np.full(X.shape[0], bias, float)
    linear, factors = linear.astype(float), factors.astype(float)
    for row, (start, stop) in enumerate(zip(X.indptr, X.indptr[1:], strict=False)):
        features, x = X.indices[start:stop], X.data[start:stop].astype(float)
        for i in range(len(x)):
            out[row] += linear[features[i]] * x[i]
            for j in range(i + 1, len(x)):
                out[row] += factors[features[i]] @ factors[features[j]] * x[i] * x[j]
    return out


def test_scores_by_hand():
    X = rows([1, np.nan, 2], [np.nan, 5, np.nan], [np.nan] * 3)
    linear, factors = np.array([1, 2, 3], np.float32), np.array([[1, 0], [2, 5], [3, 7]], np.float32)
    # 10 + 1 * 1 + 3 * 2 + (1 * 3 + 0 * 7) * 1 * 2; a feature alone has no partner
    assert scores(X, 10, linear, factors).tolist() == [23, 20, 10]


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("k", [1, 2, 7, 8, 16, 17, 64])
def test_scores_beside_the_sum_over_pairs(k, index):
    X, parts = sample(9, 30, index), model(30, k)
    found = scores(X, *parts)
    np.testing.assert_allclose(found, pairwise(X, *parts), rtol=1e-5, atol=2e-5)
    assert found[2] == np.float32(parts[0])
    for threads in (2, 3, 16):
        assert np.array_equal(scores(X, *parts, threads), found)


def test_scores_of_nothing():
    parts = model(4, 3)
    assert scores(sparse.csr_array((0, 4), dtype=np.float32), *parts).size == 0
    assert scores(sparse.csr_array((2, 4), dtype=np.float32), *parts).tolist() == [np.float32(parts[0])] * 2


def test_no_feature_beyond_the_model():
    bias, linear, factors = model(4, 3)
    for index in (4, -1):
        X = sparse_of(np.ones(1, np.float32), np.array([index], np.int32), np.array([0, 1], np.int32), (1, 4))
        with pytest.raises(IndexError, match=f"index must be at least 0 and less than 4, got {index}"):
            scores(X, bias, linear, factors)


def test_more_numbers_than_32_bits_can_count():
    """Memory that is not touched costs nothing."""
    width, k = 2**25 + 1, 64
    try:
        linear, factors = np.zeros(width, np.float32), np.zeros((width, k), np.float32)
    except MemoryError:
        pytest.skip("8 GiB of addresses are not to be had")
    factors[-1], factors[0] = 2, 3
    X = sparse_of(np.ones(2, np.float32), np.array([0, width - 1]), np.array([0, 2]), (1, width))
    assert scores(X, 0, linear, factors).tolist() == [6 * k]
    features, gradients = gradients_of(X, np.array([0], np.float32), (0, linear, factors))
    assert features.tolist() == [0, width - 1]
    assert np.array_equal(gradients[:, 1:], 2 * 6 * k * np.array([[2.0] * k, [3.0] * k]))


def gradients_of(X, labels, parts, binary=False, threads=1):
    step = Step(threads)
    out = np.empty(X.shape[0], np.float32)
    step.forward(X.indptr, X.indices, X.data, labels, binary, *parts, out)
    features, gradients = step.gradients()
    order = np.argsort(features)
    assert len(np.unique(features)) == len(features)
    return features[order], gradients[order]


@pytest.mark.parametrize("binary", [False, True])
def test_a_feature_alone_in_its_row_does_not_pull_on_its_factors(binary):
    """What rounding leaves of S - x v is not a gradient: Adam would make whole steps of it."""
    X, parts = rows([np.nan, 1000.3, np.nan], [np.nan, 0.7, np.nan], [3.3, np.nan, np.nan]), model(3, 16)
    features, gradients = gradients_of(X, np.ones(3, np.float32), parts, binary)
    assert features.tolist() == [0, 1]
    assert gradients[:, 0].all()
    assert not gradients[:, 1:].any()


def loss(X, labels, parts, binary):
    """The sum over the rows, in float64."""
    scores = pairwise(X, *parts)
    return np.sum(np.logaddexp(0, scores) - labels * scores if binary else (scores - labels) ** 2)


def test_gradients_by_hand():
    X = rows([1, np.nan, 2, 0])
    linear, factors = np.array([1, 2, 3, 4], np.float32), np.array([[1], [2], [3], [4]], np.float32)
    features, gradients = gradients_of(X, np.array([10], np.float32), (0.0, linear, factors))
    assert features.tolist() == [0, 2]  # what is stored as 0 does not occur
    # margin 1 + 6 + 6 = 13, slope 2 * 3; S = 1 + 6; 6 * 1 * (7 - 1), 6 * 2 * (7 - 6)
    assert gradients.tolist() == [[6, 36], [12, 12]]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("twice", [False, True])
def test_gradients_beside_finite_differences(binary, twice):
    X = sample(6, 5)
    if twice:  # a matrix may store a place twice; the two are then partners of each other
        X = sparse_of(
            np.float32([1, 2, -1, 0.5]), np.array([1, 1, 0, 1], np.int32), np.array([0, 3, 4], np.int32), (2, 5)
        )
    labels = np.random.default_rng(1).integers(0, 2, X.shape[0]).astype(np.float32)
    bias, linear, factors = model(5, 3)
    features, found = gradients_of(X, labels, (bias, linear, factors), binary)
    assert features.tolist() == np.unique(X.indices).tolist()
    h = 1e-5
    both = np.column_stack([linear, factors]).astype(float)
    for place, feature in enumerate(features):
        for f in range(4):
            ends = []
            for sign in (1, -1):
                moved = both.copy()
                moved[feature, f] += sign * h
                ends.append(loss(X, labels, (bias, moved[:, 0], moved[:, 1:]), binary))
            assert found[place, f] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=2e-4, abs=2e-5)


def test_sum_of_the_slopes():
    X, labels, parts = sample(6, 5), np.float32([0, 1, 0, 1, 1, 0]), model(5, 3)
    for binary in (False, True):
        out = np.empty(6, np.float32)
        found = Step(1).forward(X.indptr, X.indices, X.data, labels, binary, *parts, out)
        ends = [loss(X, labels, (parts[0] + h, *parts[1:]), binary) for h in (1e-5, -1e-5)]
        assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)
        np.testing.assert_array_equal(out, scores(X, *parts))


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("width", [1, 2, 17, 4096, 4097, 1_000_000, 10_000_000])
def test_features_are_found_whatever_their_number(width, index):
    random = np.random.default_rng(width)
    indices = np.concatenate([random.integers(0, width, 997), [width - 1, 0, width - 1]]).astype(index)
    data = random.normal(size=1000).astype(np.float32)
    X = sparse_of(data, indices, np.arange(0, 1001, 10).astype(index), (100, width))
    step, out = Step(2), np.empty(100, np.float32)
    parts = 1.0, np.zeros(width, np.float32), np.ones((width, 1), np.float32)
    step.forward(X.indptr, X.indices, X.data, np.zeros(100, np.float32), False, *parts, out)
    features, gradients = step.gradients()
    order = np.argsort(features)
    unique, place = np.unique(indices, return_inverse=True)
    assert np.array_equal(features[order], unique)
    expected = np.bincount(place, 2.0 * np.repeat(out, 10) * data)
    np.testing.assert_allclose(gradients[order, 0], expected, rtol=1e-4, atol=1e-3)


def term(weights, rate=0.1, wd=0.0, clip=np.inf, epsilon=1e-8, scale=1.0):
    weights = np.array(weights, np.float32)
    return weights, np.zeros_like(weights), np.zeros_like(weights), scale, rate, wd, clip, epsilon, 0.9, 0.999


def test_adam_by_hand():
    """MXNet 1.9.1 found the same: 1 is clipped after 1 of decay is added to .5 * -3; means .1 of it and .001."""
    state = term([[3, 4]], wd=0.25, clip=1, scale=0.5, epsilon=0)
    adam(np.float32([[0.5, -6]]), state)
    assert state[1].ravel() == pytest.approx([0.1, -0.1])  # .25 + .75, -3 + 1
    assert state[2].ravel() == pytest.approx([0.001, 0.001])
    assert state[0].ravel() == pytest.approx([3 - 0.1 * 0.1 / 0.001**0.5, 4 + 0.1 * 0.1 / 0.001**0.5])


def test_epsilon_is_added_to_the_root():
    state = term([[1]], epsilon=0.5)
    adam(np.float32([[0.5]]), state)
    assert state[0].item() == pytest.approx(1 - 0.1 * 0.05 / (0.00025**0.5 + 0.5))


def test_hosts_gradients_are_added_in_order():
    step = Step(2)
    X = sample(4, 40)
    step.forward(X.indptr, X.indices, X.data, np.zeros(4, np.float32), False, *model(40, 2), np.empty(4, np.float32))
    step.replace(np.array([39, 3, 39]), np.float32([[1, 2, 3], [4, 5, 6], [10, 20, 30]]), 40)
    linear, factors = term(np.zeros((40, 1))), term(np.zeros((40, 2)))
    step.update(linear, factors)
    expected = np.zeros((40, 3))
    expected[39], expected[3] = [11, 22, 33], [4, 5, 6]
    np.testing.assert_allclose(np.hstack([linear[1], factors[1]]), expected * 0.1, rtol=1e-6)
    step.replace(np.empty(0, np.int64), np.empty((0, 3), np.float32), 40)
    before = factors[0].copy()
    step.update(linear, factors)
    assert np.array_equal(factors[0], before)


def test_as_many_bits_with_any_number_of_threads():
    X, labels = sample(50, 300), np.zeros(50, np.float32)
    found = []
    for threads in (1, 2, 3, 7):
        bias, linear, factors = model(300, 5)
        states = term(linear[:, None], wd=0.1), term(factors, wd=0.1)
        step = Step(threads)
        for _ in range(3):
            step.forward(
                X.indptr, X.indices, X.data, labels, True, bias, states[0][0].ravel(), states[1][0],
                np.empty(50, np.float32),
            )  # fmt: skip
            step.update(*states)
        found.append([array.tobytes() for state in states for array in state[:3]])
    assert all(each == found[0] for each in found)
