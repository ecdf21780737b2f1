"""Passes of stochastic expectation maximisation, which leave a poor optimum that exact passes would stay in.

Celeux and Diebolt, "The SEM algorithm", Computational Statistics Quarterly 2 (1985): the expected counts are replaced
by drawn ones. The draws within a document are those of collapsed Gibbs sampling (Griffiths and Steyvers, PNAS 101,
2004), with topics that stay as they are during a pass (Newman et al., "Distributed Algorithms for Topic Models", JMLR
10, 2009), and the prior of the mixtures is fitted to them (Wallach, Mimno and McCallum, NeurIPS 2009, show why).
"""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import psi

from algorithms.lda import _refinement, _sampling
from algorithms.machine import free_memory
from formats.batch import Dense

SMOOTHING = 1e-2  # of the topics' words: this share of all counts, evenly divided
OPEN = 0.5  # the prior of each topic in the first pass, in which a document begins with none
FITTED = (3, 5)  # the pass from which the prior is fitted, and every how many
LEAST = 1e-4  # of a topic's prior
TALLIES = 0.25  # of the free memory, at most
MOST = 32  # draws of a word in a document, PIECES in _sampling.pyx
APART = 2**32  # seeds of chains, each of which takes one a pass
BITS = 10.0  # kept of what the draws start from, so that they do not depend on rounding

Parts = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


class Sampler:
    """The draws of all words of a corpus, `rows` its parts as CSR, (n, V).

    topics: (V, K) float32, K >= k a multiple of 8; alpha: (K,) float32, the prior of the mixtures
    given: (n, K) float32, how many words of a document each topic has given
    """

    def __init__(self, rows: Parts, topics: Dense, alpha: Dense, k: int, seed: int, threads: int) -> None:
        n, K = len(rows[0]) - 1, topics.shape[1]
        # each thread has tallies of its own; the draws are the same with fewer threads
        threads = int(max(1, min(threads, TALLIES * free_memory() // (8 * topics.size))))
        self._rows, self._k, self._seed, self._threads, self._step = rows, k, seed, threads, 0
        self._first, self._keys = np.empty(n + 1, np.int64), np.empty(n, np.uint64)
        _sampling.pieces(*rows, self._first, self._keys)
        self._drawings = np.full(self._first[-1], -1, np.int16)
        self._tallies = np.empty((threads, *topics.shape), np.int64)
        self._scratch = np.zeros((threads, 4 * (K + 16)), np.float32)
        self._lengths = np.add.reduceat(np.append(rows[2].astype(np.float64), 0), rows[0][:-1])
        self._lengths[np.diff(rows[0]) == 0] = 0
        self.topics, self.alpha = coarse(topics), coarse(alpha)
        self.given = np.zeros((n, K), np.float32)

    def again(self, number: int) -> Self:
        """A chain that begins where this one is before its first pass, with draws of its own.

        They share what every pass writes anew.
        """
        other = copy(self)
        other._seed = (self._seed + number * APART) % 2**64
        other._drawings, other.given = np.full_like(self._drawings, -1), np.zeros_like(self.given)
        other.topics, other.alpha = self.topics.copy(), self.alpha.copy()
        return other

    def mixtures(self) -> Dense:
        """(n, K) means of the documents' mixtures, given the last draws."""
        theta = self.given + self.alpha
        theta /= theta.sum(axis=1, keepdims=True)
        return theta

    def likelihood(self, columns: Parts) -> float:
        """Mean log likelihood of a word in these mixtures; columns: the corpus as CSC."""
        expected, likelihood = np.empty_like(self.topics), np.empty(len(self.topics))
        _refinement.count(*columns, self.topics, self.mixtures(), expected, likelihood, self._threads)
        return float(likelihood.sum() / columns[2].sum(dtype=np.float64))

    def sweep(self) -> None:
        """One pass: draws, the topics that follow from them, and now and then the prior."""
        k = self._k
        self._tallies[:] = 0
        prior = np.where(self.alpha > 0, np.float32(OPEN), self.alpha) if self._step == 0 else self.alpha
        _sampling.sweep(
            *self._rows,
            self.topics,
            prior,
            self._first,
            self._keys,
            (self._seed + self._step) % 2**64,
            self._drawings,
            self.given,
            self._tallies,
            self._scratch,
            self._threads,
        )
        counts = self._tallies.sum(axis=0)[:, :k].astype(np.float64)
        counts += SMOOTHING * counts.sum() / counts.size
        self.topics[:, :k] = counts / counts.sum(axis=0)
        start, interval = FITTED
        if self._step >= start and self._step % interval == 0:
            self.alpha[:k] = coarse(fitted(self.alpha[:k].astype(np.float64), self.given[:, :k], self._lengths))
        self._step += 1


def fitted(alpha: NDArray[np.float64], given: Dense, lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two fixed-point steps of the Dirichlet prior alpha (k,) towards the counts `given` (n, k) of its draws.

    lengths: (n,). Minka, "Estimating a Dirichlet distribution" (2000), equation 55.
    """
    rows, topics = given.nonzero()  # the others add nothing, and they are most
    some = given[rows, topics]
    for _ in range(2):
        a0 = alpha.sum()
        above = np.bincount(topics, psi(some + alpha[topics]) - psi(alpha)[topics], len(alpha))
        below = (psi(lengths + a0) - psi(a0)).sum()
        alpha = np.maximum(alpha * above / below, LEAST)
    return alpha


def coarse(x: NDArray[np.floating]) -> Dense:
    """x as float32, to BITS binary digits."""
    mantissa, exponent = np.frexp(x)
    rounded: Dense = np.ldexp(np.rint(mantissa * 2**BITS) / 2**BITS, exponent).astype(np.float32)
    return rounded
