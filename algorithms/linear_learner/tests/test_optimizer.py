"""One step of each optimizer by hand, many beside a slow twin, and what they find where the optimum is known."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import huber
from sklearn.linear_model import ElasticNet, LogisticRegression, QuantileRegressor

from algorithms.linear_learner.loss import Loss
from algorithms.linear_learner.optimizer import make, step

NAMES = ("adam", "sgd", "rmsprop")


def single(*numbers):
    return np.array(numbers, np.float32)


def walk(name, weight, gradients, rate=0.1, wd=0.0, l1=0.0, **settings):
    """The weight after each of the gradients."""
    optimizer = make(name, (1, 1), **settings)
    weights = single([weight])
    seen = []
    for gradient in gradients:
        step(optimizer, weights, single([gradient]), single(rate), single(wd), single(l1))
        seen.append(weights.item())
    assert optimizer.t == len(seen)
    return seen


def test_adam_by_hand():
    """Step 1: corrected means .5 and .25, 1 - .1 * .5 / .5. Step 2: -.005 / .19 and .00049975 / .001999 = .25."""
    assert walk("adam", 1, [0.5, -0.5]) == pytest.approx([0.9, 0.9 + 0.1 * 0.005 / 0.19 / 0.5], rel=1e-6)


def test_adam_with_other_betas_by_hand():
    """Means 1, 1 after the gradient 2, then 1, 1 after the gradient 1; corrected by .5, .25, then by .75, .4375."""
    first = 1 - 0.1 * (1 / 0.5) / math.sqrt(1 / 0.25)  # m = 1, v = 1: of the gradient 2
    second = first - 0.1 * ((0.5 + 0.5) / 0.75) / math.sqrt((0.75 + 0.25) / 0.4375)  # of the gradient 1
    assert walk("adam", 1, [2, 1], beta_1=0.5, beta_2=0.75) == pytest.approx([first, second], rel=1e-6)


def test_adam_with_a_small_gradient_by_hand():
    """Epsilon is added to sqrt(v), which is sqrt(.001) 1e-8 after one gradient, before the means are corrected."""
    root = math.sqrt(0.001)
    assert walk("adam", 1, [1e-8], rate=0.1) == pytest.approx([1 - root * 1e-9 / (root * 1e-8 + 1e-8)], rel=1e-6)


def test_sgd_by_hand():
    assert walk("sgd", 1, [0.5, 0.5]) == pytest.approx([0.95, 0.9])
    # slope .5 + .2 * 1 = .7; then .5 + .2 * .93 = .686 and velocity .9 * -.07 - .1 * .686
    assert walk("sgd", 1, [0.5, 0.5], wd=0.2, momentum=0.9) == pytest.approx([0.93, 0.7984], rel=1e-6)


def test_rmsprop_by_hand():
    """Means of squares .1 * .25, then .9 * .025 + .1 * 1 = .1225, whose root is .35."""
    first = 1 - 0.05 / math.sqrt(0.025)
    assert walk("rmsprop", 1, [0.5, -1]) == pytest.approx([first, first + 0.1 / 0.35], rel=1e-6)
    assert walk("rmsprop", 1, [1e-4], rate=0.1) == pytest.approx([1 - 1e-5 / math.sqrt(1e-9 + 1e-8)], rel=1e-6)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_weight_decay_is_part_of_the_gradient(name):
    assert walk(name, 1, [0.5], wd=2) == pytest.approx(walk(name, 1, [2.5]), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "weight", "l1", "left"),
    [
        ("sgd", 0.05, 0.1, 0.01 * -1 + 0.01),  # .05 - .1 * .5 = 0 before
        ("sgd", 1, 1, 0.85),  # .95 less .1
        ("sgd", -1, 1, -0.95),
        ("sgd", 0.14, 1, 0),  # .09 is within .1
        ("sgd", -0.04, 1, 0),
        ("adam", 1, 0.01, 0.88),  # the step is sqrt(.001) / sqrt(.00025) = 2 times the mean .05: .9 less .02
        ("adam", -1, 0.01, -1.08),
        ("adam", 0.05, 0.03, 0),  # -.05 is within .06
        ("rmsprop", 1, 0.1, 1 - 0.06 / math.sqrt(0.025)),
        ("rmsprop", 0.3, 0.1, 0),  # -.0162 is within .0632
    ],
)
def test_l1_by_hand(name, weight, l1, left):
    [found] = walk(name, weight, [0.5], l1=l1)
    assert found == (0 if left == 0 else pytest.approx(left, rel=1e-6))


class Twin:
    """The same optimizers as their papers write them, in float64."""

    def __init__(self, name, shape, momentum=0.0, beta_1=0.9, beta_2=0.999):
        self.name, self.momentum, self.betas, self.t = name, momentum, (beta_1, beta_2), 0
        self.m, self.v = np.zeros(shape), np.zeros(shape)

    def step(self, w, g, rate, wd, l1):
        self.t += 1
        g = g + wd * w
        if self.name == "adam":
            self.m = self.betas[0] * self.m + (1 - self.betas[0]) * g
            self.v = self.betas[1] * self.v + (1 - self.betas[1]) * g**2
            corrected = rate * math.sqrt(1 - self.betas[1] ** self.t) / (1 - self.betas[0] ** self.t)
            length = corrected / (np.sqrt(self.v) + 1e-8)
            w = w - length * self.m
        elif self.name == "sgd":
            self.m = self.momentum * self.m - rate * g
            moved = w + self.m
            left = np.sign(moved) * np.maximum(np.abs(moved) - rate * l1, 0)
            self.m = left - w
            return left
        else:
            self.v = 0.9 * self.v + 0.1 * g**2
            length = rate / np.sqrt(self.v + 1e-8)
            w = w - length * g
        return np.sign(w) * np.maximum(np.abs(w) - length * l1, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (300, 1), (7, 3), (200, 32), (3, 255), (3, 256), (2, 257), (2, 700)])
def test_many_steps_beside_the_twin(name, sparse, shape):
    random = np.random.default_rng(shape)
    settings = {"momentum": 0.8, "beta_1": 0.7, "beta_2": 0.95}
    optimizer, twin = make(name, shape, **settings), Twin(name, shape, **settings)
    rate, wd, l1 = (random.uniform(0, top, shape[1]).astype(np.float32) for top in (0.01, 0.5, 0.5))
    l1 *= sparse
    weights = random.normal(size=shape).astype(np.float32)
    wanted = weights.astype(float)
    for _ in range(60):
        gradient = random.normal(size=shape).astype(np.float32)
        wanted = twin.step(wanted, gradient.astype(float), *(array.astype(float) for array in (rate, wd, l1)))
        step(optimizer, weights, gradient, rate, wd, l1)
    np.testing.assert_allclose(weights, wanted, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("l1", [0, 0.1])
def test_columns_do_not_meet(name, l1):
    """A model trained among others is the model trained alone, though vectors cut the columns elsewhere."""
    random = np.random.default_rng(5)
    weights, gradients = random.normal(size=(11, 5)).astype(np.float32), random.normal(size=(9, 11, 5))
    gradients = gradients.astype(np.float32)
    numbers = random.uniform(0, 0.1, (3, 5)).astype(np.float32)
    numbers[2] = l1
    together, optimizer = weights.copy(), make(name, weights.shape)
    alone = np.ascontiguousarray(weights[:, 3:4])
    other = make(name, alone.shape)
    for gradient in gradients:
        step(other, alone, np.ascontiguousarray(gradient[:, 3:4]), *np.ascontiguousarray(numbers[:, 3:4]))
        step(optimizer, together, gradient, *numbers)
    np.testing.assert_allclose(together[:, 3:4], alone, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("l1", [0, 0.1])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_hidden(name, l1, bad):
    """Neither by L1, whose threshold could turn NaN into 0, nor in the other columns."""
    weights, gradient = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    gradient[0, 1] = bad
    three = np.full((3, 3), 0.01, np.float32)
    three[2] = l1
    step(make(name, (2, 3)), weights, gradient, *three)
    assert not np.isfinite(weights[0, 1])
    assert np.isfinite(weights).sum() == 5


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_do(name):
    """No rows, no rate, no gradient."""
    step(make(name, (0, 3)), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), *np.zeros((3, 3), np.float32))
    assert walk(name, 1, [1.0, 2.0], rate=0) == [1, 1]
    assert walk(name, 1, [0.0, 0.0]) == [1, 1]


PENALTIES = np.array([[0, 0], [0.1, 0], [0, 0.15], [0.1, 0.15]])  # wd and l1 of four models
ROWS, WIDTH = 150, 5


def problem(name):
    """X (n, d) with correlated columns, the last of no use, and labels with noise that the loss is made for."""
    random = np.random.default_rng(6)
    X = random.normal(size=(ROWS, WIDTH)) @ (np.eye(WIDTH) + 0.3)
    scores = X @ [1.5, -2.0, 0.0, 0.7, 0.0]
    if name == "logistic":
        y = (random.random(ROWS) < 1 / (1 + np.exp(-scores))).astype(float)
    else:
        y = scores + random.standard_t(3, ROWS) / 4
    return X.astype(np.float32), y.astype(np.float32)


def descend(loss, optimizer, rate, X, y):
    """Weights (d, 4) of the four models by full batches, the rate decaying."""
    weights = np.zeros((WIDTH, len(PENALTIES)), np.float32)
    wd, l1 = np.ascontiguousarray(PENALTIES.T, np.float32)
    for at in range(3000):
        _, slopes = loss.with_slopes(X @ weights, y)
        now = np.full(len(PENALTIES), rate * 0.997**at, np.float32)
        step(optimizer, weights, X.T @ slopes / np.float32(ROWS), now, wd, l1)
    return weights


def best(value, X, wd, l1):
    """argmin of the mean of value(X w) + wd / 2 |w|^2 + l1 |w|, by L-BFGS with w = p - q, p and q >= 0."""

    def cost(both):
        w = both[:WIDTH] - both[WIDTH:]
        mean, slopes = value(X @ w)
        slope = X.T @ slopes / len(X) + wd * w
        return mean + wd / 2 * w @ w + l1 * both.sum(), np.concatenate([slope + l1, l1 - slope])

    found = minimize(
        cost, np.zeros(2 * WIDTH), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2 * WIDTH,
        options={"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    return found.x[:WIDTH] - found.x[WIDTH:]


def best_quantile(X, y, q, wd, l1):
    """The same for the quantile loss: by scikit-learn's linear program, with L2 by its dual.

    The greatest y'a - |shrunk(X'a, l1)|^2 / (2 wd) over (q - 1) / n <= a <= q / n, then w = shrunk(X'a, l1) / wd.
    """
    if wd == 0:
        return QuantileRegressor(quantile=q, alpha=l1, fit_intercept=False).fit(X, y).coef_

    def shrunk(a):
        s = X.T @ a
        return np.sign(s) * np.maximum(np.abs(s) - l1, 0)

    def cost(a):
        s = shrunk(a)
        return s @ s / (2 * wd) - y @ a, X @ s / wd - y

    found = minimize(
        cost, np.zeros(ROWS), jac=True, method="L-BFGS-B", bounds=[((q - 1) / ROWS, q / ROWS)] * ROWS,
        options={"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    return shrunk(found.x) / wd


def optima(name, X, y):
    """The weights (d, 4) that are best for the four models."""
    X, y = X.astype(float), y.astype(float)
    if name == "quantile_loss":
        return np.stack([best_quantile(X, y, 0.7, *penalties) for penalties in PENALTIES], axis=1)
    sign = 1 - 2 * y
    value = {
        "logistic": lambda s: (np.logaddexp(0, sign * s).mean(), sign / (1 + np.exp(-sign * s))),
        "squared_loss": lambda s: (np.mean((s - y) ** 2), 2 * (s - y)),
        "huber_loss": lambda s: (huber(1.2, s - y).mean(), np.clip(s - y, -1.2, 1.2)),
    }[name]
    return np.stack([best(value, X, *penalties) for penalties in PENALTIES], axis=1)


@pytest.fixture(scope="module", params=["logistic", "squared_loss", "huber_loss", "quantile_loss"])
def convex(request):
    """A loss, a problem and its optima."""
    X, y = problem(request.param)
    return Loss(request.param, quantile=0.7, delta=1.2), X, y, optima(request.param, X, y)


@pytest.mark.parametrize(("name", "rate"), [("adam", 0.05), ("sgd", 0.1), ("rmsprop", 0.05)])
def test_the_optimum(convex, name, rate):
    """Of four models at once: no penalty, L2, L1, both."""
    loss, X, y, wanted = convex
    weights = descend(loss, make(name, (WIDTH, len(PENALTIES)), momentum=0.9), rate, X, y)
    np.testing.assert_allclose(weights, wanted, atol=1e-3)
    assert ((weights == 0) == (np.abs(wanted) < 1e-7)).all()
    assert (weights == 0).any(), "a problem where L1 has no zeros shows nothing"


def test_the_optima_are_those_of_scikit_learn():
    """What the tests above compare with, where scikit-learn has the same problem."""
    X, y = problem("logistic")
    for (wd, l1), wanted in zip(PENALTIES[1:], optima("logistic", X, y).T[1:], strict=True):
        model = LogisticRegression(
            C=1 / (ROWS * (wd + l1)), l1_ratio=l1 / (wd + l1), solver="saga", tol=1e-8, max_iter=20_000,
            fit_intercept=False, random_state=0,
        )  # fmt: skip
        np.testing.assert_allclose(model.fit(X, y).coef_[0], wanted, atol=1e-4)
    X, y = problem("squared_loss")
    for (wd, l1), wanted in zip(PENALTIES[2:], optima("squared_loss", X, y).T[2:], strict=True):
        half = ElasticNet(alpha=(wd + l1) / 2, l1_ratio=l1 / (wd + l1), tol=1e-10, fit_intercept=False)
        np.testing.assert_allclose(half.fit(X.astype(float), y.astype(float)).coef_, wanted, atol=1e-4)
