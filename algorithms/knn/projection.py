"""Random projections that keep distances and inner products (Johnson and Lindenstrauss 1984).

What is random comes from the raw bits of PCG64, a stream that NumPy promises to keep: a model stores the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import hadamard

from formats.batch import Dense

GENERATOR = "inbuilt-1"  # names the way from the seed to the projection, in the artifact
PIECE = 2**22  # floats of rows that are made dense or transformed at once


@dataclass(frozen=True)
class Projection:
    """Rows of `width` features to rows of `target`; seed: of the random bits."""

    kind: Literal["sign", "fjlt"]
    seed: int
    width: int
    target: int

    def __call__(self, X: Dense | sparse.csr_array) -> Dense:
        """X (n, width) -> (n, target) float32, not finite where the values are beyond float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.kind == "sign":
                return np.ascontiguousarray(X @ self._matrix, np.float32)
            rows = max(1, PIECE // self.padded)
            pieces = [self._transformed(X[start : start + rows]) for start in range(0, X.shape[0], rows)]
            return np.concatenate(pieces) if pieces else np.empty((0, self.target), np.float32)

    def draw(self) -> None:
        """Draws what is random now, and not with the first rows."""
        _ = self._matrix if self.kind == "sign" else self._hadamard

    @property
    def padded(self) -> int:
        """The least power of two that is not below `width`."""
        return int(1 << (self.width - 1).bit_length())

    @cached_property
    def _matrix(self) -> Dense:
        """(width, target): random signs over sqrt(target); Achlioptas, JCSS 2003, theorem 1.1."""
        signs = _signs(np.random.PCG64(self.seed), self.width * self.target).reshape(self.width, self.target)
        return signs / np.float32(np.sqrt(self.target))

    @cached_property
    def _hadamard(self) -> tuple[Dense, Dense, Dense, NDArray[np.intp]]:
        """H_a and H_b, whose Kronecker product is the transform; the signs (width,); the coordinates that are kept."""
        bits = np.random.PCG64(self.seed)
        a = 1 << (self.padded.bit_length() - 1) // 2
        signs = _signs(bits, self.width)
        kept = np.argsort(bits.random_raw(self.padded), kind="stable")[: self.target]
        H_a, H_b = (np.asarray(hadamard(side), np.float32) for side in (a, self.padded // a))
        return H_a, H_b, signs, np.sort(kept)

    def _transformed(self, X: Dense | sparse.csr_array) -> Dense:
        """The subsampled randomised Hadamard transform: Ailon and Chazelle 2009, as in Tropp 2011, section 1.3.

        H / sqrt(padded) is orthonormal, and sqrt(padded / target) makes good for the coordinates left out.
        """
        H_a, H_b, signs, kept = self._hadamard
        n = X.shape[0]
        rows = np.zeros((n, self.padded), np.float32)
        rows[:, : self.width] = X if isinstance(X, np.ndarray) else X.toarray()
        rows[:, : self.width] *= signs
        mixed: Dense = np.matmul(H_a, rows.reshape(n, len(H_a), len(H_b))) @ H_b
        return mixed.reshape(n, self.padded)[:, kept] / np.float32(np.sqrt(self.target))


def _signs(bits: np.random.PCG64, n: int) -> Dense:
    """n signs, a bit each."""
    words = bits.random_raw(-(-n // 64)).astype("<u8")
    ones: NDArray[np.uint8] = np.unpackbits(words.view(np.uint8), count=n, bitorder="little")
    return ones.astype(np.float32) * 2 - 1
