"""A factorization machine on a GPU, of dense rows: a few matrix products a step and one kernel, and what it answers."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from algorithms.cluster import Cluster
from algorithms.device import Device
from algorithms.factorization_machines.hyperparameters import FactorizationMachinesHyperparameters
from algorithms.factorization_machines.learner import BETA_1, BETA_2, Learner, Term
from formats.batch import Dense

LOST = 1e9  # how much less than its terms a sum in float64 may be, to be sure to 1e-5 of it

# Adam as in _factorization.pyx, `move`; `occurs` says of a feature whether a row of the mini-batch has it
ADAM = """
    if (occurs) {
        float slope = scale * gradient + wd * w;
        slope = slope > clip ? clip : slope;
        slope = slope < -clip ? -clip : slope;
        mean = beta_1 * mean + rest_1 * slope;
        square = beta_2 * square + rest_2 * (slope * slope);
        w -= rate * mean / (sqrtf(square) + epsilon);
    }"""


def step_bytes(feature_dim: int, num_factors: int, rows: int) -> int:
    """Memory on the device that a step over so many rows takes, the model included.

    Weights, means and squares, their sums and three arrays to make these of; two batches of rows, their squares, and
    which of them are 0.
    """
    return 4 * feature_dim * (7 * (2 + num_factors) + 4 * rows)


def model_bytes(feature_dim: int, num_factors: int) -> int:
    """Memory on the device that Scores takes to begin with: the factors, in float64, and their squares."""
    return feature_dim * ((4 + 8 + 8) * num_factors + 4 + 8 + 8)


class Scores:
    """What a trained machine makes of dense rows, (n,) float32.

    In float64: of (x v_f)^2 and the sum of (x_i v_if)^2 (see DeviceLearner) float32 would leave few digits of their
    difference where one feature outweighs the others. Where float64 leaves few as well, the answer is NaN. The kernel
    for CPUs takes no difference.
    """

    def __init__(self, device: Device, factors: Dense, linear: Dense, bias: Dense) -> None:
        self._device, self._bias = device, float(bias[0])
        self._V, self._w = device.put(factors).astype(np.float64), device.put(linear).astype(np.float64)
        self._lengths = (self._V * self._V).sum(axis=1)

    def __call__(self, X: Dense) -> Dense:
        """Of rows (n, N) on the host; infinite where float32 cannot hold it, NaN where it is not known."""
        return self._device.answers(X, self._of, 5 * X.shape[1] + 4 * self._V.shape[1])

    def _of(self, X: Any) -> Any:
        X, xp = X.astype(np.float64), self._device.xp
        S = X @ self._V
        squares, own = (S * S).sum(axis=1), (X * X) @ self._lengths
        sums = X @ self._w + (squares - own) / 2 + self._bias
        return xp.where(squares + own > LOST * xp.abs(sums), np.nan, sums).astype(np.float32)


class DeviceLearner(Learner):
    """A Learner of dense rows, whose weights are on the device; those of its attributes are from the last `fetch`."""

    def __init__(self, h: FactorizationMachinesHyperparameters, random: np.random.Generator, device: Device) -> None:
        super().__init__(h, random)
        self._device = device
        self._there = [self._placed(term) for term in (self._bias, self._linear, self._factors)]

    def _placed(self, term: Term) -> Term:
        put = self._device.put
        return Term(put(term.weights), put(term.mean), put(term.square), term.rate, term.wd)

    def fetch(self) -> None:
        """Brings the weights to the host, and what Adam has seen of them."""
        for here, there in zip((self._bias, self._linear, self._factors), self._there, strict=True):
            for name in ("weights", "mean", "square"):
                getattr(here, name)[:] = self._device.get(getattr(there, name))

    def step(self, cluster: Cluster, X: Any, y: Any) -> tuple[Any, float]:
        """As Learner has it, of dense rows X (n, N) and labels on the device; the margins (n,) are there, too."""
        xp, (n, N) = self._device.xp, X.shape
        V = self._there[2].weights
        sums, rows = xp.zeros((N + 1, 2 + V.shape[1]), np.float32), float(n)
        margins = xp.zeros(0, np.float32)
        if n:
            with np.errstate(all="ignore"):  # what diverges shows in the margins
                margins = self._sums_of(X, y, sums)
        if cluster.size > 1:
            rows = float(cluster.total(n))
            sums = self._device.put(cluster.all_reduce(self._device.get(sums)))
        if rows:
            self._most_rows = max(self._most_rows, rows)
            self.steps += 1
            occurs = sums[:-1, -1:] > 0
            with np.errstate(all="ignore"):
                self._move(self._there[0], sums[-1:, :1], xp.ones((1, 1), bool))
                self._move(self._there[1], sums[:-1, :1], occurs)
                self._move(self._there[2], sums[:-1, 1:-1], occurs)
        return margins, rows

    def _sums_of(self, X: Any, y: Any, sums: Any) -> Any:
        """Writes the gradients by w and V (N, 1 + k), the number of rows that have a feature, and last the bias's.

        The margin is b + x w + 1/2 sum over f of (x v_f)^2 - sum of (x_i v_if)^2 (Rendle 2010, lemma 3.1), its slope by
        v_if is x_i (x v_f) - x_i^2 v_if. A feature alone in its row has no partner: what rounding left of one is 0.
        """
        bias, w, V = (term.weights for term in self._there)
        xp, there = self._device.xp, X != 0
        squares, S = X * X, X @ V
        margins = (X @ w)[:, 0] + bias[0]
        margins += ((S * S).sum(axis=1) - squares @ (V * V).sum(axis=1)) * np.float32(0.5)
        slopes = 1 / (1 + xp.exp(-margins)) - y if self._binary else 2 * (margins - y)
        paired = slopes * (there.sum(axis=1) > 1)
        sums[:-1, :1] = X.T @ slopes[:, None]
        sums[:-1, 1:-1] = X.T @ (paired[:, None] * S) - (squares.T @ paired)[:, None] * V
        sums[:-1, -1] = there.sum(axis=0)
        sums[-1, 0] = slopes.sum()
        return margins

    def _move(self, term: Term, gradient: Any, occurs: Any) -> None:
        correction = math.sqrt(1 - BETA_2**self.steps) / (1 - BETA_1**self.steps)
        scale = 1 / self._most_rows if self._rescale_grad is None else self._rescale_grad
        rule = (
            scale,
            term.rate * correction,
            term.wd,
            self._clip,
            self._epsilon,
            BETA_1,
            1 - BETA_1,
            BETA_2,
            1 - BETA_2,
        )
        move = self._adam if hasattr(self._device.xp, "ElementwiseKernel") else self._twin
        move(gradient, occurs, *map(np.float32, rule), term.weights, term.mean, term.square)

    @cached_property
    def _adam(self) -> Any:
        numbers = "scale, rate, wd, clip, epsilon, beta_1, rest_1, beta_2, rest_2"
        return self._device.xp.ElementwiseKernel(
            f"float32 gradient, bool occurs, float32 {numbers.replace(', ', ', float32 ')}",
            "float32 w, float32 mean, float32 square",
            ADAM,
            "move_adam",
        )

    def _twin(self, gradient: Any, occurs: Any, *rest: Any) -> None:
        """The kernel in operations of NumPy."""
        scale, rate, wd, clip, epsilon, beta_1, rest_1, beta_2, rest_2, w, mean, square = rest
        xp = self._device.xp
        slope = xp.clip(scale * gradient + wd * w, -clip, clip)
        mean[:] = xp.where(occurs, beta_1 * mean + rest_1 * slope, mean)
        square[:] = xp.where(occurs, beta_2 * square + rest_2 * (slope * slope), square)
        w[:] = xp.where(occurs, w - rate * mean / (xp.sqrt(square) + epsilon), w)
