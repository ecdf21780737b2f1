"""The models that are trained at once: what each of them learns with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters

# as observed: index = 8 * wd + 4 * learning rate + 2 * minimum rate + step
WD = (1e-4, 1e-2, 1.0, 100.0)
LEARNING_RATE = (0.005, 0.1)
MINIMUM_LR = (1e-4, 1e-5)
STEP = (10, 100)
FACTOR = 0.99
WEIGHT_LEVELS = 4  # of positive_example_weight_mult=auto: from 1 to balanced


@dataclass(frozen=True, slots=True)
class Setting:
    """One model's optimiser, by the guide's names; lr_scheduler_step 0: the rate is constant.

    balance: the weight of a positive example is the balanced one to this power, where it is `auto`
    """

    optimizer: Literal["adam", "sgd", "rmsprop"]
    learning_rate: float
    wd: float
    l1: float
    lr_scheduler_step: int
    lr_scheduler_factor: float
    lr_scheduler_minimum_lr: float
    balance: float = 0.0

    def shown(self) -> dict[str, Any]:
        """What the log says of the best model."""
        return {name: value for name, value in asdict(self).items() if name != "balance"}


def settings(h: LinearLearnerHyperparameters, random: np.random.Generator) -> list[Setting]:
    """A setting for each model: what the user gave is the same in all of them, what is `auto` varies.

    Fewer models than the grid has are spread over it; more are drawn at random from its ranges. `num_models=auto`: the
    grid, 32 models if nothing was given.
    """
    wds = WD if h.wd == "auto" else (h.wd,)
    rates = LEARNING_RATE if h.learning_rate == "auto" else (h.learning_rate,)
    floors = MINIMUM_LR if h.lr_scheduler_minimum_lr == "auto" else (h.lr_scheduler_minimum_lr,)
    steps: Sequence[int] = STEP if h.lr_scheduler_step == "auto" else (h.lr_scheduler_step,)
    factor = FACTOR if h.lr_scheduler_factor == "auto" else h.lr_scheduler_factor
    if not h.use_lr_scheduler:
        floors, steps, factor = (0.0,), (0,), 1.0
    l1 = 0.0 if h.l1 == "auto" else h.l1

    def setting(wd: float, rate: float, floor: float, step: int) -> Setting:
        return Setting("adam" if h.optimizer == "auto" else h.optimizer, rate, wd, l1, step, factor, floor)

    grid = [setting(*each) for each in product(wds, rates, floors, steps)]
    m = len(grid) if h.models == "auto" else h.models
    if m <= len(grid):
        chosen = [grid[i * len(grid) // m] for i in range(m)]
    else:
        chosen = grid + [
            setting(
                _between(random, wds),
                _between(random, rates),
                _between(random, floors),
                round(_between(random, steps)),
            )
            for _ in range(m - len(grid))
        ]
    if h.positive_example_weight_mult != "auto":
        return chosen
    return [_weighted(each, i, m) for i, each in enumerate(chosen)]


def _between(random: np.random.Generator, ends: Sequence[float]) -> float:
    """A number between the least and the greatest, uniform in its logarithm."""
    low, high = min(ends), max(ends)
    return low if low == high else math.exp(random.uniform(math.log(low), math.log(high)))


def _weighted(setting: Setting, i: int, m: int) -> Setting:
    """The i-th of m models takes one of the weights between 1 and balanced; a single one is balanced."""
    levels = min(WEIGHT_LEVELS, m)
    balance = 1.0 if levels == 1 else (i % levels) / (levels - 1)
    return Setting(**asdict(setting) | {"balance": balance})


class Schedule:
    """The learning rate of every model at a step: it falls by a factor every so many steps, to a minimum."""

    def __init__(self, chosen: Sequence[Setting]) -> None:
        self._base = np.array([each.learning_rate for each in chosen])
        self._factor = np.array([each.lr_scheduler_factor for each in chosen])
        self._floor = np.minimum([each.lr_scheduler_minimum_lr for each in chosen], self._base)
        self._every = np.array([each.lr_scheduler_step or 1 for each in chosen])

    def rates(self, step: int) -> NDArray[np.float32]:
        """(m,) at this step, counted from 0."""
        rates: NDArray[np.float64] = np.maximum(self._floor, self._base * self._factor ** (step // self._every))
        return rates.astype(np.float32)
