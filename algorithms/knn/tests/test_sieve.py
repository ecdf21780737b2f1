"""The kernel that finds what can be among the nearest rows, beside NumPy in float64."""

import faiss
import numpy as np
import pytest

from algorithms.knn._sieve import sieve
from algorithms.knn.search import FlatSearch
from algorithms.knn.tests.oracle import distances


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def candidates(rows, Q, k, room, *, inner=False, threads=1, center=None):
    """The numbers (n, room), and how many they are."""
    center = np.zeros(rows.shape[1], np.float32) if center is None else center
    numbers, counts = np.full((len(Q), room), -7), np.full(len(Q), -7)
    longest = float(np.sqrt((rows.astype(float) ** 2).sum(axis=1).max(initial=0)))
    sieve(rows, center, Q, k, inner, longest, threads, numbers, counts)
    return numbers, counts


def off_by(rows, Q, inner):
    """What the distances of all pairs, as the kernel sees them and as faiss does, are off by at most; (n, m)."""
    row, query = ((each.astype(float) ** 2).sum(axis=1) for each in (rows, Q))
    unit = (3 * rows.shape[1] + 16) * 2.0**-24
    if inner:
        return unit * np.sqrt(query[:, None] * row.max()) + 0 * row
    return 2 * unit * (query[:, None] + row)


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT"])
@pytest.mark.parametrize(("m", "d", "n", "k"), [(1, 1, 1, 1), (15, 3, 7, 4), (500, 54, 40, 10), (3000, 7, 13, 40)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_all_that_can_be_near_and_no_other(metric, m, d, n, k, threads):
    """The k nearest, and besides no row that is farther away than the k-th by more than both can be off."""
    rows, Q, inner = normal(m, d), normal(n, d, seed=1), metric == "INNER_PRODUCT"
    numbers, counts = candidates(rows, Q, k, 3 * k + 40, inner=inner, threads=threads)
    exact, off = distances(Q, rows, metric), off_by(rows, Q, inner)
    for i, count in enumerate(counts):
        found = numbers[i, :count]
        assert (numbers[i, count:] == -1).all()
        assert set(np.argsort(exact[i])[:k]) <= set(found)
        assert len(set(found)) == count
        farthest = np.sort(exact[i])[k - 1]
        assert (exact[i, found] <= farthest + 4 * off[i].max()).all()


def test_equal_rows_are_all_kept_or_none():
    """Ten rows twenty times: the 20 nearest of them have room or, with less of it, there is a doubt."""
    rows = np.tile(normal(10, 6), (20, 1))
    for room, wanted in ((60, 20), (20, 20), (19, 0)):
        numbers, counts = candidates(rows, rows[:10], 5, room)
        assert (counts == wanted).all()
        for i in range(10 if wanted else 0):
            assert sorted(numbers[i, :20]) == list(range(i, 200, 10))


@pytest.mark.parametrize("center", [0, 1e4])
def test_a_center_amid_the_rows_leaves_fewer(center):
    """Rows far from 0: measured from there, products leave nothing of the distances."""
    rows = normal(2000, 8) + np.float32(1e4)
    _, counts = candidates(rows, rows[:50], 5, 55, center=np.full(8, center, np.float32))
    assert (counts < 7).all() if center else (counts == 0).all()


@pytest.mark.parametrize("inner", [False, True])
def test_values_beyond_float32_leave_a_doubt(inner):
    rows, Q = normal(100, 4), normal(9, 4, seed=1)
    Q[1, 2], Q[4, 0], Q[5, 3] = 1e20, np.nan, np.inf
    Q[7] = -3e38
    _, counts = candidates(rows, Q, 3, 49, inner=inner)
    assert np.flatnonzero(counts == 0).tolist() == ([4, 5, 7] if inner else [1, 4, 5, 7])


def test_rows_at_distances_beyond_float32_are_not_near():
    rows = normal(100, 4)
    rows[::2] = 3e38
    numbers, counts = candidates(rows, normal(9, 4, seed=1), 3, 49)
    assert (counts >= 3).all()
    assert (numbers[numbers >= 0] % 2 == 1).all()
    _, counts = candidates(rows, normal(9, 4, seed=1), 51, 49 + 51)
    assert (counts == 0).all()


def test_no_queries():
    candidates(normal(5, 2), np.empty((0, 2), np.float32), 1, 9)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_few_queries_are_compared_one_by_one(scale, monkeypatch):
    """The sieve leaves no doubt where rows are told apart: or it would only cost."""
    rows = np.round(normal(5000, 30) * np.float32(scale))
    index = faiss.IndexFlatL2(30)
    index.add(rows)
    searched, again = FlatSearch(index), []
    monkeypatch.setattr(searched, "_one_by_one", lambda Q, k: again.append(len(Q)))
    _, numbers = searched(rows[:1000], 10)
    assert (numbers[:, 0] == np.arange(1000)).all()
    assert not again


@pytest.mark.parametrize("scale", [1e-21, 3e-22])
def test_squares_that_float32_hardly_holds(scale):
    """They are off by more than a part of them, which the sieve must expect."""
    rows = normal(2000, 16) * np.float32(scale)
    index = faiss.IndexFlatL2(16)
    index.add(rows)
    searched, Q = FlatSearch(index), rows[:500] * np.float32(1.1)
    for found, wanted in zip(searched(Q, 10), searched._one_by_one(Q, 10), strict=True):
        assert np.array_equal(found, wanted)
