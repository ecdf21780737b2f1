"""Training: the channel becomes one sparse matrix in memory, from which the topics are learned."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from scipy import sparse

from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.lda.corpus import Corpus, Counts, documents
from algorithms.lda.hyperparameters import LDAHyperparameters
from algorithms.lda.metrics import PerWordLogLikelihood
from algorithms.lda.model import FILE, LDAModel
from algorithms.lda.topics import learn
from algorithms.machine import cpu_count, free_memory
from algorithms.report import Counters, log
from formats import Batch, Expected, FormatError


def fit(job: Job, hyperparameters: LDAHyperparameters) -> LDAModel:
    """Trains on the channel `train`.

    Raises UserError for data that cannot be read, that memory cannot hold, or that have no such number of topics. A
    stop while documents are read leaves what those read say; NothingLearned if that is nothing.
    """
    started = time.perf_counter()
    with job.report.timed("update.time"):
        corpus = read(job, hyperparameters)
    stopped = job.stopped()
    n = corpus.shape[0]
    if n == 0:
        raise NothingLearned if stopped else job.channels["train"].without_data()
    if not corpus.data.any():
        if stopped:
            raise NothingLearned
        raise UserError(
            f"the {n} document(s) in channel 'train' have no words: all counts are 0. Please look at the data."
        )
    log.info("Loaded all data into matrix with shape: (%d, %d)", *corpus.shape)
    with job.report.timed("finalize.time"):
        try:
            topics = learn(
                corpus, hyperparameters, np.random.default_rng(hyperparameters.seed), cpu_count(), job.stopped
            )
        except UserError:
            if stopped:  # of all documents there might have been enough
                raise NothingLearned from None
            raise
    if not job.stopped():
        job.report.progress(1, 1)
    job.report.throughput(n, time.perf_counter() - started)
    log.info("Serializing LDA model to %s", job.paths.model / FILE)
    return LDAModel(topics.alpha, topics.beta)


def read(job: Job, h: LDAHyperparameters) -> sparse.csr_array:
    """The documents of the channel `train`, (n, V) float32 counts."""
    corpus, check = Corpus(h.feature_dim), Counts()
    with job.channels["train"].epoch(
        block_rows(h.feature_dim), Expected(h.feature_dim, label_columns=None), check
    ) as source:
        for batch in source:
            corpus.add(batch.features)
    counters = Counters().epoch(corpus.rows, corpus.batches)
    job.report.metrics(counters, Meta="training_data_iter", epoch=0)
    log.info(
        "%d document(s) have %d counts that are not 0, in %d bytes of memory; %.0f bytes are left.",
        *(corpus.rows, corpus.entries, corpus.num_bytes, free_memory()),
    )
    if corpus.rows != h.mini_batch_size and not job.stopped():
        log.info(
            "mini_batch_size is %d, and there are %d documents: all of them are used.", h.mini_batch_size, corpus.rows
        )
    if check.fraction is not None:
        log.warning("Counts are not all whole numbers: row %d has %g. They are taken as they are.", *check.fraction)
    return corpus.matrix()


def block_rows(width: int) -> int:
    """Documents that are read at once: the model does not depend on them. A slow FIFO is not waited for too long."""
    return max(256, min(4096, 2**22 // width))


def evaluate(
    job: Job, hyperparameters: LDAHyperparameters, model: LDAModel, batches: Iterator[Batch]
) -> dict[str, float]:
    """`pwll`, see metrics.py. Raises UserError for negative counts."""
    score, check, row = PerWordLogLikelihood(), Counts(), 1
    for batch in batches:
        try:
            check(batch, row)
        except FormatError as error:
            raise UserError(f"channel 'test': {error}") from None
        found = documents(batch.features)
        score.add(found, model.mixtures(found), model.beta)
        row += len(batch)
    if score.unknown:
        share = 100 * score.unknown / (score.words + score.unknown)
        log.warning("%.4g %% of the words in channel 'test' are in none of their documents' topics: left out.", share)
    if row > 1 and not score.words:  # 0 would be the best score that there is
        raise UserError(
            "channel 'test' has no words that the topics of its documents have: there is nothing to score. "
            "Please look at the data."
        )
    return {"pwll": score.value}
