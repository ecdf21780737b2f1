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

# what the kernel is given: kind, state, state, decay, decay; rates (steps, c), wd (c,), l1 (c,)
Plan = tuple[int, Dense, Dense, float, float, Dense, Dense, Dense]


class Optimizer(Protocol):
    """What has been seen of the gradients of `(r, c)` weights: r features, c models or outputs."""

    t: int
    """The number of steps made, or planned."""

    def plan(self, rates: Dense, wd: Dense, l1: Dense) -> Plan:
        """What the kernel is given to make steps at `rates` (steps, c); `wd` and `l1` (c,) are of the columns, too."""


def step(optimizer: Optimizer, weights: Dense, gradient: Dense, rate: Dense, wd: Dense, l1: Dense) -> None:
    """Changes `weights` (r, c) in place by `gradient` (r, c); `rate`, `wd` and `l1` (c,) are of the columns.

    All are C-contiguous float32. What is not finite is not caught, but stays visible as a NaN weight.
    """
    _optimizer.step(weights, gradient, optimizer.plan(rate[None, :], wd, l1))


@dataclass
class Adam:
    """Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, with their epsilon of 1e-8."""

    mean: Dense
    square: Dense
    beta_1: float
    beta_2: float
    t: int = 0

    def plan(self, rates: Dense, wd: Dense, l1: Dense) -> Plan:
        """As Optimizer has it; section 2: the means' bias towards 0 is corrected in the rates."""
        t = np.arange(self.t + 1, self.t + 1 + len(rates))
        self.t += len(rates)
        corrections = np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        corrected = rates * corrections.astype(np.float32)[:, None]
        return _optimizer.KINDS["adam"], self.mean, self.square, self.beta_1, self.beta_2, corrected, wd, l1


@dataclass
class SGD:
    """Gradient descent with momentum: velocity = momentum velocity - rate gradient."""

    velocity: Dense
    momentum: float
    t: int = 0

    def plan(self, rates: Dense, wd: Dense, l1: Dense) -> Plan:
        """As Optimizer has it."""
        self.t += len(rates)
        return _optimizer.KINDS["sgd"], self.velocity, self.velocity, self.momentum, 0.0, rates, wd, l1


@dataclass
class RMSProp:
    """Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5 (2012): gradient over its root mean."""

    square: Dense
    t: int = 0

    def plan(self, rates: Dense, wd: Dense, l1: Dense) -> Plan:
        """As Optimizer has it."""
        self.t += len(rates)
        return _optimizer.KINDS["rmsprop"], self.square, self.square, RMSPROP_DECAY, 0.0, rates, wd, l1


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
