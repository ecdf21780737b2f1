"""The optimizers: from gradients to the next weights, with a learning rate and penalties for each model.

The penalty wd / 2 |w|^2 is part of the gradient, as in MXNet. That of l1 |w| is a step of its own after the gradient's
and along each coordinate as long (the proximal operator: what is within l1 times the step's length becomes 0).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from algorithms.linear_learner import _optimizer
from formats.batch import Dense

RMSPROP_DECAY = 0.9  # as in the lecture and in MXNet; the guide has no hyperparameter for it


class Optimizer(Protocol):
    """What has been seen of the gradients of `(r, c)` weights: r features, c models or outputs."""

    t: int
    """The number of steps made."""

    def step(self, weights: Dense, gradient: Dense, rate: Dense, wd: Dense, l1: Dense) -> None:
        """Changes `weights` (r, c) in place by `gradient` (r, c); `rate`, `wd` and `l1` (c,) are of the columns.

        All are C-contiguous float32. What is not finite is not caught, but stays visible as a NaN weight.
        """


@dataclass
class Adam:
    """Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, with their epsilon of 1e-8."""

    mean: Dense
    square: Dense
    beta_1: float
    beta_2: float
    t: int = 0

    def step(self, weights: Dense, gradient: Dense, rate: Dense, wd: Dense, l1: Dense) -> None:
        """One step, section 2: the means' bias towards 0 is corrected in the rate."""
        self.t += 1
        correction = np.sqrt(1 - self.beta_2**self.t) / (1 - self.beta_1**self.t)
        corrected = rate * np.float32(correction)
        _optimizer.adam(weights, gradient, self.mean, self.square, corrected, wd, l1, self.beta_1, self.beta_2)


@dataclass
class SGD:
    """Gradient descent with momentum."""

    velocity: Dense
    momentum: float
    t: int = 0

    def step(self, weights: Dense, gradient: Dense, rate: Dense, wd: Dense, l1: Dense) -> None:
        """One step: velocity = momentum velocity - rate gradient."""
        self.t += 1
        _optimizer.sgd(weights, gradient, self.velocity, rate, wd, l1, self.momentum)


@dataclass
class RMSProp:
    """Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5 (2012)."""

    square: Dense
    t: int = 0

    def step(self, weights: Dense, gradient: Dense, rate: Dense, wd: Dense, l1: Dense) -> None:
        """One step: the gradient over the root of the mean of its squares."""
        self.t += 1
        _optimizer.rmsprop(weights, gradient, self.square, rate, wd, l1, RMSPROP_DECAY)


def make(
    name: str, shape: tuple[int, int], *, momentum: float = 0.0, beta_1: float = 0.9, beta_2: float = 0.999
) -> Optimizer:
    """An optimizer that has made no step, of weights (r, c); `momentum` is that of sgd, the betas are those of adam."""

    def zeros() -> Dense:
        return np.zeros(shape, np.float32)

    if name == "adam":
        return Adam(zeros(), zeros(), beta_1, beta_2)
    if name == "sgd":
        return SGD(zeros(), momentum)
    return RMSProp(zeros())
