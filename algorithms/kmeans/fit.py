"""Training: mini-batches move K centers, Lloyd's method reduces them to k."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.algorithm import Metric
from algorithms.device import CPU, Device, dense_only, roomy
from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.kmeans.hyperparameters import KMeansHyperparameters
from algorithms.kmeans.initialise import plus_plus_rows, uniform_rows
from algorithms.kmeans.lloyd import Lloyd
from algorithms.kmeans.model import KMeansModel
from algorithms.kmeans.nearest import TOO_LARGE, distances, nearest
from algorithms.kmeans.on_device import REPORTED_ROWS, Centers, step_bytes
from algorithms.report import Counters, log
from formats import Batch, Expected
from formats.batch import Dense, concatenate

TRAIN_MSD = Metric("train", "msd", "minimize")
REPORT_EVERY = 10  # batches between two lines on the mean squared distance


@dataclass(slots=True)
class State:
    """The centers as sums, so that hosts merge by adding.

    sums: (K, d) float64, the (decayed) sum of the rows each center has seen; counts: (K,) float64, their number
    centers: (K, d) float32, sums / counts where a center has seen a row, where it began otherwise
    device: whose arrays these are
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    centers: Dense
    device: Device = CPU

    @classmethod
    def starting_at(cls, centers: Dense, device: Device = CPU) -> State:
        """Centers that have seen no row yet: the first rows that come near replace them."""
        xp = device.xp
        return cls(xp.zeros(centers.shape), xp.zeros(len(centers)), device.put(centers), device)

    def add(self, sums: NDArray[np.float64], counts: NDArray[np.float64], decay: float) -> None:
        """Moves the centers by a mini-batch: guide, step 2 d, with the weight of earlier rows times `decay`."""
        self.sums = decay * self.sums + sums
        self.counts = decay * self.counts + counts
        if self.device.gpus:
            where, counts = self.device.xp.where, self.counts[:, None]
            moved = self.sums / where(counts > 0, counts, 1)  # not for some: their number would have to be waited for
            self.centers = where(counts > 0, moved, self.centers).astype(np.float32)
            return
        seen = self.counts > 0
        self.centers[seen] = self.sums[seen] / self.counts[seen, None]

    def fetched(self) -> State:
        """The same on the host."""
        get = self.device.get
        return State(get(self.sums), get(self.counts), get(self.centers))


def fit(job: Job, hyperparameters: KMeansHyperparameters, device: Device = CPU) -> KMeansModel:
    """Trains on the channel `train`. Raises UserError for data that cannot be read, or fewer rows than `k`."""
    train, report = job.channels["train"], job.report
    random = np.random.default_rng(hyperparameters.seed)
    expected = Expected(hyperparameters.feature_dim, label_columns=None)
    counters, started, records = Counters(), time.perf_counter(), 0
    state: State | None = None
    again = job.paths if hyperparameters.epochs > 1 else None
    for epoch in range(hyperparameters.epochs):
        with train.epoch(hyperparameters.mini_batch_size, expected, again=again) as batches:
            if state is None:
                with report.timed("initialize.time"):
                    state, first = initialise(job, hyperparameters, batches, random, device)
                batches = chain(first, batches)  # kept, not read again: a FIFO has no rewind
                report.metrics(counters.epoch(sum(map(len, first)), len(first)), Meta="init_train_data_iter")
            with report.timed("update.time"):
                seen = run_epoch(job, hyperparameters, state, batches)
        records += seen[0]
        log.info("processed a total of %d examples", seen[0])
        report.metrics(counters.epoch(*seen), Meta="training_data_iter", epoch=epoch)
        if job.cluster.total(job.stopped()):
            break
        report.progress(epoch + 1, hyperparameters.epochs)
    report.throughput(records, time.perf_counter() - started)
    if state is None or not state.counts.any():
        raise NothingLearned
    with report.timed("finalize.time"):
        return KMeansModel(shrink(job, hyperparameters, state.fetched(), random), state.device)


def initialise(
    job: Job,
    hyperparameters: KMeansHyperparameters,
    batches: Iterator[Batch],
    random: np.random.Generator,
    device: Device = CPU,
) -> tuple[State, list[Batch]]:
    """The initial centers, and the batches that were read to choose them: at least K rows, if there are as many."""
    K = hyperparameters.k * extra_center_factor(hyperparameters)
    log.info("number of center slices 1")
    first: list[Batch] = []
    while sum(map(len, first)) < K and (batch := next(batches, None)) is not None:
        first.append(batch)
    rows = concatenate(first) if first else Batch.empty(hyperparameters.feature_dim)
    if first and len(first[0]) < hyperparameters.mini_batch_size:
        log.warning(
            "Batch size %d is bigger than the first batch data. Effective batch size used to initialize is %d",
            hyperparameters.mini_batch_size,
            len(rows),
        )
    total = job.cluster.total(len(rows))
    if job.cluster.total(job.stopped()) and total < K:
        raise NothingLearned
    if total == 0:
        raise job.channels["train"].without_data()
    if total < hyperparameters.k:
        raise UserError(
            f"hyperparameter 'k' must be at most the number of rows in channel 'train', got {hyperparameters.k} "
            f"for {total} rows. Please lower k or provide more data."
        )
    if total < K:
        log.warning("%d centers were asked for, but there are only %d rows: each of them becomes a center", K, total)
        K = total
    choose = plus_plus_rows if hyperparameters.init_method == "kmeans++" else uniform_rows
    needed = step_bytes(hyperparameters.feature_dim, K, hyperparameters.mini_batch_size)
    device = roomy(dense_only(device, rows), needed, f"A step with {K} centers")
    return State.starting_at(choose(job.cluster, rows.features, K, random), device), first


def extra_center_factor(hyperparameters: KMeansHyperparameters) -> int:
    """`auto` is 10, as observed, less for large k: down to 4, the least the guide recommends, while K exceeds 1,000."""
    if hyperparameters.extra_center_factor != "auto":
        return hyperparameters.extra_center_factor
    factor = max(4, min(10, 1000 // hyperparameters.k))
    log.info("'extra_center_factor' was set to 'auto', evaluated to %d.", factor)
    return factor


def run_epoch(
    job: Job, hyperparameters: KMeansHyperparameters, state: State, batches: Iterator[Batch]
) -> tuple[int, int]:
    """One pass: moves the centers batch by batch, the same on every host. Returns this host's rows and batches."""
    rows = mine = steps = 0
    device = state.device
    recent: list[tuple[Any, float]] = []  # of each step, over all hosts: sum of squared distances, rows
    all_ = np.zeros(2)
    for batch in device.ahead(job.cluster.in_step(batches, hyperparameters.feature_dim, job.stopped)):
        add = Centers(device.xp, state.centers).summarise if device.gpus else partial(summarise, centers=state.centers)
        share, n = _of_all_hosts(job, device, add(batch.features), len(batch))
        sums, counts, squared = share[:-1, :-1], share[:-1, -1], share[-1, -1]
        half_life = hyperparameters.half_life_time_size
        state.add(sums, counts, 0.5 ** (n / half_life) if half_life else 1.0)
        rows, mine, steps = rows + len(batch), mine + (len(batch) > 0), steps + 1
        recent.append((squared, n))
        if len(recent) == REPORT_EVERY:
            of_these = _added(device, recent)
            all_ += of_these
            recent.clear()
            short, long = of_these[0] / of_these[1], all_[0] / all_[1]
            log.info("Iter %d: Short term msd %f. Long term msd %f", steps, short, long)
    if recent:
        _added(device, recent)
    return rows, mine


def _of_all_hosts(job: Job, device: Device, share: Any, rows: int) -> tuple[Any, float]:
    """The sum of the hosts' shares, and of their rows. One host knows these, and need not wait for a GPU to count."""
    if job.cluster.size == 1:
        return share, float(rows)
    total = job.cluster.all_reduce(device.get(share))
    return device.put(total), float(total[:-1, -1].sum())


def _added(device: Device, steps: list[tuple[Any, float]]) -> NDArray[np.float64]:
    """The squared distances and the rows of some steps, (2,). Raises UserError where a GPU met values too large."""
    squared = device.get(device.xp.stack([squared for squared, _ in steps]))
    if not np.isfinite(squared).all():
        raise UserError(TOO_LARGE)
    return np.array([squared.sum(), sum(rows for _, rows in steps)])


def summarise(X: Dense | sparse.csr_array, centers: Dense) -> NDArray[np.float64]:
    """What a mini-batch adds, (K + 1, d + 1).

    A row for each center: the sum of the rows nearest to it, and their number. In the last cell: the sum of the squared
    distances, estimated from a few rows, because it is for the log only and costs as much as all the rest.
    """
    (n, d), K = X.shape, len(centers)
    labels = nearest(X, centers)
    member = sparse.csr_array((np.ones(n, np.float32), labels, np.arange(n + 1)), shape=(n, K))
    share = np.zeros((K + 1, d + 1))
    sums = member.T @ X
    share[:-1, :-1] = sums if isinstance(sums, np.ndarray) else sums.toarray()
    share[:-1, -1] = np.bincount(labels, minlength=K)
    if not np.isfinite(share).all():
        raise UserError(TOO_LARGE)
    some = slice(None, None, max(1, n // REPORTED_ROWS))
    share[-1, -1] = distances(X[some], centers, labels[some]).sum() * (n / max(1, len(labels[some])))
    return share


def shrink(job: Job, hyperparameters: KMeansHyperparameters, state: State, random: np.random.Generator) -> Dense:
    """The k final centers (k, d): the best of several runs of Lloyd's method on the K centers, weighted by counts."""
    K, k = len(state.counts), hyperparameters.k
    log.info("shrinking %d centers into %d", K, k)
    lloyd = Lloyd(
        plus_plus=hyperparameters.local_lloyd_init_method == "kmeans++",
        max_iterations=hyperparameters.local_lloyd_max_iter,
        tolerance=hyperparameters.local_lloyd_tol,
    )
    points = state.centers.astype(np.float64)
    best, best_msd = points[:k], np.inf
    trials = hyperparameters.local_lloyd_num_trials
    for attempt in range(10 if trials == "auto" else trials):  # auto: 10 attempts were observed
        centers, msd = lloyd.reduce(points, state.counts, k, random)
        log.info("local kmeans attempt #%d. Current mean square distance %f", attempt, msd)
        if msd < best_msd:
            best, best_msd = centers, msd
        if job.stopped():
            break
    log.info("finished shrinking process. Mean Square Distance = %.0f", best_msd)
    job.report.quality(TRAIN_MSD, best_msd)
    return job.cluster.broadcast(best.astype(np.float32))


def evaluate(
    job: Job, hyperparameters: KMeansHyperparameters, model: KMeansModel, batches: Iterator[Batch]
) -> dict[str, float]:
    """msd and ssd, if asked for: mean and sum of the squared distances of the rows to their nearest centers."""
    n, ssd = 0, 0.0
    for batch in batches:
        if model.device.gpus and not batch.is_sparse:
            squared = model.device.get(model.on_device.nearest(model.device.put(batch.features))[1])
            if not np.isfinite(squared).all():
                raise UserError(TOO_LARGE)
        else:
            squared = distances(batch.features, model.centers, nearest(batch.features, model.centers))
        ssd += float(squared.sum())
        n += len(batch)
    n_all, ssd_all = job.cluster.all_reduce(np.array([n, ssd], np.float64)).tolist()
    values = {"msd": ssd_all / max(n_all, 1), "ssd": ssd_all}
    return {name: values[name] for name in hyperparameters.eval_metrics}
