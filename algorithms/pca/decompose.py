"""The leading eigenvectors of a covariance matrix, to the digits that its entries have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import lapack
from scipy.linalg.blas import dsyr

from algorithms.device import CPU, Device
from formats.batch import Dense

Matrix = NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)
SMALL = 1e-8  # share of the greatest eigenvalue below which a solver that is exact to EPSILON of it loses directions
ZERO = 16 * EPSILON  # share of the greatest eigenvalue that is nothing but rounding
UNEQUAL = 1e6  # ratio of variances from which the scales of the columns are worth taking apart


@dataclass(frozen=True, slots=True)
class Components:
    """Of a scatter matrix, the sum of (x - mean)'(x - mean) over rows.

    values: (k,) float64 >= 0, the sums of squares along the components, ascending
    vectors: (d, k) float64, orthonormal columns
    total: its trace, the sum of squares along all directions
    """

    values: NDArray[np.float64]
    vectors: Matrix
    total: float


def leading(C: Matrix, k: int, device: Device = CPU) -> Components:
    """The k leading components of a positive semidefinite C (d, d), of which the upper triangle is read.

    LAPACK's tridiagonal solver, and a GPU's, errs by EPSILON times the greatest eigenvalue. That is more than there is
    in the last components of columns of very different scales, although the matrix has these digits: they are found by
    `graded`.
    """
    d, variances = len(C), C.diagonal()
    total = float(variances.sum())
    if device.gpus:
        all_values, all_vectors = device.xp.linalg.eigh(device.put(C), UPLO="U")
        values, vectors = device.get(all_values[-k:]), device.get(all_vectors[:, -k:])
    else:
        values, vectors = linalg.eigh(C, lower=False, subset_by_index=(d - k, d - 1), driver="evr", check_finite=False)
    lowest = variances.min(where=variances > 0, initial=np.inf)
    if values[0] < SMALL * values[-1] and variances.max() > UNEQUAL * lowest:
        values, vectors = graded(C, k)
    else:
        values = np.where(values > ZERO * values[-1], values, 0)
    return Components(values, vectors, total)


def graded(C: Matrix, k: int) -> tuple[NDArray[np.float64], Matrix]:
    """Eigenvalues (k,) and eigenvectors (d, k) of C as exact as if all columns had one scale.

    With D the columns' scales, C = D A D and A = L L', whose rounding errors are those of A, which has ones on its
    diagonal. The singular values of W = D L are the roots of C's eigenvalues, its left singular vectors are C's
    eigenvectors, and Jacobi's method finds them without mixing the scales (Demmel and Veselic, "Jacobi's Method is More
    Accurate than QR", SIAM J. Matrix Anal. Appl. 13, 1992; Drmac and Veselic, LAPACK Working Notes 169 and 170).
    """
    W, varying = factor(C)
    rank = W.shape[1]
    # joba 2 pivots rows as well as columns, which the scales of W's rows need; jobu 0: U, jobv 3: no V
    roots, left, _, work, _, info = lapack.dgejsv(W, joba=2, jobu=0, jobv=3)
    if info:
        raise np.linalg.LinAlgError(f"LAPACK's dgejsv did not converge: info {info}")
    kept = min(k, rank)
    vectors = np.zeros((len(C), kept))
    vectors[varying] = left[:, :kept][:, ::-1]
    return padded((roots[:kept][::-1] * (work[0] / work[1])) ** 2, vectors, k)


def factor(C: Matrix) -> tuple[Matrix, NDArray[np.intp]]:
    """W (m, rank), W W' = C, of the m rows and columns of C whose diagonal is not 0; and their numbers (m,)."""
    variances = C.diagonal()
    varying = np.flatnonzero(variances > 0)
    D = np.sqrt(variances[varying])
    A = C[np.ix_(varying, varying)] / D / D[:, None]
    U, pivots, rank, _ = lapack.dpstrf(A, lower=0, overwrite_a=1)
    W = np.empty((len(D), rank), order="F")
    W[pivots - 1] = np.triu(U)[:rank].T
    W *= D[:, None]
    return W, varying


def about_zero(C: Matrix, mean: NDArray[np.float64], n: int, k: int, device: Device = CPU) -> Components:
    """The k leading components of C + n mean' mean, of n rows about 0. C is used up.

    A mean that is far greater than the rows differ leaves none of their digits in that sum: the singular values of the
    factors of C and of the mean, side by side, have them.
    """
    W, varying = factor(C)
    sides = np.zeros((len(C), W.shape[1] + 1))
    sides[varying, :-1], sides[:, -1] = W, np.sqrt(n) * mean
    total = float(C.diagonal().sum()) + n * float(mean @ mean)
    dsyr(n, mean, a=C, overwrite_a=1)
    found = leading(C, k, device)
    if found.values[0] < SMALL * found.values[-1]:
        vectors, roots, _ = linalg.svd(sides, full_matrices=False, overwrite_a=True, check_finite=False)
        found = Components(*padded(roots[:k][::-1] ** 2, vectors[:, :k][:, ::-1], k), total)
    return found


def padded(values: NDArray[np.float64], vectors: Matrix, k: int) -> tuple[NDArray[np.float64], Matrix]:
    """The first of k components, where only the last are known: values 0, and any orthonormal directions."""
    d, known = vectors.shape
    if known == k:
        return values, vectors
    # unit vectors of the rows that QR with pivoting puts last: with them the columns are as independent as can be
    pivots = linalg.qr(vectors.T, mode="r", pivoting=True)[1] if known else np.arange(d)
    others = np.zeros((d, k - known))
    others[pivots[known:k], np.arange(k - known)] = 1
    basis = np.linalg.qr(np.hstack([vectors, others]))[0]
    return np.append(np.zeros(k - known), values), np.hstack([basis[:, known:], vectors])


def oriented(V: Dense) -> Dense:
    """V (d, k) with the entry of greatest magnitude of each column, the first of equals, made positive.

    On float32, where entries that are equal but for rounding mostly are equal, so that one is chosen everywhere.
    """
    greatest = V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])]
    return V * np.where(greatest < 0, np.float32(-1), np.float32(1))
