"""Training: one pass for a uniform sample, and an index of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from algorithms.device import CPU, Device
from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.knn.hyperparameters import CODES, KNNHyperparameters, target_sentence
from algorithms.knn.index import build
from algorithms.knn.model import KNNModel, prepared
from algorithms.knn.on_device import placed
from algorithms.knn.projection import Projection
from algorithms.knn.sample import REMEDY, Reservoir, gathered, require_memory
from algorithms.knn.search import search
from algorithms.machine import free_memory
from algorithms.report import Counters, log
from algorithms.reservoir import random_bits
from formats import Batch, Expected, FormatError

LARGEST_CLASS = 2**24  # from which float32 does not tell whole numbers apart
WITHOUT_LABELS = "the rows have no labels; please give every row one, in CSV as its first column."


def fit(job: Job, hyperparameters: KNNHyperparameters, device: Device = CPU) -> KNNModel:
    """Trains on the channel `train`. Raises UserError for data that cannot be read, or are too few.

    device: what the model, scored on the channel `test`, searches with
    """
    h, cluster, report = hyperparameters, job.cluster, job.report
    log.info(
        "Using per-worker sample size = %d (Available virtual memory = %.0f bytes, GPU free memory = %.0f bytes, "
        "number of workers = %d). If an out-of-memory error occurs, %s",
        *(h.sample_size, free_memory(), device.free_memory() if device.gpus else 0, cluster.size, REMEDY),
    )
    started = time.perf_counter()
    with report.timed("update.time"):
        reservoir, found = sampled(job, h)
    log.info("processed a total of %d examples", reservoir.seen)
    report.throughput(reservoir.seen, time.perf_counter() - started)
    stopped = cluster.total(job.stopped()) > 0
    if not stopped:
        report.progress(1, 1)
    with report.timed("finalize.time"):
        width = _agreed(job, found, stopped)
        rows, labels, parts = gathered(cluster, reservoir, h.sample_size, h.seed)
        _require_rows(h, len(rows), stopped)
        for rank, part in enumerate(parts.tolist(), 1):
            log.info("Getting reservoir sample from algo-%d...", rank)
            shown = (rank, part, rows.shape[1], part)
            log.info("...Got reservoir sample from algo-%d: data=(%d, %d), labels=(%d,), NaNs=0", *shown)
        del reservoir  # its rows would be held twice
        projection, normalize = projection_of(h, width), h.index_metric == "COSINE"
        padded = multiple(h, rows.shape[1])
        if normalize or padded > rows.shape[1]:
            require_memory(4 * len(rows) * padded)  # of a copy
        rows = prepared(rows, None, normalize, padded)
        index = placed(search(build(rows, h)), device)
        return KNNModel(index, labels, h.k, h.predictor_type, width, projection, normalize, h.ties)


def sampled(job: Job, h: KNNHyperparameters) -> tuple[Reservoir, int]:
    """The sample of this host's rows, and their number of features, 0 where it has no rows.

    Of a channel that all hosts read each one takes the rows whose number is its rank modulo the number of hosts.
    """
    train, rank, hosts = job.channels["train"], job.cluster.rank, job.cluster.size
    width = None if h.feature_dim == "auto" else h.feature_dim
    projection: Projection | None = None
    batches = number = 0

    def check(batch: Batch, first_row: int) -> None:
        """All files have the width of the first one, and labels."""
        nonlocal width
        width = width or batch.width
        if batch.width != width:
            problem = f"expected {width} features, found {batch.width}; give all files the same number"
            raise FormatError(problem, row=first_row)
        if batch.labels is None:
            raise FormatError(WITHOUT_LABELS, row=first_row)
        large = np.flatnonzero(np.abs(batch.labels) >= LARGEST_CLASS)
        if h.predictor_type == "classifier" and large.size:
            problem = f"a class must be between -{LARGEST_CLASS - 1} and {LARGEST_CLASS - 1}, got about "
            problem += f"{batch.labels[large[0]]:.0f}: greater float32 labels run together; please number the classes"
            raise FormatError(problem, row=first_row + int(large[0]))

    reduce = None if h.projection is None else lambda X: prepared(X, projection, normalize=False)
    reservoir = Reservoir(h.sample_size, random_bits(h.seed, 1, rank), reduce)
    with train.epoch(h.mini_batch_size, Expected(width, label_columns=1), check) as source:
        for batch in job.cluster.together(source, job.stopped):
            if batches == 0:
                log.info("%d feature(s) found in 'data'.", batch.width)
                projection = projection_of(h, batch.width)
            mine = batch.take(slice((rank - number) % hosts, None, hosts)) if train.config.replicated else batch
            assert mine.labels is not None  # noqa: S101 - checked above
            reservoir.add(mine.features, mine.labels)
            batches += 1
            number += len(batch)
    job.report.metrics(Counters().epoch(reservoir.seen, batches), Meta="training_data_iter", epoch=0)
    return reservoir, batch.width if batches else 0


def projection_of(h: KNNHyperparameters, width: int) -> Projection | None:
    """The dimension reduction of rows of `width` features. Raises UserError for a target that reduces nothing.

    The target is raised to a multiple of the product quantizer's parts, as the guide says, if the rows have as many
    features; else the projected rows are padded with zeros.
    """
    if h.projection is None or h.dimension_reduction_target is None:
        return None
    if h.dimension_reduction_target >= width:
        raise UserError(target_sentence(h.dimension_reduction_target, width))
    raised = multiple(h, h.dimension_reduction_target)
    if raised > h.dimension_reduction_target:
        log.info("'dimension_reduction_target' is raised to %d, a multiple of 'faiss_index_pq_m'.", raised)
    return Projection(h.projection, h.seed, width, raised if raised <= width else h.dimension_reduction_target)


def multiple(h: KNNHyperparameters, width: int) -> int:
    """The least number of features, not below `width`, that the index can have."""
    return -(-width // h.faiss_index_pq_m) * h.faiss_index_pq_m if h.index_type == "faiss.IVFPQ" else width


def _agreed(job: Job, width: int, stopped: bool) -> int:
    """The number of features of all hosts' rows. Raises UserError if they differ, or if there is not a row."""
    widths = {each for each in job.cluster.numbers(width).tolist() if each}
    if len(widths) > 1:
        raise UserError(
            f"the hosts must read rows of the same number of features in channel 'train', got {sorted(widths)}"
        )
    if not widths:
        raise NothingLearned if stopped else job.channels["train"].without_data()
    return int(widths.pop())


def _require_rows(h: KNNHyperparameters, m: int, stopped: bool) -> None:
    """Raises UserError for fewer sampled rows than neighbours, or NothingLearned for too few in a stopped job."""
    lists = 1 if h.index_type == "faiss.Flat" or h.faiss_index_ivf_nlists == "auto" else h.faiss_index_ivf_nlists
    if stopped and m < max(h.k, lists, CODES if h.index_type == "faiss.IVFPQ" else 1):
        raise NothingLearned
    if m < h.k:
        raise UserError(
            f"hyperparameter 'k' must be at most the number of rows in channel 'train', got {h.k} for {m} rows. "
            "Please lower k or provide more data."
        )


def evaluate(
    job: Job, hyperparameters: KNNHyperparameters, model: KNNModel, batches: Iterator[Batch]
) -> dict[str, float]:
    """The share of rows whose label is predicted, or the mean squared difference between predicted and true labels."""
    n, total = 0, 0.0
    for batch in batches:
        if batch.labels is None:
            raise UserError(f"channel 'test': {WITHOUT_LABELS}")
        predicted = model.predict(batch)["predicted_label"].astype(np.float64)
        n += len(batch)
        if hyperparameters.predictor_type == "classifier":
            total += float((predicted == batch.labels).sum())
        else:
            total += float(((predicted - batch.labels) ** 2).sum())
    n_all, total_all = job.cluster.all_reduce(np.array([n, total], np.float64)).tolist()
    name = "accuracy" if hyperparameters.predictor_type == "classifier" else "mse"
    return {name: total_all / max(n_all, 1)}
