"""From a corpus to its topics: moments, their decomposition, and the passes that refine it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.errors import UserError
from algorithms.lda.decomposition import Components, decompose
from algorithms.lda.hyperparameters import LDAHyperparameters
from algorithms.lda.moments import EXTRA as EXTRA_COLUMNS
from algorithms.lda.moments import POWERS, Moments, Whitening
from algorithms.lda.refinement import refine
from algorithms.lda.sampling import MOST
from algorithms.machine import free_memory
from algorithms.report import log
from formats.batch import Dense

Matrix = NDArray[np.float64]
EXTRA = 1.25  # topics looked for, in those asked for (guide, "How LDA Works")
LEAST = 1e-6  # of all of alpha0, for a topic


@dataclass(frozen=True, slots=True)
class Topics:
    """alpha: (k,) float32 > 0, the prior of each topic; beta: (k, V) float32, each topic's words, rows sum to 1."""

    alpha: Dense
    beta: Dense


def learn(
    corpus: sparse.csr_array,
    h: LDAHyperparameters,
    random: np.random.Generator,
    threads: int,
    stopped: Callable[[], bool],
) -> Topics:
    """The topics of a corpus (n, V) of counts >= 0.

    Neither the documents' order, nor words that never occur, nor every document being there twice change them but for
    rounding. Once stopped() says so, what has been found so far is returned. Raises UserError for a corpus that has no
    such number of topics, or documents of fewer than three words only.
    """
    k, (n, V) = h.num_topics, corpus.shape
    total = np.bincount(corpus.indices, corpus.data, V)
    seen = np.flatnonzero(total > 0)
    part = corpus[:, seen] if len(seen) < V else corpus
    wanted = math.ceil(EXTRA * k)
    require_memory(
        n, len(seen), wanted, part.nnz, int(np.minimum(np.ceil(part.data), MOST).sum()) if h.em_passes else 0
    )
    log.info("Running LDA for %d topics (%d requested)", wanted, k)
    moments = Moments(part, h.alpha0)
    white = moments.whitening(wanted, random)
    require_rank(len(white.values), moments.triples, k, n, len(seen))
    alpha, beta = spectral(moments, white, h, random, stopped)
    del moments, white  # the passes need the memory
    if h.em_passes and not stopped():
        share, beta = refine(part, beta, h.em_passes, int(random.integers(2**63)), threads, stopped)
        alpha = h.alpha0 * np.maximum(share, LEAST)
    full = np.zeros((k, V))
    full[:, seen] = beta
    return Topics(alpha.astype(np.float32), (full / full.sum(axis=1, keepdims=True)).astype(np.float32))


def require_memory(n: int, V: int, m: int, entries: int, draws: int = 0) -> None:
    """Raises UserError where the moments of n documents of V words, in m dimensions, would not fit, or the draws.

    entries: counts of the corpus, each of which is there twice with its place. draws: of a pass, which three chains
    have, with what they give, where several begin: the one that they begin from, the best one and the last.
    """
    block = min(V, m + EXTRA_COLUMNS)
    basis = min(V + block, (POWERS + 1) * block)  # columns of the whitening's Krylov space
    moments = 8 * (V * (3 * basis + 4 * block) + 2 * basis**2 + 3 * n * block + 5 * m**3 + 5 * entries)
    passes = 8 * 5 * entries + 3 * (2 * draws + 4 * n * m)
    needed, what = max((moments, "moments"), (passes, "draws"))
    free = free_memory()
    if not needed <= free:
        raise UserError(
            f"the {what} of {n} documents of {V} words for {m} topics need {needed / 2**30:.1f} GiB of memory, there "
            f"are {free / 2**30:.1f} GiB. Please lower num_topics, use fewer words, or use a larger instance."
        )


def require_rank(rank: int, documents: int, k: int, n: int, V: int) -> None:
    """Raises UserError unless the second moment has k eigenvalues above 0 and the third is one of documents."""
    if documents == 0:
        raise UserError(
            f"channel 'train' must have documents of at least 3 words, got none among {n}. Please provide counts of "
            f"words, not shares, of longer documents."
        )
    if rank < k:
        raise UserError(
            f"hyperparameter 'num_topics' must be at most the number of topics that the corpus can tell apart, got {k} "
            f"for a second moment of rank {rank} ({n} documents, {V} words that occur). "
            f"Please lower num_topics or provide more diverse documents."
        )


def spectral(
    moments: Moments,
    white: Whitening,
    h: LDAHyperparameters,
    random: np.random.Generator,
    stopped: Callable[[], bool],
) -> tuple[NDArray[np.float64], Matrix]:
    """alpha (k,) and beta (k, V) of k components, or of the best k of the whitening's, whichever explain more of M3."""
    k, m = h.num_topics, len(white.values)
    best = candidate(moments, white.leading(k), h, random, stopped)
    if m > k and not stopped():
        more = candidate(moments, white, h, random, stopped)
        few, many = explained(moments, best[1]), explained(moments, more[1])
        better = many > few
        log.info(
            "%d components explain %.6g of the third moment's square, the best %d of %d explain %.6g: %d are used.",
            *(k, few, k, m, many, m if better else k),
        )
        best = more if better else best
    return best


def candidate(
    moments: Moments,
    white: Whitening,
    h: LDAHyperparameters,
    random: np.random.Generator,
    stopped: Callable[[], bool],
) -> tuple[NDArray[np.float64], Matrix]:
    """alpha (k,) and beta (k, V) from the components with the greatest alpha in the space of a whitening."""
    k, m = h.num_topics, len(white.values)
    found = decompose(
        moments.third(white.whiten),
        m,
        restarts=h.max_restarts,
        iterations=h.max_iterations,
        tolerance=h.tol,
        svd_init=h.allow_svd_init,
        random=random,
        stopped=stopped,
    )
    alpha, beta = unwhitened(found, white, h.alpha0)
    kept = np.sort(np.argsort(-alpha, kind="stable")[:k])
    mean = moments.mean / moments.mean.sum()
    beta = np.maximum(beta[kept], 0)
    sums = beta.sum(axis=1, keepdims=True)
    return alpha[kept], np.where(sums > 0, beta / np.where(sums > 0, sums, 1), mean)


def unwhitened(found: Components, white: Whitening, a0: float) -> tuple[NDArray[np.float64], Matrix]:
    """alpha (m,) and beta (m, V), which may have entries a little below 0.

    Anandkumar et al. 2014, section 4.3: with a_i = alpha_i / (a0 (a0 + 1)) a component's weight is
    2 / (a0 + 2) / sqrt(a_i), its vector sqrt(a_i) W' mu_i. No alpha_i is above a0.
    """
    least = 2 / (a0 + 2) * np.sqrt(a0 + 1)
    root = 2 / (a0 + 2) / np.maximum(found.weights, least)
    alpha = a0 * (a0 + 1) * root**2
    return alpha, (white.unwhiten @ found.vectors).T / root[:, None]


def explained(moments: Moments, beta: Matrix) -> float:
    """What is left of |M3|^2 when the best sum of weights times b b b over the rows of beta (k, V) is taken from it,
    taken from |M3|^2.

    That is r' G^-1 r with r_i = M3(b_i, b_i, b_i) and G_ij = (b_i b_j)^3: no array is larger than beta.
    """
    r, gram = moments.along(beta), (beta @ beta.T) ** 3
    return float(r @ np.linalg.lstsq(gram, r)[0])
