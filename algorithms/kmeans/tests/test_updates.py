"""Assignment to centers and the moves of a mini-batch: by hand, then against float64 brute force."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.kmeans._nearest import nearest_of_few
from algorithms.kmeans.fit import State, summarise
from algorithms.kmeans.nearest import distances, nearest


def as_dense(X):
    return X


def as_sparse(X):
    return sparse.csr_array(X)


both_kinds = pytest.mark.parametrize("kind", [as_dense, as_sparse])


def squared(X, C):
    """(n, k) float64, by the definition."""
    return ((X.astype(np.float64)[:, None] - C.astype(np.float64)[None]) ** 2).sum(axis=2)


def test_the_guides_worked_example():
    """Step 2 b-d: clusters of 100, 150, 450 points get 25, 40, 5 more; p = 25/125, 40/190, 5/455."""
    before = np.array([[10.0, 0.0], [-4.0, 8.0], [2.0, 2.0]])
    had, new = np.array([100.0, 150.0, 450.0]), np.array([25.0, 40.0, 5.0])
    d = np.array([[20.0, 5.0], [15.0, -11.0], [93.0, 2.0]])  # center of the new points of each cluster
    state = State(before * had[:, None], had.copy(), before.astype(np.float32))
    state.add(d * new[:, None], new, decay=1.0)
    # (1 - p) c + p d: 10 + 10/5, 0 + 5/5; -4 + 19 * 4/19, 8 - 19 * 4/19; 2 + 91/91, 2
    np.testing.assert_allclose(state.centers, [[12, 1], [0, 4], [3, 2]], rtol=1e-6)
    assert state.counts.tolist() == [125, 190, 455]


def test_a_center_is_the_mean_of_all_it_has_seen_however_cut():
    rows = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    for cuts in ([30], [1] * 30, [7, 0, 23]):
        state = State.starting_at(np.full((1, 2), 99, np.float32))
        for part in np.split(rows, np.cumsum(cuts)[:-1]):
            share = summarise(part, state.centers)
            state.add(share[:-1, :-1], share[:-1, -1], 1.0)
        np.testing.assert_allclose(state.centers[0], rows.mean(axis=0, dtype=np.float64), rtol=1e-5)
        assert state.counts.tolist() == [30]


def test_a_center_that_saw_no_row_stays_where_it_began():
    state = State.starting_at(np.array([[1, 2], [50, 60]], np.float32))
    share = summarise(np.array([[3, 4]], np.float32), state.centers)
    state.add(share[:-1, :-1], share[:-1, -1], 1.0)
    assert state.centers.tolist() == [[3, 4], [50, 60]]


def test_nearest_and_distances_by_hand():
    C = np.array([[0, 0], [3, 4], [0, 0], [10, 0]], np.float32)
    X = np.array([[0, 0], [3, 3], [1.5, 2], [6.5, 2], [100, 0]], np.float32)
    for kind in (as_dense, as_sparse):
        labels = nearest(kind(X), C)
        assert labels.tolist() == [
            0,
            1,
            0,
            1,
            3,
        ]  # rows 0 and 2: as near to 0 and 2, or to 0, 1 and 2; row 3: to 1 and 3
        assert distances(kind(X), C, labels).tolist() == [0, 1, 6.25, 16.25, 8100]


@both_kinds
@pytest.mark.parametrize("density", [1.0, 0.1])
@pytest.mark.parametrize("k", [1, 7, 60])
def test_against_brute_force(kind, density, k):
    random = np.random.default_rng(k)
    X = (random.normal(size=(200, 30)) * (random.random((200, 30)) < density)).astype(np.float32)
    C = (random.normal(size=(k, 30)) * (random.random((k, 30)) < 0.5)).astype(np.float32)
    X[0], C[-1] = 0, X[1]
    D = squared(X, C)
    labels = nearest(kind(X), C)
    # float32 may not tell near equals apart: the chosen center must be as near as the nearest, to 1e-5
    np.testing.assert_allclose(D[np.arange(200), labels], D.min(axis=1), rtol=1e-5, atol=1e-5)
    assert (labels == D.argmin(axis=1)).mean() > 0.99
    np.testing.assert_allclose(distances(kind(X), C, labels), D[np.arange(200), labels], rtol=1e-5, atol=1e-5)

    share = summarise(kind(X), C)
    member = labels[:, None] == np.arange(k)
    np.testing.assert_allclose(share[:-1, :-1], member.T @ X.astype(np.float64), rtol=1e-5, atol=1e-5)
    assert share[:-1, -1].tolist() == member.sum(axis=0).tolist()
    # from every third row: as many as make at least 64
    assert share[-1, -1] == pytest.approx(D[::3].min(axis=1).mean() * 200, rel=1e-4)
    assert not share[-1, :-1].any()


@both_kinds
def test_far_from_zero(kind):
    """Offset 1e4, spread 1: float32 holds such values to 5e-4, but ||x||^2, 1e9, only to 32.

    Required: the chosen center's squared distance exceeds the least by less than 0.05 (of 12 in the mean), the squared
    distances are right to 1e-5, and the sums to 1e-6.
    """
    random = np.random.default_rng(0)
    X = (1e4 + random.normal(size=(500, 10))).astype(np.float32)
    C = (1e4 + random.normal(size=(5, 10))).astype(np.float32)
    D = squared(X, C)
    labels = nearest(kind(X), C)
    assert (D[np.arange(500), labels] - D.min(axis=1)).max() < 0.05
    np.testing.assert_allclose(distances(kind(X), C, labels), D[np.arange(500), labels], rtol=1e-5)
    share = summarise(kind(X), C)
    wanted = (labels[:, None] == np.arange(5)).T @ X.astype(np.float64)
    np.testing.assert_allclose(share[:-1, :-1], wanted, rtol=1e-6)


@both_kinds
@pytest.mark.parametrize("offset", [0, 100, 1e4])
def test_the_logged_squared_distance_far_from_zero(kind, offset):
    """It goes to the log only ("Short term msd"), estimated from every seventh row here: within 10 % will do."""
    random = np.random.default_rng(0)
    X, C = ((offset + random.normal(size=(n, 10))).astype(np.float32) for n in (500, 5))
    assert summarise(kind(X), C)[-1, -1] == pytest.approx(squared(X, C).min(axis=1).sum(), rel=0.1)


@both_kinds
def test_an_empty_batch_adds_nothing(kind):
    C = np.array([[1, 2], [3, 4]], np.float32)
    X = kind(np.empty((0, 2), np.float32))
    assert not summarise(X, C).any()
    assert nearest(X, C).shape == (0,)
    assert distances(X, C, nearest(X, C)).shape == (0,)


@pytest.mark.parametrize("d", [1, 15, 16, 17, 784])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_few_rows_are_found_as_many_are(d, offset):
    """The kernel for few rows against the definition in float64, its slow twin."""
    random = np.random.default_rng(d)
    X, C = ((offset + random.normal(size=(n, d))).astype(np.float32) for n in (7, 5))
    X[0] = C[3] = C[2]
    labels, found = np.empty(7, np.intp), np.empty(7)
    nearest_of_few(X, C, labels, found)
    assert labels.tolist() == squared(X, C).argmin(axis=1).tolist()
    assert labels[0] == 2
    np.testing.assert_allclose(found, squared(X, C).min(axis=1), rtol=1e-5)


@pytest.mark.parametrize("offset", [0, 1e4, 1e5])
def test_labels_of_many_rows_far_from_zero_are_those_of_few(offset):
    """As far as float32 holds the rows themselves; without the shift 1 % of them got another center at 1e5."""
    random = np.random.default_rng(3)
    X, C = ((offset + random.normal(size=(n, 50))).astype(np.float32) for n in (2000, 100))
    labels, found = np.empty(2000, np.intp), np.empty(2000)
    nearest_of_few(X, C, labels, found)
    assert np.array_equal(nearest(X, C), labels)
