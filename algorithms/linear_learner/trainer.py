"""Models while they learn: one matrix product for the scores of all, one for their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.linear_learner import _optimizer, _sums
from algorithms.linear_learner.grid import Schedule, Setting
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.loss import Loss
from algorithms.linear_learner.optimizer import make, step
from algorithms.linear_learner.scaler import Scaler
from formats.batch import Dense

ROWS_TO_FOLD = 4  # for each column, from which scaling the weights is less work than scaling the rows
# eta of Shamir and Zhang, "Stochastic gradient descent for non-smooth optimization", ICML 2013: what is judged and kept
# is the weights' mean over about the last 1 / eta of the steps, whose noise is less than that of the last weights
AVERAGING = 16
BIAS_LR_MULT, BIAS_WD_MULT = 10.0, 0.0  # what auto means, as the hosted service's first default was


class Trainer:
    """m models of C outputs each, in the columns i * C + j of `weights` (d, m * C) and `bias` (1, m * C), float32.

    weights: the initial ones, which the trainer changes; `mean_weights` and `mean_bias` are their means over late steps
    class_weights: (classes, m) float32, what a row of each class counts in the gradients of each model, or None
    """

    def __init__(
        self,
        h: LinearLearnerHyperparameters,
        chosen: Sequence[Setting],
        loss: Loss,
        scaler: Scaler,
        class_weights: NDArray[np.float32] | None,
        weights: Dense,
    ) -> None:
        self.scaler = scaler
        self.models = len(chosen)
        self.outputs = weights.shape[1] // self.models
        (d, c), self.weights = weights.shape, weights
        self.bias = np.full((1, c), h.init_bias if h.use_bias else 0, np.float32)
        self._loss, self._class_weights = loss, class_weights
        self._weighs_loss = h.positive_example_weight_mult != "auto"
        self._rows = np.empty((0, d), np.float32)  # scaled rows, reused
        self.mean_weights, self.mean_bias = self.weights.copy(), self.bias.copy()
        self._sums = np.empty((d + 3, c), np.float32)  # gradients, the bias's, losses, rows
        self._most_rows = 0.0  # of a step so far
        self._steps = 0
        self._schedule = Schedule(chosen)
        self._wd = self._spread([each.wd for each in chosen])
        self._l1 = self._spread([each.l1 for each in chosen])
        self._use_bias = h.use_bias
        self._bias_lr_mult = np.float32(BIAS_LR_MULT if h.bias_lr_mult == "auto" else h.bias_lr_mult)
        self._bias_wd = self._wd * np.float32(BIAS_WD_MULT if h.bias_wd_mult == "auto" else h.bias_wd_mult)
        decay = {
            "momentum": 0.0 if h.momentum == "auto" else h.momentum,
            "beta_1": 0.9 if h.beta_1 == "auto" else h.beta_1,
            "beta_2": 0.999 if h.beta_2 == "auto" else h.beta_2,
        }
        name = chosen[0].optimizer
        self._optimizer, self._bias_optimizer = make(name, (d, c), **decay), make(name, (1, c), **decay)

    def _spread(self, values: Sequence[float] | NDArray[np.float32]) -> NDArray[np.float32]:
        """A value of each model, for each of its outputs."""
        return np.repeat(np.asarray(values, np.float32), self.outputs)

    def learn(
        self, cluster: Cluster, X: Dense | sparse.csr_array, y: NDArray[np.float32], rows: int, steps: int
    ) -> tuple[NDArray[np.float64], float]:
        """Learns from mini-batches of `rows` in so many steps, of all hosts as from one.

        Returns the sums of the losses (m,), and how many rows they are of. The gradient is the mean over the rows of a
        full mini-batch, also where the last one has fewer: a few rows would otherwise count as much as all the others.
        """
        y = np.ascontiguousarray(self.scaler.labels(y))
        if cluster.size == 1 and self.outputs == 1 and isinstance(X, np.ndarray):
            return self._learn(np.ascontiguousarray(X), y, rows, steps), float(len(y))
        total, count, d = np.zeros(self.models), 0.0, len(self.weights)
        with np.errstate(all="ignore"):  # a model that diverges shows in its loss
            for start in range(0, rows * steps, rows):
                self._summarise(X[start : start + rows], y[start : start + rows])
                sums = cluster.all_reduce(self._sums)
                found = float(sums[-1, 0])
                if found:
                    sums[: d + 1] *= self._factor(found)
                    self._update(sums)
                    total += sums[d + 1, : self.models]
                    count += found
        return total, count

    def _learn(self, X: Dense, y: NDArray[np.float32], rows: int, steps: int) -> NDArray[np.float64]:
        """All steps in one call of the kernel."""
        losses = np.zeros(self.models)
        if len(y):
            folded = self._folds(min(rows, len(y)))
            with np.errstate(all="ignore"):  # a model that diverges shows in its loss
                X = X if folded else self.scaler.features(X, np.empty_like(X))
            factors = np.array([self._factor(min(rows, len(y) - start)) for start in range(0, rows * steps, rows)])
            rates = np.array([self._rates() for _ in range(steps)])
            plan = self._optimizer.plan(rates, self._wd, self._l1)
            bias_plan = None
            if self._use_bias:
                bias_plan = self._bias_optimizer.plan(rates * self._bias_lr_mult, self._bias_wd, 0 * self._l1)
            objective = self._objective(folded)
            shares = np.array(
                [self._share(step) for step in range(self._steps - steps + 1, self._steps + 1)], np.float32
            )
            means = self.mean_weights, self.mean_bias, shares
            _sums.learn(
                *(X, y, rows, self.weights, self.bias, objective, self._sums, factors, plan, bias_plan, *means, losses)
            )
        return losses

    def _folds(self, n: int) -> bool:
        """Whether the weights are scaled and not the n rows.

        (X - shift) scale W = X (scale W) - shift scale W, and so for the gradient: where the rows are many it saves a
        third of the time.
        """
        return n >= ROWS_TO_FOLD * self._sums.shape[1] and self.scaler.is_near

    def _share(self, step: int) -> float:
        """How far the means move towards the weights after a step, counted from 1 (polynomial-decay averaging)."""
        return (AVERAGING + 1) / (AVERAGING + step)

    def _factor(self, rows: float) -> np.float32:
        """What the sums over these rows are multiplied by."""
        self._most_rows = max(self._most_rows, rows)
        return np.float32(1 / self._most_rows)

    def _rates(self) -> NDArray[np.float32]:
        """The learning rates of the next step, (c,)."""
        self._steps += 1
        return self._spread(self._schedule.rates(self._steps - 1))

    def _summarise(self, X: Dense | sparse.csr_array, y: NDArray[np.float32]) -> None:
        """What a mini-batch of this host adds to the sums."""
        if not len(y):
            self._sums[:] = 0
            return
        (n, d), dense = X.shape, isinstance(X, np.ndarray)
        folded = dense and self._folds(n)
        if not folded:
            if n > len(self._rows) and (dense or self.scaler.shift is not None):
                self._rows = np.empty((n, d), np.float32)
            X = self.scaler.features(X, self._rows)
        if self.outputs == 1 and isinstance(X, np.ndarray):
            _sums.add(np.ascontiguousarray(X), y, self.weights, self.bias, self._objective(folded), self._sums)
        else:
            self._multiply(X, y, folded)

    def _objective(self, folded: bool) -> _sums.Objective:
        """The loss, and what is done to the rows before, as the kernel takes it."""
        d, loss, weights = len(self.weights), self._loss, self._class_weights
        scale = self.scaler.scale if folded else np.ones(d, np.float32)
        shift = self.scaler.shift if folded else None
        shift = np.zeros(d, np.float32) if shift is None else shift
        weights = np.empty((0, 0), np.float32) if weights is None else weights
        return scale, shift, loss.code, loss.parameter, weights, self._weighs_loss

    def _multiply(self, X: Dense | sparse.csr_array, y: NDArray[np.float32], folded: bool) -> None:
        (n, d), sums, shift = X.shape, self._sums, self.scaler.shift
        if folded:
            np.multiply(self.weights, self.scaler.scale[:, None], out=sums[:d])
            scores = X @ sums[:d]
            scores += self.bias if shift is None else self.bias - shift @ sums[:d]
        else:
            scores = X @ self.weights
            scores += self.bias
        if self.outputs > 1:
            scores = scores.reshape(n, self.models, self.outputs)
        values, slopes = self._loss.with_slopes(scores, y)
        if self._class_weights is not None:
            weights = self._class_weights[y.astype(np.intp)]
            slopes *= weights if self.outputs == 1 else weights[:, :, None]
            if self._weighs_loss:
                values = values * weights
        slopes = slopes.reshape(n, -1)
        if isinstance(X, np.ndarray):
            np.matmul(X.T, slopes, out=sums[:d])
        else:
            sums[:d] = X.T @ slopes
        np.sum(slopes, axis=0, out=sums[d])
        if folded:
            if shift is not None:
                sums[:d] -= shift[:, None] * sums[d]
            sums[:d] *= self.scaler.scale[:, None]
        np.sum(values, axis=0, out=sums[d + 1, : self.models])
        sums[-1] = n

    def _update(self, sums: NDArray[np.float32]) -> None:
        d, rates = len(self.weights), self._rates()
        step(self._optimizer, self.weights, sums[:d], rates, self._wd, self._l1)
        if self._use_bias:
            rates = rates * self._bias_lr_mult
            step(self._bias_optimizer, self.bias, sums[d : d + 1], rates, self._bias_wd, np.zeros_like(self._l1))
        share = self._share(self._steps)
        _optimizer.average(self.mean_weights, self.weights, share, bool(self._l1.any()))
        _optimizer.average(self.mean_bias, self.bias, share, False)
