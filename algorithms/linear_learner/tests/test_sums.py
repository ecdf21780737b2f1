"""The kernel of dense rows against the losses in NumPy, which have their own tests."""

import numpy as np
import pytest

from algorithms.linear_learner import _sums
from algorithms.linear_learner.loss import Loss

NOTHING = np.empty((0, 0), np.float32)


def single(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("weighs_loss", [False, True])
@pytest.mark.parametrize("models", [1, 15, 16, 40])  # panels of 16, the last one filled up
@pytest.mark.parametrize("name", _sums.LOSSES)
def test_it_adds_what_numpy_adds(name, models, weighs_loss):
    n, d = 53, 29  # six rows at a time, and five left
    X, weights, bias, shift = single(n, d), single(d, models, seed=1), single(1, models, seed=2), single(d, seed=3)
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


@pytest.mark.parametrize("name", _sums.LOSSES)
def test_the_loss_of_nan_is_nan(name):
    """So that a model that diverged is seen as such."""
    loss, one, sums = Loss(name), np.ones((1, 1), np.float32), np.empty((4, 1), np.float32)
    bias = np.full((1, 1), np.nan, np.float32)
    _sums.add(one, one[0], one, bias, (one[0], 0 * one[0], loss.code, loss.parameter, NOTHING, False), sums)
    assert np.isnan(sums[2, 0])
