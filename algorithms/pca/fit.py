"""Training: one pass over the rows adds up a summary, of which the components are taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from algorithms.cluster import Cluster
from algorithms.device import CPU, Device, dense_only, roomy
from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.machine import free_memory
from algorithms.pca.covariance import Covariance, centred
from algorithms.pca.decompose import oriented
from algorithms.pca.hyperparameters import PCAHyperparameters
from algorithms.pca.model import TOO_LARGE, PCAModel
from algorithms.pca.sketch import Sketch
from algorithms.report import Counters, log
from formats import Batch, Expected

FEW = 64  # features: their covariance matrix is small, and random signs of so few may well be the same
SCORED_ROWS = 512


def fit(job: Job, hyperparameters: PCAHyperparameters, device: Device = CPU) -> PCAModel:
    """Trains on the channel `train`. Raises UserError for data that cannot be read, or fewer rows than components."""
    train, report, d = job.channels["train"], job.report, hyperparameters.feature_dim
    counters, started, rows, steps = Counters(), time.perf_counter(), 0, 0
    log.info("%d feature(s) found in 'data'.", d)
    with train.epoch(block_rows(d), Expected(d, label_columns=None)) as batches:
        with report.timed("initialize.time"):
            first = next(batches, None)
            summary = summary_near(job.cluster, first, hyperparameters, device)
        read = batches if first is None else chain([first], batches)
        with report.timed("update.time"):
            for batch in summary.device.ahead(job.cluster.together(read, job.stopped)):
                summary.add(batch.features)
                rows += len(batch)
                steps += 1
    report.metrics(counters.epoch(rows, steps), Meta="training_data_iter", epoch=0)
    stopped = job.cluster.total(job.stopped())
    if not stopped:
        report.progress(1, 1)
    report.throughput(rows, time.perf_counter() - started)
    with report.timed("finalize.time"):
        summary.merge(job.cluster)
        require_rows(job, hyperparameters, summary.count, stopped=stopped > 0)
        return model_of(summary, hyperparameters.num_components)


def block_rows(d: int) -> int:
    """Rows that are read at once: the model does not depend on them. A slow FIFO is not waited for too long."""
    return max(256, min(4096, 2**22 // d))


def summary_near(
    cluster: Cluster, first: Batch | None, hyperparameters: PCAHyperparameters, device: Device = CPU
) -> Covariance | Sketch:
    """An empty summary, of rows relative to the mean of the hosts' first ones.

    Features that sparse rows mostly lack are summed up as they are, relative to 0: a mean would fill them.
    """
    d, h = hyperparameters.feature_dim, hyperparameters
    share = np.zeros((3, d))  # sums of the features, rows that have them, rows
    if first is not None:
        X = first.features
        share[0], share[2] = X.sum(axis=0, dtype=np.float64), len(first)
        share[1] = len(first) if isinstance(X, np.ndarray) else np.bincount(X.indices, minlength=d)
    sums, present, rows = cluster.all_reduce(share)
    filled = 2 * present > rows
    shift = np.zeros(d)
    # rounded, so that differences of float32 numbers near to it are exact in float64
    shift[filled] = (sums[filled] / rows[filled]).astype(np.float32)
    extra = max(10, h.num_components) if h.extra_components == -1 else h.extra_components
    size = h.num_components + extra
    # a sketch half as wide as the whole matrix takes as much time and memory
    if h.algorithm_mode == "randomized" and d > FEW and 2 * size < d:
        what, needed = f"the sketch of {d} features by {size}", 6 * 8 * d * size
        require_memory(needed, what, "num_components or extra_components lower")
        device = roomy(dense_only(device, first), needed, what)
        return Sketch(shift, size, h.seed, centred=h.subtract_mean, device=device)
    what, needed = f"the covariance matrix of {d} features", 4 * 8 * d**2
    require_memory(needed, what, "algorithm_mode to randomized, with few components")
    device = roomy(dense_only(device, first), 2 * needed, what)  # with what the eigenvectors of all of it take
    return Covariance(shift, centred=h.subtract_mean, device=device)


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Raises UserError where a summary, and what finding its components takes besides, would not fit."""
    free = free_memory()
    if not needed <= free:
        raise UserError(
            f"{what} needs {needed / 2**30:.1f} GiB of memory, there are {free / 2**30:.1f} GiB. "
            f"Please set {remedy}, or use a larger instance."
        )


def require_rows(job: Job, hyperparameters: PCAHyperparameters, count: int, *, stopped: bool) -> None:
    """Raises unless all hosts together have seen as many rows as components are asked for."""
    wanted = hyperparameters.num_components
    if count < wanted and stopped:
        raise NothingLearned
    if count == 0:
        raise job.channels["train"].without_data()
    if count < wanted:
        raise UserError(
            f"hyperparameter 'num_components' must be at most the number of rows in channel 'train', got {wanted} "
            f"for {count} rows. Please lower num_components or provide more data."
        )


def model_of(summary: Covariance | Sketch, k: int) -> PCAModel:
    """The model of the k leading components; raises UserError if float32 cannot hold it."""
    mean = summary.mean() if summary.centred else np.zeros_like(summary.sums)
    components = summary.components(k)
    with np.errstate(over="ignore"):
        model = PCAModel(
            mean.astype(np.float32)[None],
            oriented(np.ascontiguousarray(components.vectors, np.float32)),
            np.sqrt(components.values).astype(np.float32),
            summary.device,
        )
    if not (np.isfinite(model.mean).all() and np.isfinite(model.s).all()):
        raise UserError(TOO_LARGE)
    share = components.values.sum() / components.total if components.total > 0 else 1.0
    about = "about " if isinstance(summary, Sketch) else ""
    log.info("%d component(s) hold %s%.6f of what the training data vary.", k, about, min(share, 1.0))
    return model


def evaluate(
    job: Job, hyperparameters: PCAHyperparameters, model: PCAModel, batches: Iterator[Batch]
) -> dict[str, float]:
    """The mean squared distance of the rows to their reconstructions, and the share of what varies that these hold.

    Varies: from the mean of the training rows, or from 0 without subtract_mean.

    A row less the mean is y, its projection p = y V, its reconstruction mean + p V'. Then |y - p V'|^2 is
    |y|^2 - 2 |p|^2 + p V'V p', where V'V is 1 but for the rounding of V.
    """
    V = model.v.astype(np.float64)
    gram, mean = V.T @ V, model.mean[0].astype(np.float64)
    buffer = np.empty((SCORED_ROWS, model.width))
    totals = np.zeros(3)  # rows, squared distances to the reconstructions, to the mean
    for batch in batches:
        for y in centred(batch.features, mean, buffer):
            totals += len(y), *errors(y, V, gram)
    n, lost, all_ = job.cluster.all_reduce(totals).tolist()
    return {"reconstruction_error": lost / max(n, 1), "captured_variance": 1 - lost / all_ if all_ > 0 else 1.0}


def errors(y: NDArray[np.float64], V: NDArray[np.float64], gram: NDArray[np.float64]) -> tuple[float, float]:
    """Sums over the rows of y (n, d): of what V (d, k) does not hold of |y|^2, and of |y|^2; gram is V'V."""
    p = y @ V
    squares = float(np.vdot(y, y))
    return max(0.0, squares - 2 * float(np.vdot(p, p)) + float(np.vdot(p @ gram, p))), squares
