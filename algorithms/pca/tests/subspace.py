"""Principal components by their definition, in float64, and how far apart two sets of them are."""

import numpy as np
from scipy import linalg

FLOAT32 = 1e-6  # radians, or a share: a few roundings of the float32 in which a model is kept


def components(rows, n, *, subtract_mean=True):
    """The singular values (n,) and right singular vectors (d, n) of the rows, the greatest last as in a model."""
    rows = np.asarray(rows, np.float64)
    _, s, vt = np.linalg.svd(rows - rows.mean(axis=0) if subtract_mean else rows, full_matrices=False)
    return s[:n][::-1], vt[:n][::-1].T


def naive(rows, n):
    """Components (d, n) as the guide writes them: float64 sums of x and x'x, the mean taken out at the end."""
    rows = np.asarray(rows, np.float64)
    s = rows.sum(axis=0)
    return np.linalg.eigh(rows.T @ rows - np.outer(s, s) / len(rows))[1][:, -n:]


def angle(a, b):
    """The greatest angle, in radians, between the spaces that the columns of a and b (d, n) span."""
    return float(linalg.subspace_angles(np.asarray(a, np.float64), np.asarray(b, np.float64)).max())


def captured(rows, v):
    """The share of the sum of squared distances from the mean that lies in the columns of v (d, n)."""
    rows = np.asarray(rows, np.float64)
    rows = rows - rows.mean(axis=0)
    return float(((rows @ linalg.orth(v.astype(np.float64))) ** 2).sum() / (rows**2).sum())


def of_low_rank(n, d, rank, seed=0):
    """Rows (n, d) of whole numbers, of this rank: a sketch of more random vectors than that is exact.

    Whole numbers, because float32 holds them and their sums with offsets of a million: nothing is rounded.
    """
    random = np.random.default_rng(seed)
    scales = 2 ** np.arange(rank) % 29 + 1
    return random.integers(-9, 10, (n, rank)) * scales @ random.integers(-3, 4, (rank, d))


def check_form(model, d, n):
    """What holds for every model: shapes, float32, ascending order, orthonormal components, the rule of their signs."""
    assert [a.shape for a in (model.mean, model.v, model.s)] == [(1, d), (d, n), (n,)]
    assert {a.dtype for a in (model.mean, model.v, model.s)} == {np.dtype(np.float32)}
    assert (np.diff(model.s) >= 0).all()
    assert (model.s >= 0).all()
    v = model.v.astype(np.float64)
    np.testing.assert_allclose(v.T @ v, np.eye(n), atol=2e-6)
    assert (v[np.abs(v).argmax(axis=0), np.arange(n)] > 0).all()
