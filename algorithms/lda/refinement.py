"""Passes of expectation maximisation that start from the spectral topics: most of them stochastic, the last ones exact.

Moments see three words of a document at a time, the likelihood sees them all. Exact passes alone raise it, but keep
what the spectral topics of real text get wrong; draws leave that behind, for one optimum or another: a few passes tell
which draws have found a good one, so that several chains begin and the likeliest goes on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.lda import _refinement
from algorithms.lda.sampling import Parts, Sampler
from algorithms.report import log
from formats.batch import Dense

Matrix = NDArray[np.float64]
EXACT = 10  # last passes
ROUNDS = 5  # steps of a document's mixture in a pass
MEAN = 0.01  # share of all documents' words that a topic starts with, so that none is ruled out
LONGEST = 2.0**17  # words of a document: single precision holds what is counted of so many
DRAWN = 2.0**12  # the same of draws, which stay where they are in documents of more
CHAINS, TRIAL = 6, 30  # that begin, at most, and the passes that each has until they are compared
TRIED = 0.5  # share of the stochastic passes that comparing may take
SYMMETRIC = 0.5  # the prior that each topic starts with: the spectral one is far too uneven on real text


def refine(
    corpus: sparse.csr_array,
    beta: Matrix,
    passes: int,
    seed: int,
    threads: int,
    stopped: Callable[[], bool],
) -> tuple[NDArray[np.float64], Matrix]:
    """Shares (k,) of the topics in the documents, and beta (k, V), after `passes` > 0 passes over the corpus (n, V).

    The passes of all chains count. All words of the corpus occur. A stop ends the passes early. A document of more than
    LONGEST words says no more than one of as many in the same shares.
    """
    corpus = shortened(corpus, LONGEST)
    k, V = beta.shape
    n, K = corpus.shape[0], -(-k // 8) * 8
    mean = np.bincount(corpus.indices, corpus.data, V)
    topics, prior, theta = np.zeros((V, K), np.float32), np.zeros(K, np.float32), np.zeros((n, K), np.float32)
    topics[:, :k] = (1 - MEAN) * beta.T + MEAN * (mean / mean.sum())[:, None]
    prior[:k], theta[:, :k] = SYMMETRIC, 1 / k
    columns, done = parts(corpus.tocsc()), 0
    if passes > EXACT and not stopped():
        drawn = shortened(corpus, DRAWN)
        start = Sampler(parts(drawn), topics, prior, k, seed, threads)
        sampler, done = likeliest(start, columns if drawn is corpus else parts(drawn.tocsc()), passes - EXACT, stopped)
        while done < passes - EXACT and not stopped():
            sampler.sweep()
            done += 1
        log.info("%d stochastic EM pass(es), mixtures' prior %s", done, np.round(sampler.alpha[:k], 4).tolist())
        topics, prior, theta = sampler.topics, sampler.alpha, sampler.mixtures()
    exact(parts(corpus), columns, topics, prior, theta, range(done, passes), threads, stopped)
    return theta[:, :k].mean(axis=0, dtype=np.float64), topics[:, :k].T.astype(np.float64)


def likeliest(start: Sampler, columns: Parts, passes: int, stopped: Callable[[], bool]) -> tuple[Sampler, int]:
    """The chain to go on with, of as many as begin where `start` is and fit in `passes`, and the passes of them all.

    columns: the chains' corpus as CSC, of which the log likelihood is compared.
    """
    chains, done = min(CHAINS, int(TRIED * passes) // TRIAL), 0
    if chains < 2:
        return start, 0
    best, most = start, -np.inf
    for chain in range(chains):
        sampler = start.again(chain)
        for _ in range(TRIAL):
            if stopped():
                break
            sampler.sweep()
            done += 1
        found = sampler.likelihood(columns)
        log.info("Chain %d/%d: log likelihood of a word %.6f", chain + 1, chains, found)
        if found > most:
            best, most = sampler, found
        if stopped():
            break
        del sampler  # unless it is the best one, before the next takes its memory
    return best, done


def shortened(corpus: sparse.csr_array, longest: float) -> sparse.csr_array:
    """The corpus, in which documents of more than `longest` words have as many; itself if there are none."""
    lengths = corpus @ np.ones(corpus.shape[1])  # in double precision, which a sum over rows is not
    if not (lengths > longest).any():
        return corpus
    scale = longest / np.maximum(lengths, longest)
    counts = corpus.data * np.repeat(scale, np.diff(corpus.indptr))
    return sparse.csr_array((counts.astype(np.float32), corpus.indices, corpus.indptr), shape=corpus.shape)


def exact(
    rows: Parts,
    columns: Parts,
    topics: Dense,
    prior: Dense,
    theta: Dense,
    steps: range,
    threads: int,
    stopped: Callable[[], bool],
) -> None:
    """Exact passes on topics (V, K) and mixtures theta (n, K), in place, with the mixtures' prior (K,) as it is.

    rows, columns: the corpus (n, V) as CSR and as CSC.
    """
    total = float(rows[2].sum(dtype=np.float64))
    scratch = np.empty((threads, topics.shape[1] + 16), np.float32)
    expected, likelihood = np.empty_like(topics), np.empty(len(topics))
    for step in steps:
        if stopped():
            break
        _refinement.infer(*rows, topics, prior, theta, scratch, ROUNDS, threads)
        _refinement.count(*columns, topics, theta, expected, likelihood, threads)
        sums = expected.sum(axis=0, dtype=np.float64)
        np.divide(expected, sums, out=topics, where=sums > 0, casting="same_kind")  # a topic without words stays
        log.info("EM pass %d/%d: log likelihood of a word %.6f", step + 1, steps.stop, likelihood.sum() / total)


def parts(matrix: sparse.csr_array) -> Parts:
    """What a compressed matrix is made of, as the kernels take it."""
    return (
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )
