"""A trained LDA model: the prior of the topics, and the words of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from algorithms.errors import UserError
from algorithms.lda.corpus import Counts, documents
from algorithms.lda.mixtures import mixtures
from algorithms.machine import cpu_count
from formats import Batch, Columns, FormatError, ndarray
from formats.batch import Dense

FILE = "model_algo-1"
ALONE = 1 << 17  # numbers that one thread looks at before others are asked to help: about 1 ms
EXACT, ABOUT = 1e-5, 1e-2  # how far from 1 a topic's sum may be as it is, and to be mended


@dataclass(frozen=True)
class LDAModel:
    """The guide's two parameters.

    alpha: (k,) float32 >= 0, of the Dirichlet prior of the mixtures
    beta:  (k, V) float32 >= 0, the probability of each word in each topic; rows sum to 1
    """

    alpha: Dense
    beta: Dense

    @property
    def width(self) -> int:
        """Number of words `V`."""
        return int(self.beta.shape[1])

    @cached_property
    def prior(self) -> Dense:
        """(k,) the prior's mean."""
        exact = self.alpha.astype(np.float64)
        mean: Dense = (exact / exact.sum()).astype(np.float32)
        return mean

    @cached_property
    def _by_word(self) -> Dense:
        """Beta with the topics of a word side by side."""
        return np.asfortranarray(self.beta)

    def mixtures(self, corpus: sparse.csr_array) -> Dense:
        """(n, k) float32: the topic mixtures of documents, the prior's mean for those without a known word."""
        threads = 1 if corpus.nnz * len(self.alpha) < ALONE else cpu_count()
        return mixtures(corpus, self._by_word, threads, prior=self.prior)

    def predict(self, batch: Batch) -> Columns:
        """`topic_mixture` (n, k) float32, rows on the simplex, exact zeros. Raises UserError for negative counts."""
        try:
            Counts()(batch, 1)
        except FormatError as error:
            raise UserError(str(error)) from None
        return {"topic_mixture": self.mixtures(documents(batch.features))}

    def save(self, directory: Path) -> None:
        """Writes `model_algo-1`: an MXNet NDArray list of alpha and beta."""
        ndarray.save(directory / FILE, [self.alpha, self.beta])

    @classmethod
    def load(cls, directory: Path) -> LDAModel:
        """Reads `model_algo-1`: ours, the hosted service's, or one that a user has changed. Raises UserError.

        Topics whose sums are about 1 are scaled to 1: whoever changes them may round.
        """
        path = directory / FILE
        try:
            arrays = ndarray.load(path)
        except FileNotFoundError:
            raise UserError(f"no LDA model in {directory}: '{FILE}' is missing") from None
        except FormatError as error:
            raise UserError(f"{path} is not an LDA model: {error}") from None
        if not isinstance(arrays, list) or len(arrays) != 2:
            raise refusal(path, "it must be a list of two arrays, alpha and beta")
        with np.errstate(over="ignore"):  # float64 beyond float32 is infinite, and refused as such
            alpha, beta = (np.ascontiguousarray(array, np.float32) for array in arrays)
        if beta.ndim != 2 or not beta.size or arrays[0].shape != (len(beta),):
            shapes = f"{arrays[0].shape} and {arrays[1].shape}"
            raise refusal(
                path, f"its arrays must be alpha (num_topics,) and beta (num_topics, feature_dim), got {shapes}"
            )
        return cls(checked_alpha(path, alpha), scaled(path, beta))


def refusal(path: Path, rule: str) -> UserError:
    """The sentence for a file that breaks a rule."""
    return UserError(f"{path} is not an LDA model: {rule}")


def checked_alpha(path: Path, alpha: Dense) -> Dense:
    """Alpha itself. Raises UserError unless it is a Dirichlet distribution's, zeros included."""
    wrong = np.flatnonzero(~((alpha >= 0) & (alpha < np.inf)))
    if wrong.size:
        raise refusal(path, f"alpha must be finite numbers >= 0, got {alpha[wrong[0]]:g} for topic {wrong[0]}")
    if not alpha.any():
        raise refusal(path, "alpha must have a number > 0, all are 0")
    return alpha


def scaled(path: Path, beta: Dense) -> Dense:
    """Beta, each row a distribution. Raises UserError where that is not a matter of rounding."""
    for topic, row in enumerate(beta):
        if not (row.min() >= 0 and row.max() < np.inf):
            raise refusal(path, f"beta must be finite numbers >= 0, and topic {topic} has others")
    sums = beta.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(~(np.abs(sums - 1) <= ABOUT))
    if wrong.size:
        raise refusal(
            path, f"each row of beta must sum to 1, and that of topic {wrong[0]} sums to {sums[wrong[0]]:.6g}"
        )
    off = np.abs(sums - 1) > EXACT
    if off.any():
        beta[off] = beta[off] / sums[off, None]
    return beta
