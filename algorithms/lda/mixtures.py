"""Topic mixtures of documents: for each the one that maximises the likelihood of its words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.lda._mixtures import maximise
from formats.batch import Dense

TOLERANCE = 1e-6


def mixtures(
    corpus: sparse.csr_array, beta: Dense, threads: int, tolerance: float = TOLERANCE, prior: Dense | None = None
) -> Dense:
    """(n, k) float32: for each document the theta on the simplex that maximises sum_w c_w log(theta beta_w).

    corpus: (n, V) counts >= 0
    beta:   (k, V) float32 probabilities of the words in each topic; in Fortran order it is not copied
    prior:  (k,) the mixture of documents without words, the uniform one if it is None
    A word that no topic has says nothing of the mixture and is left out. Exact zeros are usual. See `certified`.
    """
    return certified(corpus, beta, threads, tolerance, prior)[0]


def certified(
    corpus: sparse.csr_array, beta: Dense, threads: int, tolerance: float = TOLERANCE, prior: Dense | None = None
) -> tuple[Dense, NDArray[np.float64]]:
    """The mixtures, and how far each one's log likelihood a word is from the optimum at most, at most `tolerance`.

    That is max_k g_k - 1, g_k = (1/N) sum_w c_w beta_kw / (theta beta_w): by the concavity of the logarithm no other
    mixture has a log likelihood a word that is greater by more than log(max_k g_k). It is 0 for a document without
    words. The same bits for any number of threads, and whatever the other documents are.
    """
    n, k = corpus.shape[0], len(beta)
    uniform = np.full(k, 1 / k, np.float32)
    answers, gaps = np.empty((n, k), np.float32), np.empty(n)
    maximise(
        np.asarray(corpus.indptr, np.int64),
        np.asarray(corpus.indices, np.int32),
        corpus.data,
        np.ascontiguousarray(beta.T),
        uniform if prior is None else prior,
        tolerance,
        threads,
        answers,
        gaps,
    )
    return answers, gaps
