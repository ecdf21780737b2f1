"""Models while they learn from dense rows on a GPU: two matrix products a step, and all between them in few kernels.

To start a kernel may take as long as what it does in a step over few rows: all that is done number by number is one
kernel for the losses and one for the weights. kernels.py has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.cluster import Cluster
from algorithms.device import Device
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.kernels import Kernels
from algorithms.linear_learner.trainer import Trainer
from algorithms.supervised import block_rows
from formats.batch import Dense


def step_bytes(h: LinearLearnerHyperparameters, d: int, models: int, block: int) -> int:
    """Memory on the device that a step over dense rows takes, the models included; block: numbers that come together.

    Weights, means, what the optimizer knows of them, gradients and what these are made of; two blocks of rows, a
    mini-batch less the shift and scaled, and its scores, losses, slopes, and what a softmax is made of.
    """
    columns = models * (h.num_classes if h.predictor_type == "multiclass_classifier" else 1)
    rows = h.mini_batch_size
    return 4 * (9 * d * columns + 2 * block_rows(rows, d, block) * (d + 1) + rows * (2 * d + 9 * columns))


def product(device: Device, W: Dense) -> Callable[[Any], Dense]:
    """What multiplies rows on the host by W (d, c): dense ones on the device."""
    if not device.gpus:
        return lambda X: X @ W
    there, c = device.put(W), W.shape[1]
    return lambda X: device.answers(X, lambda rows: rows @ there, c) if isinstance(X, np.ndarray) and len(X) else X @ W


class DeviceTrainer(Trainer):
    """A Trainer whose weights, and whose rows, are on the device; its attributes are fetched, and set, as host arrays.

    What `learn` returns stays there, so that nobody waits for a step. It learns what a Trainer does but for rounding.
    """

    def __init__(self, device: Device, *arguments: Any) -> None:
        self._device, self._held = device, dict[str, Any]()
        super().__init__(*arguments)
        put = device.put
        self._kernels = Kernels(device.xp, self._optimizer, self._loss)
        scale, shift = self.scaler.scale, self.scaler.shift
        self._scale = put(scale)[:, None]
        self._shift = None if shift is None else put(shift)[:, None]
        self._wd_there, self._l1_there, self._bias_wd_there = put(self._wd), put(self._l1), put(self._bias_wd)
        self._no_l1 = put(0 * self._l1)
        self._weights_of_classes = None if self._class_weights is None else put(self._class_weights)
        states = [self._optimizer.plan(np.empty((0, len(self._wd)), np.float32), self._wd, self._l1)[1:3]]
        states.append(self._bias_optimizer.plan(np.empty((0, len(self._wd)), np.float32), self._wd, self._l1)[1:3])
        self._states = [tuple(map(put, pair)) for pair in states]

    def __setattr__(self, name: str, value: Any) -> None:
        """The model's arrays are held on the device."""
        if name in _MODEL:
            self._held[name] = self._device.put(np.array(value, np.float32))
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        """The model's arrays, a copy: only these are not found where attributes are."""
        if name in _MODEL:
            return self._device.get(self._held[name])
        raise AttributeError(name)

    def learn(self, cluster: Cluster, X: Any, y: Any, rows: int, steps: int) -> tuple[NDArray[np.float64], float]:
        """As Trainer has it, of dense rows and labels on the device; the sums of the losses are there, too."""
        xp, (d, c) = self._device.xp, self._held["weights"].shape
        y = self.scaler.labels(y)
        total, count = xp.zeros(self.models), 0.0
        alone = cluster.size == 1
        plans = self._plans(-(-len(y) // rows)) if alone else iter(())
        with np.errstate(all="ignore"):  # a model that diverges shows in its loss
            for start in range(0, rows * steps, rows):
                sums, found = self._sums_of(X[start : start + rows], y[start : start + rows]), float(len(y) - start)
                found = min(max(found, 0.0), rows)
                if not alone:
                    host = cluster.all_reduce(np.vstack([self._device.get(sums), np.full((1, c), found, np.float32)]))
                    sums, found = self._device.put(host[:-1]), float(host[-1, 0])
                if found:
                    self._move(sums, self._factor(found), *next(plans if alone else self._plans(1)))
                    total += sums[d + 1, : self.models]
                    count += found
        return total, count

    def _sums_of(self, X: Any, y: Any) -> Any:
        """The gradients by the weights on scaled rows, by the bias, and the losses; (d + 2, c), not yet a mean."""
        xp, W, (n, d) = self._device.xp, self._held["weights"], X.shape
        sums = xp.zeros((d + 2, W.shape[1]), np.float32)
        if not n:
            return sums
        folded, start = self.scaler.is_near, self._held["bias"]
        if folded:  # (X - shift) scale W = X (scale W) - shift scale W, and so for the gradient
            W = W * self._scale
            start = start if self._shift is None else start - self._shift.T @ W
        else:
            X = (X * self._scale.T) if self._shift is None else (X - self._shift.T) * self._scale.T
        weights = None if self._weights_of_classes is None else self._weights_of_classes[y.astype(np.intp)]
        slopes, values = self._kernels.judge(X @ W, start, y, weights, self._weighs_loss, self.outputs)
        sums[:d] = X.T @ slopes
        sums[d] = slopes.sum(axis=0)
        if folded:
            sums[:d] = self._kernels.unfold(sums[:d], sums[d], self._shift, self._scale)
        sums[d + 1, : self.models] = values.sum(axis=0)
        return sums

    def _plans(self, steps: int) -> Iterator[tuple[Any, Any, np.float32]]:
        """For each of the next steps the rates of weights and bias, (c,), and how far the means move.

        They are copied together: a copy takes as long as a step.
        """
        if not steps:
            return
        rates = np.array([self._rates() for _ in range(steps)])
        shares = [self._share(step) for step in range(self._steps - steps + 1, self._steps + 1)]
        of_bias = self._bias_optimizer.plan(rates * self._bias_lr_mult, self._bias_wd, 0 * self._l1)[5]
        both = self._optimizer.plan(rates, self._wd, self._l1)[5], of_bias
        yield from zip(*map(self._device.put, both), map(np.float32, shares), strict=True)

    def _move(self, sums: Any, factor: np.float32, rates: Any, bias_rates: Any, share: np.float32) -> None:
        """A step of the optimizer, and of the means."""
        d, held = len(sums) - 2, self._held
        rule = rates, self._wd_there, self._l1_there
        self._kernels.move(held["weights"], held["mean_weights"], self._states[0], sums[:d], factor, rule, share)
        if self._use_bias:
            rule = bias_rates, self._bias_wd_there, self._no_l1
            self._kernels.move(held["bias"], held["mean_bias"], self._states[1], sums[d : d + 1], factor, rule, share)


_MODEL = ("weights", "bias", "mean_weights", "mean_bias")
