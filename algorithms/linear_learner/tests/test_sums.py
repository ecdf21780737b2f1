"""The kernel of dense rows against the losses in NumPy, which have their own tests."""

import numpy as np
import pytest

from algorithms.linear_learner import _sums
from algorithms.linear_learner.loss import Loss

NOTHING = np.empty((0, 0), np.float32)


def single(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("zeros", [0.0, 0.6, 0.9])  # from two thirds on the others are listed
@pytest.mark.parametrize("weighs_loss", [False, True])
@pytest.mark.parametrize("models", [1, 15, 16, 40])  # panels of 16, the last one filled up
@pytest.mark.parametrize("name", _sums.LOSSES)
def test_it_adds_what_numpy_adds(name, models, weighs_loss, zeros):
    n, d = 149, 29  # six rows and eight numbers at a time, and five left
    X, weights, bias, shift = single(n, d), single(d, models, seed=1), single(1, models, seed=2), single(d, seed=3)
    X[np.random.default_rng(7).random((n, d)) < zeros] = 0
    scale, of_classes = np.abs(single(d, seed=4)) / 3, np.abs(single(2, models, seed=5))
    y = (single(n, seed=6) > 0).astype(np.float32)
    loss = Loss(name, margin=0.7, quantile=0.3, insensitivity=0.2, delta=0.6)
    sums = np.full((d + 3, models), np.nan, np.float32)
    _sums.add(X, y, weights, bias, (scale, shift, loss.code, loss.parameter, of_classes, weighs_loss), sums)
    rows = ((X - shift) * scale).astype(float)
    values, slopes = loss.with_slopes(rows @ weights + bias, y)
    slopes *= of_classes[y.astype(int)]
    values = values * of_classes[y.astype(int)] if weighs_loss else values
    expected = np.vstack([rows.T @ slopes, slopes.sum(axis=0), values.sum(axis=0), np.full(models, n)])
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", _sums.LOSSES)
@pytest.mark.parametrize("score", [0.0, 1e-7, -3e-4, 0.7, -15.0, 40.0, -88.0, 1e4, -3e38])
def test_every_size_of_score(name, score):
    """One row, one weight: the loss and its slope, to the last bits; no warning, nothing infinite that is not."""
    loss = Loss(name)
    for label in (0.0, 1.0):
        y, sums = np.array([label], np.float32), np.empty((4, 1), np.float32)
        one, weight = np.ones((1, 1), np.float32), np.full((1, 1), score, np.float32)
        _sums.add(one, y, weight, 0 * one, (one[0], 0 * one[0], loss.code, loss.parameter, NOTHING, False), sums)
        with np.errstate(all="ignore"):
            value, slope = loss.with_slopes(weight, y)
        np.testing.assert_allclose(sums[1:3, 0], [slope[0, 0], value[0, 0]], rtol=1e-6, atol=1e-36)


def test_rows_of_zeros_and_one_number():
    """A row may have any number of entries, none too, and -0.0 is one or is not: it changes nothing."""
    d, y, one = 21, np.zeros(23, np.float32), np.ones(21, np.float32)
    X = np.vstack([np.zeros((1, d)), np.eye(d), np.full((1, d), -0.0)]).astype(np.float32)
    weights, bias, sums = single(d, 3), single(1, 3, seed=1), np.empty((d + 3, 3), np.float32)
    loss = Loss("squared_loss")
    _sums.add(X, y, weights, bias, (one, 0 * one, loss.code, loss.parameter, NOTHING, False), sums)
    scores = X @ weights + bias
    np.testing.assert_allclose(sums[:d], 2 * X.T @ scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sums[d + 1], (scores**2).sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", _sums.LOSSES)
@pytest.mark.parametrize("others", [1, 9])  # of nine zeros the entry is listed
def test_the_loss_of_an_infinite_or_nan_number_is_not_finite(name, others):
    loss, sums = Loss(name), np.empty((others + 4, 1), np.float32)
    X, one = np.zeros((1, others + 1), np.float32), np.ones(others + 1, np.float32)
    X[0, 0] = np.nan
    objective = (one, 0 * one, loss.code, loss.parameter, NOTHING, False)
    _sums.add(X, one[:1], one[:, None], np.zeros((1, 1), np.float32), objective, sums)
    assert np.isnan(sums[-2, 0])


@pytest.mark.parametrize("name", _sums.LOSSES)
def test_the_loss_of_nan_is_nan(name):
    """So that a model that diverged is seen as such."""
    loss, one, sums = Loss(name), np.ones((1, 1), np.float32), np.empty((4, 1), np.float32)
    bias = np.full((1, 1), np.nan, np.float32)
    _sums.add(one, one[0], one, bias, (one[0], 0 * one[0], loss.code, loss.parameter, NOTHING, False), sums)
    assert np.isnan(sums[2, 0])
