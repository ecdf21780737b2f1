"""Training: one pass for a uniform sample, of which the trees are grown."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.machine import cpu_count, free_memory
from algorithms.random_cut_forest.forest import Forest, grow
from algorithms.random_cut_forest.hyperparameters import WIDEST, RandomCutForestHyperparameters
from algorithms.random_cut_forest.metrics import evaluated
from algorithms.random_cut_forest.model import RandomCutForestModel, TrainingScores
from algorithms.random_cut_forest.sampling import (
    Reservoir,
    gathered,
    memory_of,
    partition,
    require_room,
)
from algorithms.report import Counters, log
from algorithms.reservoir import random_bits
from formats import Batch, Expected, FormatError
from formats.batch import Dense

SCORED_ROWS = 10_000  # of the sample, from which the training scores are known
WITHOUT_LABELS = "the rows have no labels; please give every row one, 1 for an anomaly and 0 else, in CSV first"


def fit(job: Job, hyperparameters: RandomCutForestHyperparameters) -> RandomCutForestModel:
    """Trains on the channel `train`. Raises UserError for data that cannot be read, or are too few."""
    h, cluster, report = hyperparameters, job.cluster, job.report
    log.info("Verifying hyperparamemters...")  # as the hosted service spells it
    log.info("Hyperparameters are correct.")
    started = time.perf_counter()
    with report.timed("update.time"):
        reservoir = sampled(job, h)
    report.throughput(reservoir.seen, time.perf_counter() - started)
    stopped = cluster.total(job.stopped()) > 0
    if not stopped:
        report.progress(1, 1)
    log.info("Early stop condition met. Stopping training.")
    with report.timed("finalize.time"):
        log.info("Master node: building Random Cut Forest...")
        log.info("Gathering samples...")
        rows = gathered(cluster, reservoir, h.num_trees * h.num_samples_per_tree, h.seed)
        log.info("%d samples gathered", len(rows))
        if len(rows) == 0 and not stopped:
            raise job.channels["train"].without_data()
        if len(rows) < h.num_trees and stopped:
            raise NothingLearned
        points = partition(rows, h.num_trees, h.num_samples_per_tree, h.seed, share_rows=h.share_rows)
        log.info("Building Random Cut Forest...")
        # on all hosts, which score their parts of the channel `test`: the same trees, of the same rows and seed
        forest = grow(points, h.seed, cpu_count())
        describe(forest)
        model = RandomCutForestModel(forest, training_scores(forest, rows))
    if cluster.is_leader:
        log.info("Master node: Serializing the RandomCutForest model")
    return model


def sampled(job: Job, h: RandomCutForestHyperparameters) -> Reservoir:
    """The sample of this host's rows.

    A channel that all hosts read is sampled by the first one alone, so that the forest is that of one host.
    """
    train, cluster = job.channels["train"], job.cluster
    mine = cluster.is_leader or not train.config.replicated
    width = None if h.feature_dim == "auto" else h.feature_dim
    # without feature_dim nothing tells whether a CSV file has labels: then it has, as the guide says of all CSV files
    expected = Expected(width, label_columns=1 if width is None else None)
    reservoir: Reservoir | None = None
    steps = 0

    def new_reservoir(d: int) -> Reservoir:
        return Reservoir(h.num_trees * h.num_samples_per_tree, d, random_bits(h.seed, 1, cluster.rank))

    with train.epoch(block_rows(width), expected, SameWidth(width)) as source:
        for batch in cluster.together(source, job.stopped):
            if reservoir is None:
                announce(h, batch)
                reservoir = new_reservoir(batch.width)
            if mine:
                growing = len(reservoir) < h.num_samples_per_tree
                reservoir.add(batch.features)
                steps += 1
                if h.share_rows and growing:  # the trees are of this size at least: better known now than at the end
                    least = h.num_trees * min(h.num_samples_per_tree, len(reservoir))
                    require_room(least, batch.width, held=least)
    log.info("Sampling training data completed.")
    d = agreed_width(job, 0 if reservoir is None else reservoir.width)
    reservoir = reservoir or new_reservoir(d)
    job.report.metrics(Counters().epoch(reservoir.seen, steps), Meta="training_data_iter", epoch=0)
    return reservoir


def block_rows(d: int | None) -> int:
    """Rows that are read at once: the model does not depend on them. A slow FIFO is not waited for too long."""
    return max(256, min(4096, 2**22 // (d or 2**12)))


class SameWidth:
    """The check that rows of all files have the width of the first ones, or `width` if it is known."""

    def __init__(self, width: int | None) -> None:
        self.width = width

    def __call__(self, batch: Batch, first_row: int) -> None:
        """Raises FormatError."""
        self.width = self.width or batch.width
        if batch.width > WIDEST:
            raise FormatError(f"expected at most {WIDEST} features, found {batch.width}", row=first_row)
        if batch.width != self.width:
            problem = f"expected {self.width} features, found {batch.width}; give all files the same number"
            raise FormatError(problem, row=first_row)


def announce(h: RandomCutForestHyperparameters, first: Batch) -> None:
    """What the hosted service logs before it samples, its estimates included.

    Only a sample that has grown too large is refused: there may be fewer rows than are asked for.
    """
    log.info("Validating that feature_dim agrees with dimensions in training data...")
    log.info("feature_dim is correct.")
    if h.feature_dim == "auto":
        labels = ", without the label before them, which is passed over" if first.labels is not None else ""
        log.info("%d feature(s) found in 'data'%s.", first.width, labels)
    log.info("Validating memory limits...")
    wanted = h.num_trees * h.num_samples_per_tree
    log.info("Available memory in bytes: %.0f", free_memory())
    log.info("Estimated sample size in bytes: %d", 16 * wanted * first.width)
    log.info("Estimated memory needed to build the forest in bytes: %d", 40 * wanted * first.width)
    if (needed := memory_of(wanted, first.width)) <= free_memory():
        log.info("Memory limits validated.")
    else:
        log.warning("There is not enough memory for a forest of all %d rows, %d bytes.", wanted, needed)
    log.info("Initializing Sampler...")
    log.info("Sampler correctly initialized.")
    log.info("Sampling training data...")


def agreed_width(job: Job, width: int) -> int:
    """The number of features of all hosts' rows. Raises UserError if they differ, or if there is not a row."""
    widths = {each for each in job.cluster.numbers(width).tolist() if each}
    if len(widths) > 1:
        raise UserError(
            f"the hosts must read rows of the same number of features in channel 'train', got {sorted(widths)}"
        )
    if not widths:
        raise NothingLearned if job.cluster.total(job.stopped()) else job.channels["train"].without_data()
    return int(widths.pop())


def describe(forest: Forest) -> None:
    """The hosted service's line on the trees. Warns of a forest that tells nothing apart."""
    trees, n, d = forest.points.shape
    nodes, depths = forest.num_nodes, forest.depths
    log.info("Random Cut Forest built:")
    log.info(
        "ForestInfo{num_trees: %d, num_samples_in_forest: %d, num_samples_per_tree: %d, sample_dim: %d, "
        "shingle_size: 1, trees_num_nodes: %s, trees_depth: %s, max_num_nodes: %d, min_num_nodes: %d, "
        "avg_num_nodes: %.6g, max_tree_depth: %d, min_tree_depth: %d, avg_tree_depth: %.6g, mem_size: %d}",
        *(trees, trees * n, n, d, nodes.tolist(), depths.tolist()),
        *(nodes.max(), nodes.min(), nodes.mean(), depths.max(), depths.min(), depths.mean()),
        forest.num_bytes,
    )
    if n == 1:
        log.warning("Each tree has a single row, so that all scores are 0: please provide more data.")
    elif nodes.max() == 1:
        log.warning("The rows of each tree are all equal: there is nothing to tell anomalies from.")


def training_scores(forest: Forest, rows: Dense) -> TrainingScores:
    """Of the sampled rows, or of as many of them as suffice, evenly from the first to the last."""
    if len(rows) > SCORED_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, SCORED_ROWS).astype(np.int64)]
    return TrainingScores.of(forest.scores(np.ascontiguousarray(rows), cpu_count()))


def evaluate(
    job: Job, hyperparameters: RandomCutForestHyperparameters, model: RandomCutForestModel, batches: Iterator[Batch]
) -> dict[str, float]:
    """The metrics of scores beyond three standard deviations from the mean, beside labels of 1 and 0."""
    scores, labels, rows = [np.empty(0, np.float32)], [np.empty(0, np.bool_)], 1
    for batch in batches:
        if batch.labels is None:
            raise UserError(f"channel 'test': row {rows}: {WITHOUT_LABELS}")
        anomaly = batch.labels == 1
        wrong = np.flatnonzero(~anomaly & (batch.labels != 0))
        if wrong.size:
            raise UserError(
                f"channel 'test': row {rows + int(wrong[0])}: the label must be 1 for an anomaly or 0 for a normal "
                f"row, got {batch.labels[wrong[0]]:g}. Please mend the labels; in CSV they are the first column."
            )
        scores.append(model.scores(batch, cpu_count()))
        labels.append(anomaly)
        rows += len(batch)
    return evaluated(np.concatenate(scores), np.concatenate(labels), hyperparameters.eval_metrics, job.cluster)
