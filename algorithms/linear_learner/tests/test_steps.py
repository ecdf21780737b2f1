"""The steps of training against a slow twin in float64, and some of them by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax

from algorithms.cluster import Cluster
from algorithms.linear_learner.fit import fit, raw_loss
from algorithms.linear_learner.grid import Setting, settings
from algorithms.linear_learner.groups import Groups
from algorithms.linear_learner.scaler import Scaler
from algorithms.linear_learner.tests.test_fit import BINARY, MULTICLASS, REGRESSOR, labelled
from formats import Batch

# settings that take no decision: one model, no schedule, no decay, and weights that begin as good as 0
PLAIN = {"num_models": 1, "epochs": 1, "wd": 0, "use_lr_scheduler": False, "init_scale": 1e-30}


def slopes(name: str, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """d loss / d score in float64, (n, m) or (n, m, C)."""
    if name == "softmax_loss":
        return softmax(scores, axis=2) - np.eye(scores.shape[2])[y.astype(int)][:, None, :]
    y = y[:, None]
    return {
        "logistic": lambda: expit(scores) - y,
        "hinge_loss": lambda: np.where((2 * y - 1) * scores < 1, 1 - 2 * y, 0.0),
        "squared_loss": lambda: 2 * (scores - y),
        "absolute_loss": lambda: np.sign(scores - y),
    }[name]()


class Twin:
    """Weights of all columns (d + 1, c), the last row the bias, and the optimisers' papers in plain NumPy."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray, chosen: list[Setting], outputs: int, **decay: float):
        self.w = np.vstack([weights, bias]).astype(float)
        self.mean = self.w.copy()
        self.m, self.v, self.t, self.most = np.zeros_like(self.w), np.zeros_like(self.w), 0, 0
        self.chosen, self.outputs, self.decay = chosen, outputs, decay

    def columns(self, value: Callable[[Setting], float], bias: float) -> np.ndarray:
        """(d + 1, c): a number of each model, and for the bias that many times it."""
        row = np.repeat([value(each) for each in self.chosen], self.outputs)
        return np.vstack([np.tile(row, (len(self.w) - 1, 1)), row * bias])

    def step(self, loss: str, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> None:
        ones = np.column_stack([X.astype(float), np.ones(len(X))])
        scores = ones @ self.w
        if loss == "softmax_loss":
            slope = slopes(loss, scores.reshape(len(X), -1, self.outputs), y)
        else:
            slope = slopes(loss, scores, y)[:, :, None]
        if weights is not None:
            slope = slope * weights[y.astype(int)][:, :, None]
        self.most = max(self.most, len(X))
        self.descend(ones.T @ slope.reshape(len(X), -1) / self.most)

    def descend(self, g: np.ndarray) -> None:
        g = g + self.columns(lambda s: s.wd, 0) * self.w
        rate = self.columns(lambda s: self.rate(s), 10)
        self.t += 1
        name = self.chosen[0].optimizer
        if name == "adam":
            b1, b2 = 0.9, 0.999
            self.m, self.v = b1 * self.m + (1 - b1) * g, b2 * self.v + (1 - b2) * g * g
            length = rate * np.sqrt(1 - b2**self.t) / (1 - b1**self.t) / (np.sqrt(self.v) + 1e-8)
            self.w -= length * self.m
        elif name == "rmsprop":
            self.v = 0.9 * self.v + 0.1 * g * g
            length = rate / np.sqrt(self.v + 1e-8)
            self.w -= length * g
        else:
            length = rate
            self.m = self.decay.get("momentum", 0) * self.m - rate * g
            self.w += self.m
        least = length * self.columns(lambda s: s.l1, 0)
        taken = np.clip(self.w, -least, least)
        self.w -= taken
        if name == "sgd":  # the velocity is the step that was made, the threshold's part too
            self.m -= taken
        self.mean += 17 / (16 + self.t) * (self.w - self.mean)  # Shamir and Zhang 2013, eta = 16
        if (least > 0).any():
            self.mean[self.w == 0] = 0

    def rate(self, s: Setting) -> float:
        fallen = s.learning_rate * s.lr_scheduler_factor ** (self.t // max(s.lr_scheduler_step, 1))
        return max(fallen, min(s.lr_scheduler_minimum_lr, s.learning_rate))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("loss", ["logistic", "hinge_loss", "squared_loss", "absolute_loss", "softmax_loss"])
def test_steps_of_all_models(configure, optimizer, loss, threads):
    """Schedule, decay, L1, the bias's own rate, class weights, a short last batch: 25 steps of eight models."""
    kind = {"softmax_loss": "multiclass_classifier", "logistic": "binary_classifier"}.get(loss, "regressor")
    kind = "binary_classifier" if loss == "hinge_loss" else kind
    given = {"predictor_type": kind, "loss": loss, "optimizer": optimizer, "num_models": 8, "l1": 0.01, "wd": 0.1}
    given |= {"momentum": 0.5} if optimizer == "sgd" else {}
    given |= {"num_classes": 3} if kind == "multiclass_classifier" else {}
    h, random = configure(**given | {"learning_rate": 0.02}), np.random.default_rng(1)
    chosen = settings(h, random)
    weights = None if kind == "regressor" else np.array([[1.0], [3.0], [0.5]], np.float32)
    shift, scale = np.array([1, -1, 0, 2, 0.5], np.float32), np.array([0.5, 1, 2, 0.25, 1], np.float32)
    scaler = Scaler(shift, scale, 0.25, 2.0) if kind == "regressor" else Scaler(shift, scale)
    groups = Groups(h, chosen, raw_loss(h), scaler, np.zeros(5, bool), weights, random, threads)
    twin = Twin(groups.weights, groups.bias, chosen, groups.outputs, momentum=0.5)
    X, y = labelled(25 * 20 - 13, kind)
    for start in range(0, len(X), 20):
        part, labels = X[start : start + 20], y[start : start + 20]
        groups.learn(Cluster(), Batch(part, labels), 20, 1)
        labels = (labels - 0.25) / 2 if kind == "regressor" else labels
        twin.step(loss, (part - shift) * scale, labels, weights)
    np.testing.assert_allclose(np.vstack([groups.weights, groups.bias]), twin.w, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(np.vstack([groups.mean_weights, groups.mean_bias]), twin.mean, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("loss", ["logistic", "squared_loss", "softmax_loss"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_a_whole_job(make_job, configure, loss, kind):
    """One epoch of 95 rows in batches of 10: moments, labels, steps and the way back to raw features."""
    given = {"logistic": BINARY, "squared_loss": REGRESSOR, "softmax_loss": MULTICLASS}[loss]
    X, y = labelled(95, given["predictor_type"])
    h = configure(**given | PLAIN | {"mini_batch_size": 10, "optimizer": "sgd", "learning_rate": 0.02})
    model = fit(make_job((kind(X), y)), h)

    c = 3 if loss == "softmax_loss" else 1
    mean = X.mean(axis=0, dtype=float) * (kind is np.asarray)
    deviation = X.std(axis=0, dtype=float)
    label_mean, label_deviation = (y.mean(), y.std()) if loss == "squared_loss" else (0, 1)
    twin = Twin(np.zeros((5, c)), np.zeros((1, c)), settings(h, np.random.default_rng()), c)
    scaled, labels = (X - mean) / deviation, (y - label_mean) / label_deviation
    for start in range(0, 95, 10):
        twin.step(loss, scaled[start : start + 10], labels[start : start + 10])
    weights = twin.mean[:5] / deviation[:, None] * label_deviation
    np.testing.assert_allclose(model.weights.T, weights, rtol=1e-4, atol=1e-5)
    bias = twin.mean[5] * label_deviation + label_mean - mean @ weights
    np.testing.assert_allclose(model.bias, bias, rtol=1e-4, atol=1e-5)


def test_one_step_by_hand(make_job, configure):
    """Labels 0 and 1 at x = -1 and 1, p = 1/2: the gradient of the weight is -1/2, and that of the bias 0."""
    h = configure(**BINARY | PLAIN | {"optimizer": "sgd", "learning_rate": 0.5, "mini_batch_size": 2})
    model = fit(make_job((np.array([[-1], [1]], np.float32), np.array([0, 1], np.float32))), h)
    assert model.weights.tolist() == [[0.25]]
    assert model.bias.tolist() == [0]


def test_a_short_last_batch_counts_as_its_rows(make_job, configure):
    """Three rows x = 1 of label 2 in batches of two: the second gradient is of one row, and still divided by two."""
    given = {"optimizer": "sgd", "learning_rate": 0.125, "mini_batch_size": 2, "use_bias": False}
    given |= {"normalize_data": False, "normalize_label": False}
    model = fit(
        make_job((np.ones((3, 1), np.float32), np.full(3, 2, np.float32))), configure(**REGRESSOR | PLAIN | given)
    )
    # w = 0 + 0.125 * 4 = 0.5; then the slope is 2 * (0.5 - 2) = -3, over two rows -1.5; the mean makes 17/18 of it
    assert model.weights[0, 0] == pytest.approx(0.5 + 0.125 * 1.5 * 17 / 18)
    assert model.bias.tolist() == [0]
