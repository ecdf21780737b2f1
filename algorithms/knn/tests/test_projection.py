"""Dimension reduction keeps distances and inner products, as Johnson and Lindenstrauss promise.

Rows of the identity matrix are projected to the rows of the projection's own matrix, which the index then holds.
"""

import json

import faiss
import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import hadamard

from algorithms.knn.tests.oracle import distances
from algorithms.knn.tests.streams import algorithm, neighbours, train

both = pytest.mark.parametrize("kind", ["sign", "fjlt"])
WIDTH, TARGET = 500, 200


def reduced(kind, target, **given):
    return {"dimension_reduction_type": kind, "dimension_reduction_target": target, **given}


def matrix(folder, d, kind, target, **given):
    """The projection's matrix (d, target)."""
    train(np.eye(d, dtype=np.float32), **reduced(kind, target, **given)).save(folder)
    index = faiss.read_index(str(folder / "model_algo-1"))
    return index.reconstruct_n(0, d)


def to_all_rows(model, queries, n):
    """Distances (n_queries, n) by row number, of a model whose k is all its rows."""
    found, labels = neighbours(model, queries)
    by_row = np.empty((len(found), n))
    np.put_along_axis(by_row, labels.astype(int), found.astype(np.float64), axis=1)
    return by_row


def rows_of(kind, n=60, seed=0):
    """Gaussian rows, or the hardest for a sampled transform: rows of a single feature."""
    random = np.random.default_rng(seed)
    if kind == "single":
        rows = np.zeros((n, WIDTH), np.float32)
        rows[np.arange(n), random.permutation(WIDTH)[:n]] = random.normal(size=n)
        return rows
    return random.normal(size=(n, WIDTH)).astype(np.float32)


@both
@pytest.mark.parametrize("data", ["normal", "single"])
def test_distances_are_kept(kind, data):
    """Standard deviation of the ratio is at most sqrt(2 / target) = 0.1: no pair of 3,600 is off by five of them."""
    rows, queries = rows_of(data), rows_of(data, seed=1)
    found = to_all_rows(train(rows, k=60, **reduced(kind, TARGET)), queries, 60)
    ratio = found / distances(queries, rows)
    assert abs(ratio - 1).max() < 5 * (2 / TARGET) ** 0.5
    assert abs(ratio.mean() - 1) < 0.05


@both
def test_inner_products_are_kept(kind):
    rows, queries = rows_of("normal"), rows_of("normal", seed=1)
    rows[:30] += queries[:30]  # or they would all be near zero
    found = -to_all_rows(train(rows, k=60, index_metric="INNER_PRODUCT", **reduced(kind, TARGET)), queries, 60)
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(rows, axis=1)
    error = (found + distances(queries, rows, "INNER_PRODUCT")) / lengths
    assert abs(error).max() < 5 * (2 / TARGET) ** 0.5
    assert abs(error.mean()) < 0.01


@both
def test_seeds_draw_matrices_without_bias(tmp_path, kind):
    """The squared length of a row, mean over 200 seeds: 1 within four standard errors of sqrt(2 / 8 / 200)."""
    row = np.random.default_rng(0).normal(size=(1, 20)).astype(np.float32)
    lengths = []
    for seed in range(200):
        model = train(row, k=1, seed=seed, **reduced(kind, 8))
        lengths.append(neighbours(model, np.zeros((1, 20)))[0].item())
    assert np.mean(lengths) / (row**2).sum() == pytest.approx(1, abs=4 * (2 / 8 / 200) ** 0.5)
    assert len(set(lengths)) > 190


def test_signs_are_signs(tmp_path):
    P = matrix(tmp_path, 300, "sign", 100)
    assert np.array_equal(np.unique(P), np.float32([-0.1, 0.1]))
    assert abs((P > 0).mean() - 0.5) < 4 * 0.5 / 30000**0.5
    assert abs(P @ P.T - np.eye(300)).max() < 0.6  # no two rows are alike: correlations have deviation 0.1
    assert abs(P.T @ P / 3 - np.eye(100)).max() < 0.35


@pytest.mark.parametrize(("d", "target"), [(2, 1), (3, 2), (8, 5), (9, 8), (64, 63), (100, 30), (129, 100), (256, 40)])
def test_fjlt_is_columns_of_a_hadamard_matrix_with_the_rows_signs_drawn(tmp_path, d, target):
    """P = D H S sqrt(padded / target) / sqrt(padded): the first row of H is all ones, so that column by column is H."""
    P = matrix(tmp_path, d, "fjlt", target) * np.sqrt(target)
    np.testing.assert_allclose(abs(P), 1, rtol=1e-6)
    assert P.shape == (d, target)
    signs = np.sign(P)
    padded = 1 << (d - 1).bit_length()
    H = hadamard(padded)[:d]
    assert (signs[0] == signs[0, 0]).all()
    column = {tuple(H[:, j] * H[0, 0]): j for j in range(padded)}
    between = [column.get(tuple((signs[:, 0] * signs[:, j]).astype(int))) for j in range(target)]
    assert None not in between  # the product of two Walsh functions is one of them
    assert len(set(between)) == target  # each is drawn once
    if d > 50:  # the rows' signs are no Walsh function, and not all equal
        assert tuple((signs[:, 0] * signs[0, 0]).astype(int)) not in column


@both
def test_the_answers_are_those_of_the_matrix(tmp_path, kind):
    """Rows and queries are projected by the same matrix, which is the seed's whatever the rows are."""
    P = matrix(tmp_path, 40, kind, 13).astype(np.float64)
    random = np.random.default_rng(0)
    rows, queries = (random.normal(size=(n, 40)).astype(np.float32) for n in (80, 30))
    found = to_all_rows(train(rows, k=80, **reduced(kind, 13)), queries, 80)
    np.testing.assert_allclose(found, distances(queries @ P, rows @ P), rtol=1e-4, atol=1e-4)


@both
def test_sparse_is_dense(kind):
    random = np.random.default_rng(0)
    rows, queries = ((random.normal(size=(90, 70)) * (random.random((90, 70)) < 0.1)).astype(np.float32) for _ in "ab")
    dense = train(rows, k=90, mini_batch_size=40, **reduced(kind, 20))
    thin = train(sparse.csr_array(rows), k=90, mini_batch_size=40, **reduced(kind, 20))
    wanted = to_all_rows(dense, queries, 90)
    for model, asked in ((dense, sparse.csr_array(queries)), (thin, queries), (thin, sparse.csr_array(queries))):
        np.testing.assert_allclose(to_all_rows(model, asked, 90), wanted, rtol=1e-4, atol=1e-4)


@both
def test_the_seed_draws_the_matrix(tmp_path, kind):
    found = []
    for i, seed in enumerate((1, 1, 2)):
        (tmp_path / str(i)).mkdir()
        found.append(matrix(tmp_path / str(i), 30, kind, 10, seed=seed))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@both
def test_only_the_matrix_depends_on_the_batch_and_it_does_not(tmp_path, kind):
    found = []
    for size in (1, 7, 1000):
        (tmp_path / str(size)).mkdir()
        found.append(matrix(tmp_path / str(size), 30, kind, 10, mini_batch_size=size))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-6)


@both
@pytest.mark.parametrize(
    ("d", "target", "m", "raised", "padded"), [(50, 10, 4, 12, 12), (50, 12, 4, 12, 12), (16, 15, 12, 15, 24)]
)
def test_the_target_is_raised_for_packed_rows(tmp_path, kind, d, target, m, raised, padded):
    """To a multiple of pq_m, as the guide says; not beyond the features, then zeros are added."""
    rows = np.random.default_rng(0).normal(size=(300, d)).astype(np.float32)
    given = reduced(kind, target, index_type="faiss.IVFPQ", faiss_index_pq_m=m)
    model = train(rows, k=3, **given)
    model.save(tmp_path)
    assert faiss.read_index(str(tmp_path / "model_algo-1")).d == padded
    described = json.loads((tmp_path / "model_algo-1.json").read_text())["dimension_reduction"]
    assert (described["target_dim"], described["input_dim"]) == (raised, d)
    found, _ = neighbours(model, rows[:20])
    again, _ = neighbours(algorithm.load(tmp_path), rows[:20])
    assert np.array_equal(found, again)


@both
def test_a_loaded_model_projects_the_same(tmp_path, kind):
    rows = rows_of("normal")
    model = train(rows, k=5, seed=9, **reduced(kind, TARGET))
    model.save(tmp_path)
    loaded = algorithm.load(tmp_path)
    assert loaded.width == model.width == WIDTH
    for before, after in zip(neighbours(model, rows), neighbours(loaded, rows), strict=True):
        assert np.array_equal(before, after)
