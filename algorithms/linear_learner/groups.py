"""The models in groups, each of which learns in a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from algorithms.cluster import Cluster
from algorithms.device import CPU, Device
from algorithms.linear_learner.grid import Setting
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.loss import Loss
from algorithms.linear_learner.on_device import DeviceTrainer
from algorithms.linear_learner.scaler import Scaler
from algorithms.linear_learner.trainer import Trainer
from formats import Batch
from formats.batch import Dense


class Groups:
    """m models of C outputs each: each thread's group goes through a block of rows without waiting for the others.

    class_weights: (classes, m or 1) float32, what a row of each class counts in the gradients of each model, or None.
    Initial weights of `constant` (d,) features are 0 and, where rows are shifted, stay so: of such a feature nothing
    is learned, and so it must not change an answer. A model is the same whatever `threads` is.
    """

    def __init__(
        self,
        h: LinearLearnerHyperparameters,
        chosen: Sequence[Setting],
        loss: Loss,
        scaler: Scaler,
        constant: NDArray[np.bool_],
        class_weights: NDArray[np.float32] | None,
        random: np.random.Generator,
        threads: int,
        device: Device = CPU,
    ) -> None:
        self.scaler, self.models = scaler, len(chosen)
        self.outputs = h.num_classes if h.predictor_type == "multiclass_classifier" else 1
        weights = _initial(h, len(constant), self.models * self.outputs, random)
        weights[constant] = 0
        if class_weights is not None:
            class_weights = np.repeat(class_weights, self.models // class_weights.shape[1], axis=1)
        self._trainers: list[Trainer] = []
        self._columns: list[slice] = []
        for some in np.array_split(np.arange(self.models), min(threads, self.models)):
            models = slice(some[0], some[-1] + 1)
            columns = slice(models.start * self.outputs, models.stop * self.outputs)
            of_classes = None if class_weights is None else np.ascontiguousarray(class_weights[:, models])
            own = np.ascontiguousarray(weights[:, columns])
            make = partial(DeviceTrainer, device) if device.gpus else Trainer
            self._trainers.append(make(h, chosen[models], loss, scaler, of_classes, own))
            self._columns.append(columns)
        self._pool = ThreadPoolExecutor(len(self._trainers), "learn")

    @property
    def weights(self) -> Dense:
        """(d, m * C) float32, a copy unless there is one group."""
        return _side_by_side([trainer.weights for trainer in self._trainers])

    @property
    def bias(self) -> Dense:
        """(1, m * C) float32, likewise."""
        return _side_by_side([trainer.bias for trainer in self._trainers])

    @property
    def mean_weights(self) -> Dense:
        """(d, m * C) float32, what they were on average lately, likewise."""
        return _side_by_side([trainer.mean_weights for trainer in self._trainers])

    @property
    def mean_bias(self) -> Dense:
        """(1, m * C) float32, likewise."""
        return _side_by_side([trainer.mean_bias for trainer in self._trainers])

    def restore(self, weights: Dense, bias: Dense) -> None:
        """Takes back what `mean_weights` and `mean_bias` were at an earlier time."""
        for trainer, columns in zip(self._trainers, self._columns, strict=True):
            trainer.mean_weights = weights[:, columns].copy()
            trainer.mean_bias = bias[:, columns].copy()

    def learn(self, cluster: Cluster, block: Batch, rows: int, steps: int) -> tuple[NDArray[np.float64], float]:
        """Learns from mini-batches of `rows` in so many steps. Returns the sums of the losses (m,), and the rows."""
        labels = np.empty(0, np.float32) if block.labels is None else block.labels

        def learned(trainer: Trainer) -> tuple[NDArray[np.float64], float]:
            return trainer.learn(cluster, block.features, labels, rows, steps)

        if len(self._trainers) == 1:
            return learned(self._trainers[0])
        totals, counts = zip(*self._pool.map(learned, self._trainers), strict=True)
        return np.concatenate(totals), counts[0]


def _side_by_side(parts: list[Dense]) -> Dense:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _initial(h: LinearLearnerHyperparameters, d: int, c: int, random: np.random.Generator) -> Dense:
    """Weights (d, c), of a distribution around 0."""
    if h.init_method == "normal":
        return random.standard_normal((d, c), np.float32) * np.float32(h.init_sigma)
    return (random.random((d, c), np.float32) * 2 - 1) * np.float32(h.init_scale)
