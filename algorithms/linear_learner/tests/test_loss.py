"""Losses and their slopes: numbers by hand, finite differences, scikit-learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss, mean_pinball_loss

from algorithms.linear_learner.loss import FUNCTIONS, Loss

CLASSIFIERS = ("logistic", "hinge_loss")
REGRESSORS = tuple(name for name in FUNCTIONS if name not in (*CLASSIFIERS, "softmax_loss"))


def column(*numbers):
    return np.array(numbers, np.float32)[:, None]


def labels(*numbers):
    return np.array(numbers, np.float32)


@pytest.mark.parametrize(
    ("loss", "score", "label", "value", "slope"),
    [
        (Loss("logistic"), 0, 1, math.log(2), -0.5),
        (Loss("logistic"), 0, 0, math.log(2), 0.5),
        (Loss("logistic"), math.log(3), 1, math.log(4 / 3), -0.25),  # p = 3/4
        (Loss("logistic"), math.log(3), 0, math.log(4), 0.75),
        (Loss("hinge_loss"), 0.25, 1, 0.75, -1),
        (Loss("hinge_loss"), 0.25, 0, 1.25, 1),
        (Loss("hinge_loss"), 2, 1, 0, 0),
        (Loss("hinge_loss", margin=3), 2, 1, 1, -1),
        (Loss("squared_loss"), 5, 2, 9, 6),
        (Loss("squared_loss"), 2, 5, 9, -6),
        (Loss("absolute_loss"), 5, 2, 3, 1),
        (Loss("absolute_loss"), 2, 5, 3, -1),
        (Loss("absolute_loss"), 2, 2, 0, 0),
        (Loss("eps_insensitive_squared_loss", insensitivity=1), 5, 2, 4, 4),
        (Loss("eps_insensitive_squared_loss", insensitivity=1), 2, 5, 4, -4),
        (Loss("eps_insensitive_squared_loss", insensitivity=1), 2.5, 2, 0, 0),
        (Loss("eps_insensitive_absolute_loss", insensitivity=1), 5, 2, 2, 1),
        (Loss("eps_insensitive_absolute_loss", insensitivity=1), 2, 5, 2, -1),
        (Loss("eps_insensitive_absolute_loss", insensitivity=1), 1.5, 2, 0, 0),
        (Loss("quantile_loss", quantile=0.25), 5, 1, 3, 0.75),
        (Loss("quantile_loss", quantile=0.25), 1, 5, 1, -0.25),
        (Loss("huber_loss", delta=2), 3, 2, 0.5, 1),
        (Loss("huber_loss", delta=2), 7, 2, 8, 2),  # 2 (5 - 1)
        (Loss("huber_loss", delta=2), 2, 7, 8, -2),
    ],
)
def test_by_hand(loss, score, label, value, slope):
    values, slopes = loss.with_slopes(column(score), labels(label))
    np.testing.assert_allclose([values.item(), slopes.item()], [value, slope], rtol=1e-6)


def test_softmax_by_hand():
    """p = (1/6, 2/6, 3/6); of two models, the second has the same scores but for a shift."""
    scores = np.log(np.array([[[1, 2, 3], [10, 20, 30]]], np.float32))
    values, slopes = Loss("softmax_loss").with_slopes(scores, labels(1))
    np.testing.assert_allclose(values, [[math.log(3), math.log(3)]], rtol=1e-6)
    np.testing.assert_allclose(slopes[0], [[1 / 6, 2 / 6 - 1, 3 / 6]] * 2, rtol=1e-6)


def cases(classes=4):
    """Scores in float64 of 60 rows and 3 models, away from kinks, and labels, for every loss."""
    random = np.random.default_rng(1)
    scores, targets = random.normal(scale=2, size=(60, 3)), random.normal(scale=2, size=60)
    for name in CLASSIFIERS:
        yield Loss(name, margin=0.7), scores, random.integers(0, 2, 60).astype(float)
    for name in REGRESSORS:
        yield Loss(name, quantile=0.3, insensitivity=0.4, delta=1.3), scores, targets
    many = random.normal(scale=2, size=(60, 3, classes))
    yield Loss("softmax_loss"), many, random.integers(0, classes, 60).astype(float)


CASES = [pytest.param(*case, id=case[0].name) for case in cases()]


@pytest.mark.parametrize(("loss", "scores", "given"), CASES)
def test_slopes_are_the_derivatives(loss, scores, given):
    h = 1e-6
    _, slopes = loss.with_slopes(scores, given)
    sides = scores[..., None] if scores.ndim == 2 else scores
    for at in range(sides.shape[2]):
        step = np.zeros_like(sides)
        step[:, :, at] = h
        up, down = (loss.values(moved.reshape(scores.shape), given) for moved in (sides + step, sides - step))
        np.testing.assert_allclose(slopes.reshape(sides.shape)[:, :, at], (up - down) / (2 * h), atol=2e-7)


@pytest.mark.parametrize(("loss", "scores", "given"), CASES)
def test_single_precision_and_what_is_left_alone(loss, scores, given):
    single, told = scores.astype(np.float32), given.astype(np.float32)
    values, slopes = loss.with_slopes(single, told)
    assert (values.dtype, slopes.dtype) == (np.float32, np.float32)
    assert (values.shape, slopes.shape) == (scores.shape[:2], scores.shape)
    wanted = loss.with_slopes(scores, given)
    np.testing.assert_allclose(values, wanted[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(slopes, wanted[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(single, scores.astype(np.float32))
    np.testing.assert_array_equal(told, given.astype(np.float32))
    np.testing.assert_array_equal(loss.values(single, told), values)


@pytest.mark.parametrize(("loss", "scores", "given"), CASES)
def test_rows_and_models_do_not_meet(loss, scores, given):
    values, slopes = loss.with_slopes(scores, given)
    some = loss.with_slopes(np.ascontiguousarray(scores[5:9, 1:2]), given[5:9])
    np.testing.assert_allclose(some[0], values[5:9, 1:2], rtol=1e-12)
    np.testing.assert_allclose(some[1], slopes[5:9, 1:2], rtol=1e-12, atol=1e-12)


def test_logistic_of_scores_of_any_size():
    """Neither inf nor 0 where float32 can tell: log(1 + exp(z)) is z for great z and exp(z) for z far below 0."""
    z = np.array([-100, -80, -20, -1, 0, 1, 20, 79, 81, 1000, 3e38], np.float32)
    values, slopes = Loss("logistic").with_slopes(z[:, None], np.zeros(len(z), np.float32))
    wide = z.astype(float)
    np.testing.assert_allclose(values[:, 0], np.logaddexp(0, wide), rtol=1e-6, atol=1e-40)
    np.testing.assert_allclose(slopes[:, 0], np.exp(-np.logaddexp(0, -wide)), rtol=1e-6, atol=1e-40)
    mirrored = Loss("logistic").with_slopes(-z[:, None], np.ones(len(z), np.float32))
    np.testing.assert_array_equal(mirrored[0], values)
    np.testing.assert_array_equal(mirrored[1], -slopes)


def test_logistic_as_scikit_learn_has_it():
    random = np.random.default_rng(2)
    scores, given = random.normal(scale=3, size=(100, 1)).astype(np.float32), random.integers(0, 2, 100)
    wanted = log_loss(given, 1 / (1 + np.exp(-scores[:, 0].astype(float))))
    assert Loss("logistic").values(scores, given.astype(np.float32)).mean() == pytest.approx(wanted, rel=1e-5)


def test_quantile_as_scikit_learn_has_it():
    random = np.random.default_rng(3)
    scores, given = random.normal(size=(100, 1)).astype(np.float32), random.normal(size=100).astype(np.float32)
    mean = Loss("quantile_loss", quantile=0.8).values(scores, given).mean()
    assert mean == pytest.approx(mean_pinball_loss(given, scores[:, 0], alpha=0.8), rel=1e-5)


def test_the_quantile_is_that_of_2018():
    """P(target < prediction) = q: of the targets 0..99 the score that costs least has nine tenths of them below it."""
    targets = np.arange(100, dtype=np.float32)
    constant = np.tile(targets + 0.5, (100, 1))  # model j answers j + 0.5
    best = Loss("quantile_loss", quantile=0.9).values(constant, targets).mean(axis=0).argmin()
    assert (targets < constant[0, best]).mean() == pytest.approx(0.9, abs=0.011)


@pytest.mark.parametrize("classes", [2, 3, 32, 33, 1000])
@pytest.mark.parametrize("scale", [1, 30, 1e4, 1e30])
def test_softmax_as_scipy_has_it(classes, scale):
    random = np.random.default_rng(classes)
    scores = (random.normal(size=(20, 2, classes)) * scale).astype(np.float32)
    given = random.integers(0, classes, 20)
    values, slopes = Loss("softmax_loss").with_slopes(scores, given.astype(np.float32))
    wide = scores.astype(float)
    logs = np.take_along_axis(log_softmax(wide, axis=2), given[:, None, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(values, -logs, rtol=1e-5, atol=1e-5)
    wanted = softmax(wide, axis=2) - np.eye(classes)[given][:, None, :]
    np.testing.assert_allclose(slopes, wanted, atol=2e-5 if scale < 100 else 1e-3)


@given(factor=st.floats(1e-3, 1e3), name=st.sampled_from(REGRESSORS))
def test_scaled_labels(factor, name):
    """A loss of labels and scores that have been divided, in the units of the labels, is the loss of the labels."""
    random = np.random.default_rng(4)
    scores, targets = random.normal(scale=2, size=(50, 2)), random.normal(scale=2, size=50)
    loss = Loss(name, quantile=0.3, insensitivity=0.4, delta=1.3)
    values = loss.scaled(factor).values(scores / factor, targets / factor) * loss.in_units(factor)
    np.testing.assert_allclose(values, loss.values(scores, targets), rtol=1e-6, atol=1e-9)


def test_labels_of_classes_have_no_unit():
    assert [Loss(name).in_units(7.0) for name in (*CLASSIFIERS, "softmax_loss")] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, 1e30])
def test_what_diverges_is_seen_and_not_warned_of(name, score):
    """The other row's loss stays what it is. (Any warning here is an error.)"""
    classes = (3,) if name == "softmax_loss" else ()
    scores = np.ones((2, 1, *classes), np.float32)
    alone = Loss(name).values(scores, labels(0, 1))
    scores[0].reshape(-1)[0] = score
    values, _ = Loss(name).with_slopes(scores, labels(0, 1))
    np.testing.assert_array_equal(values[1], alone[1])
    assert not np.isnan(score) or np.isnan(values[0]).all()
    if name in REGRESSORS and not np.isnan(score):
        assert values[0] > 1e29


def test_names_in_the_log():
    assert {name: Loss(name).objective for name in FUNCTIONS} == {
        "logistic": "binary_classification_cross_entropy_objective",
        "hinge_loss": "hinge_loss_objective",
        "squared_loss": "mse_objective",
        "absolute_loss": "absolute_loss_objective",
        "eps_insensitive_squared_loss": "eps_insensitive_squared_loss_objective",
        "eps_insensitive_absolute_loss": "eps_insensitive_absolute_loss_objective",
        "quantile_loss": "quantile_loss_objective",
        "huber_loss": "huber_loss_objective",
        "softmax_loss": "multiclass_cross_entropy_objective",
    }


def test_only_lengths_are_scaled():
    loss = Loss("huber_loss", margin=2.0, quantile=0.3, insensitivity=0.5, delta=4.0)
    assert loss.scaled(2.0) == replace(loss, insensitivity=0.25, delta=2.0)
