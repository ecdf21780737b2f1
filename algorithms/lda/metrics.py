"""How likely a model makes the words of documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from formats.batch import Dense

BLOCK = 2**20  # numbers that are multiplied at once


@dataclass
class PerWordLogLikelihood:
    """`test:pwll`: the mean over all words of all documents of log p(w | theta, beta), p = sum_k theta_k beta_kw.

    theta is the mixture that the model answers to the document: the one that makes these very words most likely. A
    word that occurs c times counts c times. A word that no topic of the document's mixture has, p = 0, has no
    logarithm: such words are left out, and counted in `unknown`.
    """

    total: float = 0.0
    words: float = 0.0
    unknown: float = 0.0

    def add(self, corpus: sparse.csr_array, theta: Dense, beta: Dense) -> None:
        """Documents (n, V) with their mixtures (n, k); beta (k, V)."""
        by_word = beta.T  # a copy of it is not worth it for the words of a few documents
        row = np.repeat(np.arange(corpus.shape[0]), np.diff(corpus.indptr))
        step = max(1, BLOCK // len(beta))
        for start in range(0, corpus.nnz, step):
            part = slice(start, start + step)
            each = theta[row[part]].astype(np.float64)
            p = np.einsum("ij,ij->i", each, by_word[corpus.indices[part]])
            counts = corpus.data[part].astype(np.float64)
            known = p > 0
            self.total += float(counts[known] @ np.log(p[known]))
            self.words += float(counts[known].sum())
            self.unknown += float(counts[~known].sum())

    @property
    def value(self) -> float:
        """The mean; 0 for documents without words."""
        return self.total / self.words if self.words else 0.0
