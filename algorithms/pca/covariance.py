"""What regular mode keeps of the rows: the sums that the covariance matrix is made of.

In float64, though the rows are float32: sums of products in float32 turn the components of handwritten digits by 2e-5
radians at 50 of 784 and by 1e-3 at 300, because the eigenvalues that tell them apart are that small beside the first.
Short pieces of rows in float32, added up in float64, are hardly better: with 256 rows at once, 6e-6 and 3.5e-4.
It costs little: x'x of one array with itself is symmetric, and half of it need not be computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg.blas import dsyr

from algorithms.cluster import Cluster
from algorithms.device import CPU, Device
from algorithms.pca.blas import add_products
from algorithms.pca.decompose import Components, about_zero, leading
from algorithms.threads import alone, shared, threads_for
from formats.batch import Dense

ROWS = 256  # of a piece in float64: 784 features of them stay in the cache between being centred and being multiplied
SPARSE_COST = 1000  # time of a product among sparse rows, in those of a dense matrix
PRODUCTS = 2**22  # of sparse rows at a time, which bounds the memory that they take
FEW = 1024  # features up to which the eigenvectors take no longer in one thread than in two that wait for each other
NOISE = 1e-13  # a variance below this share of the sum it is left over from is rounding


class Covariance:
    """Sums over rows x of d features, relative to a point c near their mean, so that large offsets cost no digits.

    count: rows; sums: (d,) float64, of x - c; products: (d, d) float64, of (x - c)'(x - c), its lower triangle valid
    centred: whether the mean is taken out in the end
    device: where the rows are that are added, and the sums until they are merged
    """

    def __init__(self, shift: NDArray[np.float64], *, centred: bool, device: Device = CPU) -> None:
        d, xp = len(shift), device.xp
        self.shift, self.centred, self.device = shift, centred, device
        self.count = 0
        self.sums: NDArray[np.float64] = xp.zeros(d)
        self.products: NDArray[np.float64] = xp.zeros((d, d))
        self._origin = device.put(shift)
        threads = 0 if device.gpus else threads_for(d * d)
        self._parts = [self.products, *(np.zeros((d, d)) for _ in range(1, threads))]  # of products, a thread's each
        self._buffers = np.empty((threads, ROWS, d))

    def add(self, X: Dense | sparse.csr_array) -> None:
        """Adds rows (n, d). Sparse ones are multiplied as such, where it is faster."""
        n, d = X.shape
        self.count += n
        if self.device.gpus:
            Z = X - self._origin
            self.sums += Z.sum(axis=0)
            self.products += Z.T @ Z
            return
        if not isinstance(X, np.ndarray):
            work = ((np.diff(X.indptr) + np.count_nonzero(self.shift)).astype(np.float64) ** 2).cumsum()
            if n and work[-1] * SPARSE_COST < n * d * d:
                self._add_sparse(shifted(X, self.shift), work)
                return
        for sums in shared(lambda part, rows: self._fold(X[rows], part), n, d * d, len(self._parts)):
            self.sums += sums

    def _fold(self, X: Dense | sparse.csr_array, part: int) -> NDArray[np.float64]:
        """Adds rows to the products of one thread; returns their sums (d,)."""
        sums = np.zeros(X.shape[1])
        for Z in centred(X, self.shift, self._buffers[part]):
            sums += Z.sum(axis=0)
            add_products(Z, self._parts[part])
        return sums

    def _add_sparse(self, X: sparse.csr_array, work: NDArray[np.float64]) -> None:
        """work: (n,) the products of the rows up to each."""
        d, start, cells = X.shape[1], 0, self.products.reshape(-1)
        self.sums += np.bincount(X.indices, X.data, d)
        while start < len(work):
            before = work[start - 1] if start else 0
            stop = max(start + 1, int(work.searchsorted(before + PRODUCTS, "right")))
            part = X[start:stop]
            product = part.T @ part  # no cell is there twice, and rows are columns
            cells[np.repeat(np.arange(0, d * d, d), np.diff(product.indptr)) + product.indices] += product.data
            start = stop

    def merge(self, cluster: Cluster) -> None:
        """Adds what the other hosts have seen; all of them end with the same sums."""
        self.count = cluster.total(self.count)
        self.sums = cluster.all_reduce(self.device.get(self.sums))
        while len(self._parts) > 1:
            self.products += self._parts.pop()
        self._parts.clear()  # the sums of all hosts take their place
        self.products = cluster.all_reduce(self.device.get(self.products))

    def mean(self) -> NDArray[np.float64]:
        """Of the rows, (d,)."""
        return self.shift + self.sums / self.count

    def components(self, k: int) -> Components:
        """The k leading components. The sums are used up."""
        scatter = self.products.T
        before = scatter.diagonal().copy()
        dsyr(-1 / self.count, self.sums, a=scatter, overwrite_a=1)
        constant = scatter.diagonal() <= NOISE * before
        scatter[constant] = 0
        scatter[:, constant] = 0
        if self.centred:
            with alone() if len(scatter) <= FEW else nullcontext():
                return leading(scatter, k, self.device)
        return about_zero(scatter, self.mean(), self.count, k, self.device)


def shifted(X: sparse.csr_array, shift: NDArray[np.float64]) -> sparse.csr_array:
    """X less the shift in float64, sparse: few features are shifted, which most rows have anyway."""
    moved = np.flatnonzero(shift)
    exact = X.astype(np.float64)
    if not moved.size:
        return exact
    n = X.shape[0]
    values = exact[:, moved].toarray() - shift[moved]
    starts = np.arange(0, values.size + 1, len(moved))
    exact.data[shift[exact.indices] != 0] = 0
    return exact + sparse.csr_array((values.reshape(-1), np.tile(moved, n), starts), shape=X.shape)


def centred(
    X: Dense | sparse.csr_array, shift: NDArray[np.float64], buffer: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    """Pieces of X (n, d) less the shift, dense, each in `buffer` (rows, d) and valid until the next."""
    for start in range(0, X.shape[0], len(buffer)):
        piece = X[start : start + len(buffer)]
        dense = piece if isinstance(piece, np.ndarray) else piece.toarray()
        Z = buffer[: len(dense)]
        np.copyto(Z, dense)  # and then in place, which is faster than what NumPy does with two types at once
        yield np.subtract(Z, shift, out=Z)
