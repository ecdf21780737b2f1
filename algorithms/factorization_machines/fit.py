"""Training: epochs over mini-batches of sparse rows, and what the log says of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from scipy import sparse

from algorithms.device import CPU, Device, dense_only, roomy
from algorithms.errors import UserError
from algorithms.factorization_machines.hyperparameters import TERMS, FactorizationMachinesHyperparameters
from algorithms.factorization_machines.learner import Learner, state_bytes
from algorithms.factorization_machines.metrics import metric, scores_of, sums_of
from algorithms.factorization_machines.model import FactorizationMachine, stored
from algorithms.factorization_machines.on_device import DeviceLearner, step_bytes
from algorithms.job import Job, NothingLearned
from algorithms.machine import free_memory
from algorithms.report import Counters, log
from algorithms.supervised import BINARY_LABELS, block_rows, label_check, share, steps
from formats import Batch, FormatError
from formats._finite import first_not_finite
from formats.batch import Dense
from formats.ndarray import MAX_ELEMENTS

BLOCK = 2**14  # numbers of the mini-batches that the reader hands over together
UNREAD = 64  # mini-batches that a GPU goes through before the host asks what their margins were


def fit(job: Job, hyperparameters: FactorizationMachinesHyperparameters, device: Device = CPU) -> FactorizationMachine:
    """Trains on the channel `train`. Raises UserError for data that cannot be used, and training that diverges."""
    h = hyperparameters
    log.info("[Sparse network] Building a sparse network.")
    require_memory(h)
    training = Training(job, h, device)
    for epoch in range(h.epochs):
        with job.report.timed("update.time"):
            training.epoch(epoch)
        if training.stopped:
            break
        training.report(epoch)
        job.report.progress(epoch + 1, h.epochs)
    job.report.throughput(training.records, time.perf_counter() - training.started)
    with job.report.timed("finalize.time"):
        training.report()
        return training.model()


def require_memory(h: FactorizationMachinesHyperparameters) -> None:
    """Says what the model takes while it learns. Raises UserError if there is less, or no file can hold the model."""
    needed, free = state_bytes(h.feature_dim, h.num_factors), free_memory()
    size = f"{h.feature_dim} features with {h.num_factors} factors each"
    log.info("The model of %s and its optimizer take %d bytes of memory, %.0f are free.", size, needed, free)
    if not needed <= free:
        raise UserError(
            f"the model of {size} and its optimizer take {needed / 2**30:.1f} GiB of memory, there are "
            f"{free / 2**30:.1f} GiB. Please set num_factors or feature_dim lower, or use a larger instance."
        )
    if h.feature_dim * h.num_factors > MAX_ELEMENTS:
        raise UserError(
            f"feature_dim times num_factors must be at most {MAX_ELEMENTS}, the most numbers that an array of a model "
            f"file can have, got {h.feature_dim * h.num_factors}. Please set num_factors or feature_dim lower."
        )


def label_rule(h: FactorizationMachinesHyperparameters) -> tuple[int, str]:
    """The number of classes, 0 for a regressor, and what a label must be."""
    return (2, BINARY_LABELS) if h.predictor_type == "binary_classifier" else (0, "a number")


def nonzeros(features: Dense | sparse.csr_array) -> sparse.csr_array:
    """The same rows without their zeros, so that it does not matter how they were stored."""
    if not isinstance(features, np.ndarray):
        if np.count_nonzero(features.data) < features.nnz:
            features.eliminate_zeros()
        return features
    starts, columns, values = stored(features)
    return sparse.csr_array((values, columns, starts), shape=features.shape)


class Training:
    """A job between its epochs. Hosts hold the same model; each of them reads its own rows."""

    def __init__(self, job: Job, h: FactorizationMachinesHyperparameters, device: Device = CPU) -> None:
        self.job, self.h, self._device = job, h, device
        self.started = time.perf_counter()
        self.records = 0
        self._learner: Learner | None = None
        self._counters = Counters()
        self._sums = sums_of(h.predictor_type)  # of this epoch
        self._row = h.feature_dim  # numbers of a row; of sparse ones, from the second epoch on, those that are stored
        self._batches = 0  # of this epoch
        self._unread: list[tuple[int, Any]] = []  # mini-batches: their numbers, margins and labels
        self._diverged: int | None = None  # the first mini-batch whose loss is not finite

    @property
    def stopped(self) -> bool:
        """Whether any host was told to stop."""
        return self.job.cluster.total(self.job.stopped()) > 0

    def epoch(self, number: int) -> None:
        """One pass over the channel `train`."""
        job, h = self.job, self.h
        rows, again = block_rows(h.mini_batch_size, self._row, BLOCK), job.paths if h.epochs > 1 else None
        before, self._sums, self._batches = self._sums, sums_of(h.predictor_type), 0
        mine = entries = 0
        check = label_check(*label_rule(h))
        with share(job.channels["train"], job.cluster, rows, h.feature_dim, check, again=again) as source:
            blocks = job.cluster.in_step(source, h.feature_dim, job.stopped)
            if self._learner is None:
                with job.report.timed("initialize.time"):
                    blocks = self._initialise(blocks, rows)
            for block in self._device.ahead(blocks):
                X, y, numbers = self._prepared(block)
                self._learn(X, y, block, number)
                mine += len(block)
                entries += numbers
            self._read(number)
        self.records += mine
        job.report.metrics(self._counters.epoch(mine, self._batches), Meta="training_data_iter", epoch=number)
        all_entries, all_rows = job.cluster.all_reduce(np.array([entries, mine], np.int64)).tolist()
        if all_rows:
            self._row = max(1, all_entries // all_rows)
        elif number > 0 and self.stopped:
            self._sums = before  # of the epoch before, whose model is kept
        else:
            raise NothingLearned if self.stopped else job.channels["train"].without_data()

    def _initialise(self, blocks: Iterator[Batch], rows: int) -> Iterator[Batch]:
        """Makes the model, where rows like the first ones are computed with, and gives all rows back."""
        first = next(blocks, None)
        if first is None:
            return blocks
        h, cluster = self.h, self.job.cluster
        is_sparse = cluster.total(first.is_sparse) > 0
        device = dense_only(self._device, Batch(sparse.csr_array((0, h.feature_dim))) if is_sparse else None)
        device = roomy(device, step_bytes(h.feature_dim, h.num_factors, rows), "A step over dense rows")
        if cluster.total(device.gpus) < cluster.size:  # what hosts add must be of one kind
            device = CPU
        random = np.random.default_rng(h.seed)
        self._device = device
        self._learner = DeviceLearner(h, random, device) if device.gpus else Learner(h, random)
        return chain([first], blocks)

    def _prepared(self, block: Batch) -> tuple[Any, Any, int]:
        """Features and labels as the learner takes them, and how many numbers the rows are written as."""
        size, none = len(block) * block.width, np.empty(0, np.float32)
        if self._device.gpus:
            return block.features, self._device.put(none) if block.labels is None else block.labels, size
        X = nonzeros(block.features)
        y = none if block.labels is None else np.ascontiguousarray(block.labels)
        return X, y, X.nnz if block.is_sparse else size

    def _learn(self, X: Any, y: Any, block: Batch, epoch: int) -> None:
        """The mini-batches of a block, a step each. X (n, N): without zeros, or dense and like y (n,) on the device."""
        assert self._learner is not None  # noqa: S101 - made from the first rows
        cluster, size, xp = self.job.cluster, self.h.mini_batch_size, self._device.xp
        for start in range(0, steps(cluster, block, size) * size, size):
            rows = slice(start, start + size)
            margins, _ = self._learner.step(cluster, X if len(y) <= size and start == 0 else X[rows], y[rows])
            told = xp.stack([margins, y[rows]]) if self._device.gpus else (margins, y[rows])
            self._unread.append((self._batches, told))
            if self._batches % self.h.batch_metrics_publish_interval == 0:
                self._read(epoch)
                self.report(epoch, self._batches)
            self._batches += 1
        if not self._device.gpus or len(self._unread) >= UNREAD:
            self._read(epoch)

    def _read(self, epoch: int) -> None:
        """Adds up how good the margins were since the last time, which a GPU is waited for."""
        for number, told in self._unread:
            margins, labels = self._device.get(told)
            if self._diverged is None and not np.isfinite(margins).all():
                self._diverged = number
            with np.errstate(all="ignore"):  # told below
                self._sums.add(margins, labels)
        self._unread.clear()
        self._require_finite(epoch)

    def _require_finite(self, epoch: int) -> None:
        """Raises UserError, on all hosts, if the loss of a mini-batch on any of them was infinite or NaN."""
        number = 0 if self._diverged is None else 1 + self._diverged
        if found := [each for each in self.job.cluster.numbers(number).tolist() if each]:
            raise self._divergence(f"the loss of mini-batch {min(found) - 1} of epoch {epoch} was infinite or NaN")

    def _divergence(self, problem: str) -> UserError:
        """What to raise when training diverged; names the rates above their defaults, or else all."""
        names = [f"{term}_lr" for term in reversed(TERMS)]
        defaults = type(self.h).model_fields
        high = [name for name in names if getattr(self.h, name) > defaults[name].default] or names
        rates = ", ".join(f"{name} ({getattr(self.h, name):g} now)" for name in high)
        return UserError(
            f"training diverged: {problem}. Please lower {rates}, or look for extreme values among features and labels."
        )

    def report(self, epoch: int | None = None, batch: int | None = None) -> None:
        """The metrics of all hosts' rows in this epoch so far."""
        total = sums_of(self.h.predictor_type)
        total.array = self.job.cluster.all_reduce(self._sums.array)
        for name, value in scores_of(total).items():
            self.job.report.quality(metric("train", name), value, epoch=epoch, batch=batch)

    def model(self) -> FactorizationMachine:
        """What was learned. Raises UserError if it is not finite, as after an overflow in the last step, or stuck.

        A weight whose gradient had a square beyond float32 does not move any more, as Adam divides by its root.
        """
        learner = self._learner
        assert learner is not None  # noqa: S101 - made in the first epoch
        if isinstance(learner, DeviceLearner):
            learner.fetch()
        if not all(map(_is_finite, (learner.bias, learner.linear, learner.factors))):
            raise self._divergence("the model has infinite or NaN weights")
        if not all(map(_is_finite, learner.squares)):
            raise self._divergence("the square of a gradient was beyond float32, so that its weight learned no more")
        return FactorizationMachine(learner.factors, learner.linear, learner.bias, self.h.predictor_type, self._device)


def _is_finite(array: Dense) -> bool:
    return first_not_finite(array.reshape(-1).view(np.uint32)) < 0


def evaluate(
    job: Job,
    hyperparameters: FactorizationMachinesHyperparameters,
    model: FactorizationMachine,
    batches: Iterator[Batch],
) -> dict[str, float]:
    """The metrics of a channel's rows: rmse, mse, absolute_loss, or accuracy, cross entropy and F1."""
    check, sums, row = label_check(*label_rule(hyperparameters)), sums_of(hyperparameters.predictor_type), 1
    for batch in batches:
        try:
            check(batch, row)
        except FormatError as error:
            raise UserError(f"channel 'test': {error}") from None
        assert batch.labels is not None  # noqa: S101 - just checked
        try:
            sums.add(model.margins(batch.features), batch.labels)
        except UserError as error:
            raise UserError(f"channel 'test': rows {row} to {row + len(batch) - 1}: {error}") from None
        row += len(batch)
    sums.array = job.cluster.all_reduce(sums.array)
    return scores_of(sums) if sums.array[0] else {}
