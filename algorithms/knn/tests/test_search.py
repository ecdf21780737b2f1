"""The flat index finds the nearest rows, exactly, however many rows ask at once and whatever their values."""

import faiss
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from algorithms.knn.search import SHARED, FlatSearch, found
from algorithms.knn.tests.oracle import METRICS, assert_nearest, distances, nearest
from algorithms.knn.tests.streams import neighbours, predicted, train

BATCHES = (1, 2, 7, 8, 100, 300, 5000)


def normal(n, d, seed=0, scale=1.0, offset=0.0):
    return (offset + scale * np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 2, 8, 54])
def test_neighbours_are_brute_forces(metric, d):
    rows, queries = normal(400, d), normal(150, d, seed=1)
    assert_nearest(neighbours(train(rows, k=7, index_metric=metric), queries), queries, rows, metric, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_classes_are_scikit_learns(metric):
    """Two classes and odd k: no tie of votes, which scikit-learn gives to the lower class."""
    rows, queries = normal(500, 6), normal(300, 6, seed=1)
    labels = (rows[:, 0] * rows[:, 1] > 0).astype(np.float32)
    model = train(rows, labels, k=5, predictor_type="classifier", index_metric=metric)
    between = [distances(part, rows, metric) for part in (rows, queries)]
    least = min(part.min() for part in between)  # scikit-learn takes no negative distances
    oracle = KNeighborsClassifier(5, metric="precomputed").fit(between[0] - least, labels)
    assert np.array_equal(predicted(model, queries), oracle.predict(between[1] - least))


@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_means_are_scikit_learns(metric):
    rows, queries = normal(500, 6), normal(300, 6, seed=1)
    labels = rows[:, 0] ** 2 + rows[:, 1]
    measure = {"L2": "euclidean", "COSINE": "cosine"}[metric]
    oracle = KNeighborsRegressor(4, algorithm="brute", metric=measure).fit(rows.astype(float), labels)
    found = predicted(train(rows, labels, k=4, index_metric=metric), queries)
    np.testing.assert_allclose(found, oracle.predict(queries.astype(float)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT"])
@pytest.mark.parametrize("batch", BATCHES)
def test_integers_are_exact(metric, batch):
    random = np.random.default_rng(2)
    rows, queries = (random.integers(-50, 50, (n, 10)).astype(np.float32) for n in (700, batch))
    found, labels = neighbours(train(rows, k=9, index_metric=metric), queries)
    wanted, _ = nearest(queries, rows, 9, metric)
    assert np.array_equal(found, wanted)
    there = np.take_along_axis(distances(queries, rows, metric), labels.astype(int), axis=1)
    assert np.array_equal(there, wanted)


def grid():
    """Each of 125 points eight times: every distance is held by many rows, and the k-th by more than have room."""
    points = np.stack(np.meshgrid(*[np.arange(5)] * 3), axis=-1).reshape(-1, 3)
    return np.tile(points, (8, 1)).astype(np.float32)


def far_and_narrow():
    """At 1e4, steps of 1/8: squared norms are 5e9, squared distances from 1/64."""
    return (1e4 + np.random.default_rng(3).integers(0, 40, (900, 12)) / 8).astype(np.float32)


def of_all_lengths():
    """A few rows are a million times as long as the others, and integers still."""
    rows = np.random.default_rng(4).integers(-9, 10, (900, 6)).astype(np.float32)
    rows[::50] *= 2**17
    return rows


def all_alike():
    return np.full((600, 5), 1e4 + 1 / 8, np.float32)


def nearly_alike():
    rows = all_alike()
    rows[np.arange(0, 600, 7), 2] += 1 / 8
    return rows


HARD = [grid, far_and_narrow, of_all_lengths, all_alike, nearly_alike]


@pytest.mark.parametrize("make", HARD)
@pytest.mark.parametrize("k", [1, 10])
def test_values_that_matrix_products_round_away(make, k):
    """All these distances are whole multiples of 1/64 that float32 holds: they must be so to the last bit."""
    rows = make()
    random = np.random.default_rng(5)
    queries = rows[random.integers(0, len(rows), 500)].copy()
    queries[::3] += random.integers(-2, 3, queries[::3].shape) / 8
    found, labels = neighbours(train(rows, k=k), queries)
    wanted, _ = nearest(queries, rows, k)
    near = wanted < 2**17  # beyond, float32 need not hold the sum
    assert np.array_equal(found[near], wanted.astype(np.float32)[near])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    there = np.take_along_axis(distances(queries, rows), labels.astype(int), axis=1)
    np.testing.assert_allclose(there, wanted, rtol=1e-6)
    assert all(len(set(row)) == k for row in labels.tolist())


CASES = [
    *[("L2", make) for make in (lambda: normal(800, 16), lambda: normal(800, 16, scale=1e-2, offset=1e4), *HARD)],
    ("INNER_PRODUCT", lambda: normal(800, 16)),
    ("INNER_PRODUCT", grid),  # the others' products are beyond the digits of float32
    ("COSINE", lambda: normal(800, 16)),
]


@pytest.mark.parametrize(("metric", "make"), CASES)
def test_the_answers_do_not_depend_on_the_batch(metric, make):
    """Labels and distances, those of equally near rows too: the first rows of 5,000, asked in batches of all sizes."""
    rows = make()
    model = train(rows, k=6, index_metric=metric)
    queries = np.tile(rows[::-1], (-(-5000 // len(rows)), 1))[:5000].copy()
    queries[::2, 0] += 1 / 8
    whole, labels = neighbours(model, queries)
    for size in BATCHES[:-1]:
        found = [neighbours(model, queries[start : start + size]) for start in range(0, min(300, 3 * size), size)]
        n = sum(len(part) for part, _ in found)
        np.testing.assert_allclose(np.concatenate([part for part, _ in found]), whole[:n], rtol=1e-6, atol=1e-6)
        assert np.array_equal(np.concatenate([part for _, part in found]), labels[:n]), size


def test_a_row_of_the_index_is_nearest_to_itself():
    """In one row or many: at distance 0, not at what a matrix product leaves of it."""
    rows = normal(2000, 54, scale=3, offset=2500)
    model = train(rows, k=2)
    for queries in (rows[:1], rows):
        found, labels = neighbours(model, queries)
        assert not found[:, 0].any()
        assert np.array_equal(labels[:, 0], np.arange(len(queries)))


def test_rows_of_zeros_are_similar_to_none():
    """Their cosine similarity is 0 to every row, their distance 1."""
    rows = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    model = train(rows, k=3, index_metric="COSINE")
    distances_, labels = neighbours(model, [[5, 0], [0, 0]])
    np.testing.assert_allclose(distances_, [[0, 1, 2], [1, 1, 1]], atol=1e-6)
    assert labels[0].tolist() == [1, 0, 2]


def test_as_many_neighbours_as_rows():
    rows, queries = normal(37, 3), normal(400, 3, seed=1)
    assert_nearest(neighbours(train(rows, k=37), queries), queries, rows, atol=1e-5)


@pytest.fixture
def two_threads():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    yield
    faiss.omp_set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_faiss_compares_one_query_with_few_rows_in_pairs():
    """And shares out a matrix product of many rows among threads, which far from 0 leaves nothing of a distance."""
    rows = np.tile(far_and_narrow(), (30, 1))
    for n, exact in ((SHARED, True), (len(rows), False)):
        index = faiss.IndexFlatL2(12)
        index.add(rows[:n])
        wanted = distances(rows[:1] + 1 / 8, rows[:n])[0]
        raw, numbers = found(index, rows[:1] + np.float32(1 / 8), 3, None)
        assert np.array_equal(raw[0], wanted[numbers[0]]) == exact
        ours, numbers = FlatSearch(index)(rows[:1] + np.float32(1 / 8), 3)
        assert np.array_equal(ours[0], np.sort(wanted)[:3])
        assert numbers[0].tolist() == np.argsort(wanted, kind="stable")[:3].tolist()
