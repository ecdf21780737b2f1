"""The components of a small symmetric tensor, by alternating least squares from several starts.

Kolda and Bader, "Tensor Decompositions and Applications", SIAM Review 51 (2009), figure 3.3. What is decomposed is
whitened: its components are orthogonal but for what a finite corpus gets wrong (Anandkumar et al. 2014, section 4.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from algorithms.report import log

Matrix = NDArray[np.float64]
POWER_STEPS = 10  # that turn a random start towards the tensor


@dataclass(frozen=True, slots=True)
class Components:
    """T is about the sum of weights_i v_i v_i v_i.

    weights: (k,) float64, descending, > 0 where a component is one; vectors: (m, k) float64, columns v_i of length 1
    error: |T - sum| / |T|; converged: whether the error had settled
    """

    weights: NDArray[np.float64]
    vectors: Matrix
    error: float
    iterations: int
    converged: bool


def decompose(
    T: NDArray[np.float64],
    k: int,
    *,
    restarts: int,
    iterations: int,
    tolerance: float,
    svd_init: bool,
    random: np.random.Generator,
    stopped: Callable[[], bool],
) -> Components:
    """The best of `restarts` decompositions of a symmetric T (m, m, m) into k <= m components."""
    best: Components | None = None
    for restart in range(restarts):
        if best is not None and stopped():
            break
        log.info("Restart %d/%d", restart + 1, restarts)
        log.info("[CPDecomp] Starting CPDecomp...")
        if restart == 0 and svd_init:
            log.info("[CPDecomp] Using svd initialization.")
            start = leading_vectors(T, k)
        else:
            log.info("[CPDecomp] Using random initialization.")
            start = random_vectors(T, k, random)
        found = alternate(T, start, iterations, tolerance, stopped)
        log.info("[CPDecomp] iter=%d, error=%.12f", found.iterations, found.error)
        if found.converged:
            log.info("Converged to local minimum in %d iterations.", found.iterations)
        if best is None or found.error < best.error:
            best = found
    assert best is not None  # noqa: S101 - there is one restart at least
    log.info("Best reconstruction error: %.8f", best.error)
    return best


def leading_vectors(T: NDArray[np.float64], k: int) -> Matrix:
    """The k leading left singular vectors of T (m, m, m) unfolded to (m, m m)."""
    m = len(T)
    return np.linalg.eigh(T.reshape(m, -1) @ T.reshape(m, -1).T)[1][:, ::-1][:, :k]


def random_vectors(T: NDArray[np.float64], k: int, random: np.random.Generator) -> Matrix:
    """Orthonormal vectors (m, k) near the components: eigenvectors of a random mixture of T's slices, then power steps.

    For orthogonal components that mixture has them as its eigenvectors (Anandkumar et al. 2014, section 4.2). Each step
    maps all vectors at once and takes the nearest orthonormal ones, so that no two end at one component.
    """
    values, vectors = np.linalg.eigh(T @ random.standard_normal(len(T)))
    vectors = vectors[:, np.argsort(-np.abs(values))[:k]]
    for _ in range(POWER_STEPS):
        left, _, right = np.linalg.svd(mapped(T, vectors, vectors), full_matrices=False)
        vectors = left @ right
    return vectors


def mapped(T: NDArray[np.float64], B: Matrix, C: Matrix) -> Matrix:
    """T(I, b_i, c_i) for each column, (m, k): the unfolded T times the Khatri-Rao product of B and C."""
    m, k = B.shape
    return T.reshape(m, -1) @ (B[:, None] * C).reshape(m * m, k)


def alternate(
    T: NDArray[np.float64], start: Matrix, iterations: int, tolerance: float, stopped: Callable[[], bool]
) -> Components:
    """Alternating least squares from `start` (m, k) for all three places, until the error changes by < tolerance.

    A stop ends it after an iteration: of a hundred topics, all of them take minutes.
    """
    A, B, C = start, start, start
    norm, error, done, converged = float(np.linalg.norm(T)), np.inf, 0, False
    while done < iterations and not converged and not (done and stopped()):
        done += 1
        A, _ = solved(T, B, C)
        B, _ = solved(T, A, C)
        C, weights = solved(T, A, B)
        now = residual(T, norm, A, B, C * weights)
        converged = abs(error - now) < tolerance
        error = now
    weights, vectors = symmetrized(T, A, B, C)
    return Components(weights, vectors, residual(T, norm, vectors, vectors, vectors * weights), done, converged)


def solved(T: NDArray[np.float64], B: Matrix, C: Matrix) -> tuple[Matrix, NDArray[np.float64]]:
    """The least squares solution for one place, its columns of length 1, and their lengths (k,)."""
    gram, right = (B.T @ B) * (C.T @ C), mapped(T, B, C).T
    # Cholesky's factor is there but where components coincide, and is found many times faster than singular values
    _, solution, info = lapack.dposv(gram, right)
    A = (np.linalg.lstsq(gram, right)[0] if info else solution).T
    lengths = np.linalg.norm(A, axis=0)
    return A / np.where(lengths > 0, lengths, 1), lengths


def residual(T: NDArray[np.float64], norm: float, A: Matrix, B: Matrix, C: Matrix) -> float:
    """|T - sum of a_i b_i c_i| / |T|."""
    inner = float((mapped(T, B, C) * A).sum())
    square = float(((A.T @ A) * (B.T @ B) * (C.T @ C)).sum())
    return float(np.sqrt(max(0.0, norm**2 - 2 * inner + square))) / norm if norm > 0 else 0.0


def symmetrized(T: NDArray[np.float64], A: Matrix, B: Matrix, C: Matrix) -> tuple[NDArray[np.float64], Matrix]:
    """One vector for the three places of each component, and the weights (k,) of least squares.

    The three are the same but for signs and for what ALS has not evened out.
    """
    aligned = A + B * np.sign((A * B).sum(axis=0)) + C * np.sign((A * C).sum(axis=0))
    lengths = np.linalg.norm(aligned, axis=0)
    vectors = aligned / np.where(lengths > 0, lengths, 1)
    gram = (vectors.T @ vectors) ** 3
    weights = np.linalg.lstsq(gram, (mapped(T, vectors, vectors) * vectors).sum(axis=0))[0]
    vectors, weights = vectors * np.where(weights < 0, -1, 1), np.abs(weights)
    order = np.argsort(-weights, kind="stable")
    return weights[order], np.ascontiguousarray(vectors[:, order])
