"""Training: epochs over mini-batches for all models at once, then the choice of the best."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.device import CPU, Device, dense_only, roomy
from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.linear_learner.class_weights import class_weights, number_of_classes, rows_of_classes
from algorithms.linear_learner.early_stopping import EarlyStopping
from algorithms.linear_learner.grid import settings
from algorithms.linear_learner.groups import Groups
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.labels import check_of_labels
from algorithms.linear_learner.loss import Loss
from algorithms.linear_learner.model import LinearModel
from algorithms.linear_learner.on_device import product, step_bytes
from algorithms.linear_learner.scaler import Scaler, moments
from algorithms.linear_learner.selection import Assessment, Candidate, as_threshold, metric, objective_name
from algorithms.machine import cpu_count
from algorithms.report import Counters, log
from algorithms.supervised import agreed_width, block_rows, share, steps
from formats import Batch
from formats.batch import concatenate

SHOWN = 10  # constant features, and classes, that the log names
ASSESSED_ROWS = 5000  # scored at a time
SCORES_AT_ONCE = 2**22
BLOCK = 2**21  # numbers of the mini-batches that the reader hands over together: 8 MiB


def fit(job: Job, hyperparameters: LinearLearnerHyperparameters, device: Device = CPU) -> LinearModel:
    """Trains on `train`, and chooses on `validation` if it is there. Raises UserError for data that cannot be used."""
    _require_channel(job, hyperparameters)
    training = Training(job, hyperparameters, device)
    for epoch in range(hyperparameters.epochs):
        with job.report.timed("update.time"):
            losses = training.epoch(epoch)
        if training.stopped:
            break
        training.report(epoch, losses)
        job.report.progress(epoch + 1, hyperparameters.epochs)
        if training.early_stopping.is_over:
            log.info("Early stop condition met. Stopping training.")
            break
    job.report.throughput(training.records, time.perf_counter() - training.started)
    with job.report.timed("finalize.time"):
        return training.best_model()


def raw_loss(h: LinearLearnerHyperparameters) -> Loss:
    """The loss of labels in their own unit."""
    return Loss(h.loss_function, h.margin, h.quantile, h.loss_insensitivity, h.huber_delta)


def _require_channel(job: Job, h: LinearLearnerHyperparameters) -> None:
    """A tuning job's objective must be of a channel that is there."""
    channel = h.tuning_objective_metric.partition(":")[0]
    if channel in ("validation", "test") and channel not in job.channels:
        raise UserError(
            f"channel '{channel}' is missing: hyperparameter '_tuning_objective_metric' is "
            f"'{h.tuning_objective_metric}'. Please provide the channel, or tune for a metric of channel 'train'."
        )


class Training:
    """A job between its epochs. Hosts hold the same models; each of them reads its own rows."""

    def __init__(self, job: Job, h: LinearLearnerHyperparameters, device: Device = CPU) -> None:
        self.job, self.h, self._device = job, h, device
        self.started = time.perf_counter()
        self.records = 0
        self.early_stopping = EarlyStopping(h.early_stopping_patience, h.early_stopping_tolerance)
        self._random = np.random.default_rng(h.seed)
        self._chosen = settings(h, self._random)
        self._raw_loss = raw_loss(h)
        self._check = check_of_labels(h)
        self._width = None if h.feature_dim == "auto" else h.feature_dim
        self._counters = Counters()
        self._seen = np.zeros(number_of_classes(h))  # rows of each class
        self._groups: Groups | None = None
        self._losses = np.zeros(len(self._chosen))  # of the last epoch
        self._class_weights: NDArray[np.float32] | None = None  # in the objective
        self._objective = objective_name(self._raw_loss, weighted=False)

    @property
    def stopped(self) -> bool:
        """Whether any host was told to stop."""
        return self.job.cluster.total(self.job.stopped()) > 0

    def epoch(self, number: int) -> NDArray[np.float64]:
        """One pass over the channel `train`. Returns the mean loss of each model while it learned, (m,)."""
        job, size = self.job, self.h.mini_batch_size
        rows, again = block_rows(size, self._width, BLOCK), job.paths if self.h.epochs > 1 else None
        n, mine, blocks = 0.0, 0, 0
        total: Any = 0.0
        with share(job.channels["train"], job.cluster, rows, self._width, self._check, again=again) as source:
            if self._groups is None:
                with job.report.timed("initialize.time"):
                    source = self._initialise(source)
            assert self._groups is not None  # noqa: S101 - made from the first rows
            assert self._width is not None  # noqa: S101 - of these rows
            in_step = job.cluster.in_step(source, self._width, job.stopped)
            for block in self._device.ahead(self._counted(in_step) if number == 0 else in_step):
                losses, count = self._groups.learn(job.cluster, block, size, steps(job.cluster, block, size))
                total = total + losses  # on a GPU an array of its own, which nobody waits for
                n += count
                mine += len(block)
                blocks += -(-len(block) // size)
        total = self._device.get(total) if n else np.zeros(len(self._chosen))
        self.records += mine
        job.report.metrics(self._counters.epoch(mine, blocks), Meta="training_data_iter", epoch=number)
        if n == 0 and self.stopped and number > 0:
            return self._losses  # of the epoch before, whose models are kept
        if n == 0:
            raise NothingLearned if self.stopped else job.channels["train"].without_data()
        if not self.stopped:
            self._require_classes(number)
        self._require_finite(total, number)
        self._losses = np.where(np.isfinite(total), total / n, np.inf)
        return self._losses

    def _initialise(self, source: Iterator[Batch]) -> Iterator[Batch]:
        """Makes the models from the first rows, and gives all rows back."""
        job, h = self.job, self.h
        wanted = -(-h.num_point_for_scaler // job.cluster.size)
        head: list[Batch] = []
        while sum(map(len, head)) < wanted and (batch := next(source, None)) is not None:
            head.append(batch)
        self._width = agreed_width(job.cluster, head[0].width if head else 0)
        if not self._width:
            raise NothingLearned if self.stopped else job.channels["train"].without_data()
        some = [concatenate(head).rows(0, wanted)] if head else []
        found = moments(job.cluster, some, self._width)
        is_sparse = job.cluster.total(any(batch.is_sparse for batch in head)) > 0
        log.info(
            "Scaling model computed from %d rows: label mean %r, label stdev %r",
            *(found.rows, float(found.mean[-1]), float(found.deviation[-1])),
        )
        if h.unbias_data is True and is_sparse:
            log.warning("'unbias_data' is true, but the data are sparse: they are scaled and not shifted.")
        scaler = Scaler.of(h, found, is_sparse=is_sparse)
        weights = self._weigh(some)
        constant = found.deviation[:-1] == 0
        if constant.any():
            names = ", ".join(str(i + 1) for i in np.flatnonzero(constant)[:SHOWN])
            log.warning(
                "%d of %d features are constant in the first %d rows: %s",
                *(constant.sum(), len(constant), found.rows, names + (", ..." if constant.sum() > SHOWN else "")),
            )
        loss = self._raw_loss.scaled(scaler.label_scale)
        # Several hosts wait for each other in every step, of sparse rows SciPy keeps the interpreter's lock, and the
        # thread that reads fills a CPU of its own.
        device = dense_only(self._device, Batch(sparse.csr_array((0, self._width))) if is_sparse else None)
        device = roomy(device, step_bytes(h, self._width, len(self._chosen), BLOCK), "A step over dense rows")
        # where a GPU and a CPU round apart, hosts' models would differ
        self._device = device if job.cluster.total(device.gpus) == job.cluster.size else CPU
        alone = job.cluster.size == 1 and not is_sparse and not self._device.gpus
        threads = max(1, cpu_count() - 1) if alone and h.predictor_type != "multiclass_classifier" else 1
        self._groups = Groups(h, self._chosen, loss, scaler, constant, weights, self._random, threads, self._device)
        return chain(head, source)  # kept, not read again: a FIFO has no rewind

    def _counted(self, blocks: Iterator[Batch]) -> Iterator[Batch]:
        """The blocks, their rows of each class counted."""
        for block in blocks:
            self._seen += rows_of_classes([block], len(self._seen))
            yield block

    def _weigh(self, some: list[Batch]) -> NDArray[np.float32] | None:
        """The weights of classes, (classes, m or 1); those that all models share are in the objective, too."""
        rows = self.job.cluster.all_reduce(rows_of_classes(some, len(self._seen)))
        weights = class_weights(self.h, rows, self._chosen)
        if weights is not None:
            log.info("Weights of the classes: %s", weights[:SHOWN, 0].tolist())
            if weights.shape[1] == 1:
                self._class_weights = weights[:, 0]
                self._objective = objective_name(self._raw_loss, weighted=True)
        return weights

    def _require_classes(self, epoch: int) -> None:
        """Raises UserError if all rows are of one class."""
        if epoch > 0 or len(self._seen) == 0:
            return
        seen = np.flatnonzero(self.job.cluster.all_reduce(self._seen))
        if len(seen) == 1:
            raise UserError(
                f"all labels of channel 'train' are {seen[0]}: a classifier needs rows of two classes at least. "
                "Please provide rows of the others, too."
            )

    def _require_finite(self, losses: NDArray[np.float64], epoch: int) -> None:
        """Models whose loss is infinite are out. Raises UserError if all are."""
        finite = np.isfinite(losses)
        if not finite.any():
            raise UserError(
                f"training diverged: the loss of every model was infinite or NaN in epoch {epoch}. Please lower "
                f"learning_rate ({max(each.learning_rate for each in self._chosen):g} now), normalize the data, or "
                "look for extreme values among features and labels."
            )
        if not finite.all():
            log.warning("%d of %d models diverged and are left out.", (~finite).sum(), len(finite))

    def report(self, epoch: int, losses: NDArray[np.float64]) -> None:
        """The losses of all models, the criterion of early stopping, and the best models so far kept."""
        job, h = self.job, self.h
        self._say("train", epoch, losses)
        criterion, values = self._objective, losses
        if "validation" in job.channels:
            by_criterion = h.predictor_type == "binary_classifier" and h.criterion_given
            assessment = self._assess("validation", metrics=False, sample=by_criterion)
            if assessment is None:
                return
            values = assessment.objectives
            self._say("validation", epoch, values)
            if by_criterion and h.criterion != "loss_function":
                criterion, values = h.criterion, -np.array([each.value for each in assessment.candidates()])
        values = np.where(np.isfinite(losses), values, np.inf)
        best = float(np.nanmin(values)) if np.isfinite(values).any() else np.inf
        job.report.criterion(epoch, criterion, best if criterion == self._objective else -best)
        assert self._groups is not None  # noqa: S101 - made in the first epoch
        if self.early_stopping.improved(best):
            log.info("Epoch %d: Loss improved. Updating best model", epoch)
            log.info("Saving model for epoch: %d", epoch)
            self.early_stopping.keep(self._groups.mean_weights, self._groups.mean_bias, values)
        else:
            log.info("Epoch %d: Loss has not improved for %d epochs.", epoch, self.early_stopping.waited)

    def _say(self, channel: str, epoch: int, values: NDArray[np.float64]) -> None:
        for i, value in enumerate(values.tolist()):
            self.job.report.metrics({f"{channel}_{self._objective}": value}, model=i, epoch=epoch)
        self.job.report.quality(metric(channel, self._objective), float(values[0]), epoch=epoch)

    def _assess(self, channel: str, **wanted: bool) -> Assessment | None:
        """All models on a channel's rows; None for a job that was stopped meanwhile."""
        job = self.job
        weights, bias = self._raw()
        margins_of = product(self._device, weights)
        assessment = Assessment(self.h, self._raw_loss, self._class_weights, len(self._chosen), **wanted)
        rows, again = max(1, min(ASSESSED_ROWS, SCORES_AT_ONCE // len(bias))), job.paths if self.h.epochs > 1 else None
        with share(job.channels[channel], job.cluster, rows, self._width, self._check, again=again) as batches:
            for batch in batches:
                assert batch.labels is not None  # noqa: S101 - checked while it was read
                with np.errstate(all="ignore"):
                    margins = margins_of(batch.features)
                    margins += bias
                assessment.add(margins, batch.labels)
        if self.stopped:
            return None
        assessment.of_all_hosts(job.cluster)
        if assessment.rows == 0:
            raise job.channels[channel].without_data()
        return assessment

    def _raw(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights (d, m * C) and bias (m * C,) that act on raw features."""
        assert self._groups is not None  # noqa: S101 - made in the first epoch
        with np.errstate(all="ignore"):
            return self._groups.scaler.unscaled(self._groups.mean_weights, self._groups.mean_bias[0])

    def best_model(self) -> LinearModel:
        """The best model of the best epoch, with its threshold."""
        job, h, groups = self.job, self.h, self._groups
        assert groups is not None  # noqa: S101 - made in the first epoch
        if (kept := self.early_stopping.kept) is not None:
            groups.restore(kept.weights, kept.bias)
        channel = "validation" if "validation" in job.channels else "train"
        assessment = None if self.stopped else self._assess(channel)
        weights, bias = self._raw()
        finite = np.isfinite(np.vstack([weights, bias])).all(axis=0)
        usable = finite.reshape(groups.models, -1).all(axis=1)
        if assessment is None:
            log.warning("Stopped before the models were compared: the best one so far is kept, without calibration.")
            losses = self._losses if kept is None else kept.values
            candidates = [Candidate(-value) for value in losses.tolist()]
        else:
            losses, candidates = assessment.objectives, assessment.candidates()
        usable &= np.isfinite(losses)
        self._require_finite(np.where(usable, losses, np.inf), h.epochs - 1)
        # at a threshold fitted to the same rows accuracy prefers the model that has learned them by heart
        by_loss = channel == "train" and not h.criterion_given
        values = -losses if by_loss else np.array([each.value for each in candidates])
        best = max(np.flatnonzero(usable).tolist(), key=lambda i: (values[i], -losses[i], -i))
        if assessment is not None:
            scores = {self._objective: float(losses[best])} | assessment.metrics(best, candidates[best].margin)
            job.report.scores({metric(channel, name): value for name, value in scores.items()})
        log.info("Best model found for hyperparameters: %s", json.dumps(self._chosen[best].shown()))
        outputs = slice(best * groups.outputs, (best + 1) * groups.outputs)
        return LinearModel(
            np.ascontiguousarray(weights[:, outputs].T),
            bias[outputs].copy(),
            h.predictor_type,
            h.loss_function,
            as_threshold(h.loss_function, candidates[best].margin),
            self._device,
        )
