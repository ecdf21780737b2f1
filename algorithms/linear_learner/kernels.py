"""What the steps on a GPU do number by number: a kernel of CUDA for each thing, and the same in operations of NumPy.

The kernels are those of _losses.pxd and _optimizer.pyx in CUDA's C. What `xp` has no kernels, NumPy or a stand-in for
CuPy, uses the twins, which the tests compare with the steps on a CPU; tests/gpu compares the kernels with these.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from algorithms.linear_learner import _optimizer
from algorithms.linear_learner.loss import Loss
from algorithms.linear_learner.optimizer import Optimizer

EPSILON = np.float32(1e-8)

_CLIPPED = """
__device__ float clipped(float x, float bound) { x = x < -bound ? -bound : x; return x > bound ? bound : x; }
"""
_ERROR = "const float all = score + start; float e = all - y;"
_AWAY = "const float all = score + start; const float away = 1 - 2 * y;"
JUDGES = {  # by loss, from score, start, y and parameter to value and slope
    "logistic": _AWAY
    + """ const float z = all * away, odds = expf(-fabsf(z)), share = 1 / (1 + odds);
          value = isnan(z) ? z : log1pf(odds) + (z < 0 ? 0 : z);
          slope = (z < 0 ? odds * share : share) * away;""",
    "hinge_loss": _AWAY
    + """ const float lack = all * away + parameter;
          value = lack < 0 ? 0 : lack;
          slope = lack > 0 ? away : 0;""",
    "squared_loss": _ERROR + "value = e * e; slope = 2 * e;",
    "absolute_loss": _ERROR + "value = fabsf(e); slope = (e > 0) - (e < 0);",
    "eps_insensitive_squared_loss": _ERROR + "e -= clipped(e, parameter); value = e * e; slope = 2 * e;",
    "eps_insensitive_absolute_loss": _ERROR
    + "e -= clipped(e, parameter); value = fabsf(e); slope = (e > 0) - (e < 0);",
    "quantile_loss": _ERROR + "slope = (e > 0) - parameter; value = e * slope;",
    "huber_loss": _ERROR + "slope = clipped(e, parameter); value = slope * (e - slope / 2);",
}
_WEIGHED = " slope *= weight; value *= weighs ? weight : 1;"
MOVES = {  # by optimizer; `g` is the gradient with its penalty, and `step` is how far l1 reaches
    "adam": """
        first = decay_1 * first + rest_1 * g; second = decay_2 * second + rest_2 * (g * g);
        const float step = rate / (sqrtf(second) + 1e-8f);
        w -= step * first; w -= clipped(w, step * l1);""",
    "sgd": """
        first = decay_1 * first - rate * g; w += first;
        const float taken = clipped(w, rate * l1); w -= taken; first -= taken;""",
    "rmsprop": """
        first = decay_1 * first + rest_1 * (g * g);
        const float step = rate / sqrtf(first + 1e-8f);
        w -= step * g; w -= clipped(w, step * l1);""",
}
_GRADIENT = "const float g = gradient * factor + wd * w;"
_MEAN = " mean += share * (w - mean); if (l1 != 0 && w == 0) mean = 0;"


class Kernels:
    """Of one loss and one optimizer, for arrays of `xp`. All are float32."""

    def __init__(self, xp: Any, optimizer: Optimizer, loss: Loss) -> None:
        self._xp, self._loss = xp, loss
        plan = optimizer.plan(np.empty((0, 1), np.float32), np.empty(1, np.float32), np.empty(1, np.float32))
        self._name = next(name for name, kind in _optimizer.KINDS.items() if kind == plan[0])
        # what a decay leaves is taken in float64: of one next to 1, float32 would leave nothing
        self._decays = tuple(np.float32(each) for decay in plan[3:5] for each in (decay, 1 - decay))
        self._native = hasattr(xp, "ElementwiseKernel")

    @cached_property
    def _judge(self) -> Any:
        return self._xp.ElementwiseKernel(
            "float32 score, float32 start, float32 y, float32 parameter, float32 weight, bool weighs",
            "float32 slope, float32 value",
            JUDGES[self._loss.name] + _WEIGHED,
            f"judge_{self._loss.name}",
            preamble=_CLIPPED,
        )

    @cached_property
    def _moved(self) -> Any:
        return self._xp.ElementwiseKernel(
            "float32 gradient, float32 factor, float32 rate, float32 wd, float32 l1, float32 share, float32 decay_1, "
            "float32 rest_1, float32 decay_2, float32 rest_2",
            "float32 w, float32 mean, float32 first, float32 second",
            _GRADIENT + MOVES[self._name] + _MEAN,
            f"move_{self._name}",
            preamble=_CLIPPED,
        )

    def judge(self, scores: Any, start: Any, y: Any, weights: Any, weighs: bool, outputs: int) -> tuple[Any, Any]:
        """Slopes (n, c) and losses (n, models) of scores (n, c) + start (1, c).

        weights: (n, models) of the rows, or None; weighs: whether they count in the losses, too
        """
        if outputs > 1:
            slopes, values = _softmax(self._xp, (scores + start).reshape(len(y), -1, outputs), y)
        elif self._native:
            weight = np.float32(1) if weights is None else weights
            parameter = np.float32(self._loss.parameter)
            slopes, values = self._judge(scores, start, y[:, None], parameter, weight, weighs)
            return slopes, values
        else:
            values, slopes = self._loss.with_slopes(scores + start, y)
        if weights is not None:
            slopes = slopes * (weights if outputs == 1 else weights[:, :, None])
            values = values * weights if weighs else values
        return slopes.reshape(len(y), -1), values

    def unfold(self, gradient: Any, slopes: Any, shift: Any, scale: Any) -> Any:
        """From the gradient (d, c) of scaled weights on rows as they are to that on scaled rows."""
        return gradient * scale if shift is None else (gradient - shift * slopes) * scale

    def move(
        self, w: Any, mean: Any, state: tuple[Any, ...], gradient: Any, factor: np.float32, rule: Any, share: np.float32
    ) -> None:
        """Changes w (r, c), what the optimizer knows of it, and its mean, by gradient (r, c) times factor.

        rule: rates, wd and l1, (c,) each. share: how far the mean moves towards w
        """
        move = self._moved if self._native else self._twin
        move(gradient, factor, *rule, share, *self._decays, w, mean, *state)

    def _twin(self, gradient: Any, factor: Any, rate: Any, wd: Any, l1: Any, share: Any, *rest: Any) -> None:
        decay_1, rest_1, decay_2, rest_2, w, mean, first, second = rest
        xp = self._xp
        g = gradient * factor + wd * w
        if self._name == "adam":
            first[:] = decay_1 * first + rest_1 * g
            second[:] = decay_2 * second + rest_2 * (g * g)
            step = rate / (xp.sqrt(second) + EPSILON)
            w -= step * first
            w -= xp.clip(w, -step * l1, step * l1)
        elif self._name == "sgd":
            first[:] = decay_1 * first - rate * g
            w += first
            taken = xp.clip(w, -rate * l1, rate * l1)
            w -= taken
            first -= taken
        else:
            first[:] = decay_1 * first + rest_1 * (g * g)
            step = rate / xp.sqrt(first + EPSILON)
            w -= step * g
            w -= xp.clip(w, -step * l1, step * l1)
        mean += share * (w - mean)
        mean[:] = xp.where((l1 != 0) & (w == 0), np.float32(0), mean)


def _softmax(xp: Any, scores: Any, labels: Any) -> tuple[Any, Any]:
    """Slopes (n, m, C) and losses (n, m) of scores (n, m, C), as loss.softmax has them."""
    away = scores - scores.max(axis=2, keepdims=True)
    true = (labels[:, None, None] == xp.arange(scores.shape[2])).astype(np.float32)
    p = xp.exp(away)
    sums = p.sum(axis=2, keepdims=True)
    values = xp.log(sums)[:, :, 0] - (away * true).sum(axis=2)
    return p / sums - true, values
