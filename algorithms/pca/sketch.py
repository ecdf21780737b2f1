"""What randomized mode keeps of the rows: the product of their scatter matrix with a few random vectors.

Not the guide's sum of H_t X_t, of which one pass captures 87 % of what 50 exact components of handwritten digits do,
where this captures 98.8 % in the same pass and memory. It is a sum over rows that knows no mini-batches, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.linalg.blas import ddot

from algorithms.cluster import Cluster
from algorithms.device import CPU, Device
from algorithms.pca.covariance import ROWS, centred, shifted
from algorithms.pca.decompose import EPSILON, Components, padded
from algorithms.threads import shared, threads_for
from formats.batch import Dense

VALUES = 2**22  # of a piece in float64, at most, unless 64 rows have more


class Sketch:
    """Sums over rows x of d features, relative to a point c near their mean; Omega (d, l) are random signs.

    count: rows; sums: (d,) float64, of x - c; sketch: (d, l) float64, Y = sum of (x - c)'((x - c) Omega);
    squares: of all x - c
    centred: whether the mean is taken out in the end
    device: where the rows are that are added, and the sums until they are merged
    """

    def __init__(
        self, shift: NDArray[np.float64], size: int, seed: int, *, centred: bool, device: Device = CPU
    ) -> None:
        d, xp = len(shift), device.xp
        self.shift, self.centred, self.device = shift, centred, device
        self.count, self.squares = 0, 0.0
        self.sums: NDArray[np.float64] = xp.zeros(d)
        self.sketch: NDArray[np.float64] = xp.zeros((d, size))
        self._signs = random_signs(d, size, seed)
        self._origin = device.put(shift)
        self._omega = device.put(self._signs.astype(np.float64)) if device.gpus else None
        self._threads = 1 if device.gpus else threads_for(d * size)
        self._parts: list[NDArray[np.float64]] = []  # of the sketch, each thread's of dense rows
        self._buffers = np.empty((0 if device.gpus else self._threads, max(64, min(ROWS, VALUES // d)), d))

    def add(self, X: Dense | sparse.csr_array) -> None:
        """Adds rows (n, d). Of sparse ones only the columns that occur are touched, unless most would be."""
        self.count += X.shape[0]
        if self.device.gpus:
            Z = X - self._origin
            self.sums += Z.sum(axis=0)
            self.squares += (Z * Z).sum()
            self.sketch += Z.T @ (Z @ self._omega)
            return
        if not isinstance(X, np.ndarray) and 2 * np.count_nonzero(self.shift) < X.shape[1]:
            self._add_sparse(shifted(X, self.shift))
            return
        if not self._parts:
            self._parts = [np.zeros_like(self.sketch) for _ in range(self._threads)]
        omega = self._signs.astype(np.float64)
        folded = shared(lambda part, rows: self._fold(X[rows], omega, part), X.shape[0], 2 * omega.size, self._threads)
        for sums, squares in folded:
            self.sums += sums
            self.squares += squares

    def _fold(
        self, X: Dense | sparse.csr_array, omega: NDArray[np.float64], part: int
    ) -> tuple[NDArray[np.float64], float]:
        """Adds rows to the sketch of one thread; returns their sums (d,) and the sum of their squares."""
        sums, squares = np.zeros(X.shape[1]), 0.0
        for Z in centred(X, self.shift, self._buffers[part]):
            sums += Z.sum(axis=0)
            flat = Z.reshape(-1)
            squares += ddot(flat, flat)
            self._parts[part] += Z.T @ (Z @ omega)  # not by SciPy's BLAS, which keeps the interpreter's lock
        return sums, squares

    def _add_sparse(self, X: sparse.csr_array) -> None:
        columns, place = np.unique(X.indices, return_inverse=True)
        values = X.data
        part = sparse.csr_array((values, place, X.indptr), shape=(X.shape[0], len(columns)))
        self.sums[columns] += np.bincount(place, values, len(columns))
        self.squares += float(np.vdot(values, values))
        self.sketch[columns] += part.T @ (part @ self._signs[columns].astype(np.float64))

    def merge(self, cluster: Cluster) -> None:
        """Adds what the other hosts have seen; all of them end with the same sums."""
        self.count = cluster.total(self.count)
        self.squares = float(cluster.all_reduce(np.array([float(self.squares)]))[0])
        self.sums = cluster.all_reduce(self.device.get(self.sums))
        while self._parts:
            self.sketch += self._parts.pop()
        self.sketch = cluster.all_reduce(self.device.get(self.sketch))

    def mean(self) -> NDArray[np.float64]:
        """Of the rows, (d,)."""
        return self.shift + self.sums / self.count

    def components(self, k: int) -> Components:
        """The k leading components of the Nystrom approximation Y (Omega' Y)^+ Y' of the scatter matrix S.

        Tropp et al., algorithm 3, with the pseudo-inverse where they have a Cholesky factor: Y = S Omega is shifted by
        nu Omega, which makes rounding errors harmless and is taken from the eigenvalues again. The sums are used up.
        """
        Y, omega, total = self.sketch, self._signs.astype(np.float64), self.squares
        # of what is added up, whose rounding errors stay when the mean is taken out
        nu = len(Y) ** 0.5 * EPSILON * float(np.linalg.norm(Y))
        Y -= np.outer(self.sums / self.count, self.sums @ omega)
        total -= float(self.sums @ self.sums) / self.count
        if not self.centred:
            mean = self.mean()
            Y += np.outer(self.count * mean, mean @ omega)
            total += self.count * float(mean @ mean)
            nu = max(nu, len(Y) ** 0.5 * EPSILON * float(np.linalg.norm(Y)))
        Y += nu * omega
        core = omega.T @ Y
        weights, basis = linalg.eigh((core + core.T) / 2, check_finite=False)
        used = weights > len(core) * EPSILON * abs(weights[-1])
        vectors, roots, _ = linalg.svd(
            Y @ (basis[:, used] / np.sqrt(weights[used])), full_matrices=False, overwrite_a=True, check_finite=False
        )
        values = np.maximum(roots[:k] ** 2 - nu, 0)[::-1]
        return Components(*padded(values, vectors[:, :k][:, ::-1], k), max(total, 0.0))


def random_signs(d: int, size: int, seed: int) -> NDArray[np.int8]:
    """(d, size) of +1 and -1, from the raw bits of a generator whose stream NumPy promises to keep."""
    words = np.random.PCG64(seed).random_raw(-(-d * size // 64)).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8), count=d * size, bitorder="little").view(np.int8)
    return (2 * bits - 1).reshape(d, size)
