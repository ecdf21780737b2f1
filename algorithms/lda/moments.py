"""The moments of a corpus whose eigenvectors are its topics, whitened, without a matrix of words by words.

Anandkumar, Ge, Hsu, Kakade and Telgarsky, "Tensor Decompositions for Learning Latent Variable Models", JMLR 15 (2014),
theorem 3.5: with x1, x2, x3 the unit vectors of three words of a document and a0 the sum of alpha,

    M1 = E[x1]
    M2 = E[x1 x2] - a0 / (a0 + 1) M1 M1
    M3 = E[x1 x2 x3] - a0 / (a0 + 2) (E[x1 x2 M1] + E[x1 M1 x2] + E[M1 x1 x2]) + 2 a0^2 / ((a0 + 2) (a0 + 1)) M1 M1 M1

are sums of alpha_i / (a0 (a0 + 1)) mu_i mu_i and 2 alpha_i / (a0 (a0 + 1) (a0 + 2)) mu_i mu_i mu_i over the topics.
The expectations are means over documents of means over all pairs and triples of a document's words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Matrix = NDArray[np.float64]
EXTRA = 10  # columns of a sketch beyond those that are wanted
POWERS = 8  # of M2 that the Krylov space of the whitening has
ROWS = 2**22  # numbers of a piece of the third moment's products


@dataclass(frozen=True, slots=True)
class Whitening:
    """Of M2 = U diag(values) U' + what is left out.

    vectors: (V, m) float64, orthonormal columns U; values: (m,) float64 > 0, descending
    """

    vectors: Matrix
    values: NDArray[np.float64]

    @property
    def whiten(self) -> Matrix:
        """W (V, m), for which W' M2 W = 1."""
        return self.vectors / np.sqrt(self.values)

    @property
    def unwhiten(self) -> Matrix:
        """B (V, m), the pseudo-inverse of W'."""
        return self.vectors * np.sqrt(self.values)

    def leading(self, m: int) -> Whitening:
        """Of the m greatest eigenvalues only."""
        return Whitening(self.vectors[:, :m], self.values[:m])


class Moments:
    """Of a corpus (n, V) of counts. A document of fewer than three words leaves out what it cannot give.

    mean: M1 (V,) float64
    """

    def __init__(self, corpus: sparse.csr_array, alpha0: float) -> None:
        counts = corpus.astype(np.float64)
        lengths = np.asarray(counts.sum(axis=1))
        self.alpha0, self.counts = alpha0, counts
        one, two = lengths > 0, lengths >= 2
        three = lengths >= 3
        # what a document adds to a mean over documents, for each of its words, ordered pairs and ordered triples
        self._one = shares(one, lengths)
        self._two = shares(two, lengths * (lengths - 1))
        self._three = shares(three, lengths * (lengths - 1) * (lengths - 2))
        self.pairs, self.triples = int(two.sum()), int(three.sum())
        self.transposed = counts.T.tocsr()
        self.mean: NDArray[np.float64] = self.transposed @ self._one
        # a word does not make a pair with itself: the diagonal that the products have too much
        self._diagonal = self.transposed @ self._two

    def second(self, X: Matrix) -> Matrix:
        """M2 X (V, l), of X (V, l)."""
        a0 = self.alpha0
        raw = self.transposed @ (self._two[:, None] * (self.counts @ X)) - self._diagonal[:, None] * X
        product: Matrix = raw - (a0 / (a0 + 1)) * self.mean[:, None] * (self.mean @ X)
        return product

    def whitening(self, m: int, random: np.random.Generator) -> Whitening:
        """Of the greatest eigenvalues of M2 that are above 0, at most m, from a random block Krylov space.

        Musco and Musco, "Randomized Block Krylov Methods for Stronger and Faster Approximate Singular Value
        Decomposition", NeurIPS 2015, algorithm 2, with eigenvalues for singular values as M2 has negative ones, too.
        """
        V = len(self.mean)
        block = np.linalg.qr(random.standard_normal((V, min(V, m + EXTRA))))[0]
        blocks = [block]
        while len(blocks) <= POWERS and sum(b.shape[1] for b in blocks) < V:
            block = np.linalg.qr(self.second(block))[0]
            blocks.append(block)
        basis = np.hstack(blocks)
        blocks.clear()
        basis = np.linalg.qr(basis)[0]
        step = m + EXTRA  # columns at once: their products with the documents need not all be there
        projected = np.hstack(
            [basis.T @ self.second(basis[:, start : start + step]) for start in range(0, basis.shape[1], step)]
        )
        values, vectors = np.linalg.eigh((projected + projected.T) / 2)
        values, vectors = values[::-1][:m], vectors[:, ::-1][:, :m]
        kept = values > len(values) * np.finfo(np.float64).eps * max(values[0], 0)
        return Whitening(basis @ vectors[:, kept], values[kept])

    def third(self, W: Matrix) -> NDArray[np.float64]:
        """M3(W, W, W) (m, m, m), of W (V, m)."""
        a0, m = self.alpha0, W.shape[1]
        P = self.counts @ W
        tensor = cubes(P, self._three)
        # pairs and triples in which one word is there twice: all three places, once each, and what that took too often
        tensor -= symmetric(squares(W, self.transposed @ (self._three[:, None] * P)))
        tensor += 2 * cubes(W, self.transposed @ self._three)
        q = W.T @ self.mean
        pairs = (P.T * self._two) @ P - (W.T * self._diagonal) @ W
        tensor -= a0 / (a0 + 2) * symmetric(pairs[:, :, None] * q)
        tensor += 2 * a0**2 / ((a0 + 2) * (a0 + 1)) * q[:, None, None] * q[:, None] * q
        return tensor.reshape(m, m, m)

    def along(self, B: Matrix) -> NDArray[np.float64]:
        """M3(b, b, b) (k,) for each row of B (k, V)."""
        a0, b = self.alpha0, B.T
        once, twice = self.counts @ b, self.counts @ b**2
        mean, pairs = self.mean @ b, self._two @ (once**2 - twice)
        triples = self._three @ (once**3 - 3 * once * twice + 2 * (self.counts @ b**3))
        result: NDArray[np.float64] = (
            triples - 3 * a0 / (a0 + 2) * pairs * mean + 2 * a0**2 / ((a0 + 2) * (a0 + 1)) * mean**3
        )
        return result


def shares(kept: NDArray[np.bool_], tuples: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) 1 / tuples for the documents that are kept, over their number; 0 for the others."""
    result: NDArray[np.float64] = np.divide(1, tuples, out=np.zeros_like(tuples), where=kept) / max(1, kept.sum())
    return result


def cubes(X: Matrix, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over rows x of X (n, m) of weight x x x, (m, m, m)."""
    return squares(X, X * weights[:, None])


def squares(X: Matrix, Y: Matrix) -> NDArray[np.float64]:
    """Sum over rows of x x y, (m, m, m)."""
    n, m = X.shape
    total, rows = np.zeros((m * m, m)), max(1, ROWS // m**2)
    for start in range(0, n, rows):
        piece = X[start : start + rows]
        total += (piece[:, :, None] * piece[:, None, :]).reshape(len(piece), -1).T @ Y[start : start + rows]
    return total.reshape(m, m, m)


def symmetric(T: NDArray[np.float64]) -> NDArray[np.float64]:
    """T + T with its last place as the second + as the first, for T that is symmetric in its first two."""
    return T + T.transpose(0, 2, 1) + T.transpose(2, 0, 1)
