"""Components that can be found with a pencil, in both modes."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.pca.fit import fit
from algorithms.pca.model import PCAModel
from algorithms.pca.tests.subspace import check_form
from formats import Batch

both_modes = pytest.mark.parametrize("mode", ["regular", "randomized"])
CROSS = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], np.float32)  # sum of x'x: diag(8, 2)


@pytest.fixture
def train(make_job, configure):
    """`train(rows, n, ...)`: the model of a job with one file.

    In randomized mode among 100 columns, all others 0, because so few as here are not worth a sketch. It holds 12
    random vectors or 11, more than there are directions, so that it is exact.
    """

    def model(rows, n, algorithm_mode="regular", **given):
        d = rows.shape[1]
        if algorithm_mode == "randomized":
            zeros = np.zeros((rows.shape[0], 100 - d), np.float32)
            rows = type(rows)(sparse.hstack([rows, zeros])) if sparse.issparse(rows) else np.hstack([rows, zeros])
        given |= {"feature_dim": rows.shape[1], "num_components": n, "algorithm_mode": algorithm_mode}
        found = fit(make_job(rows), configure(**given))
        check_form(found, rows.shape[1], n)
        assert not found.mean[:, d:].any()
        return PCAModel(found.mean[:, :d], found.v[:d], found.s)

    return model


@both_modes
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_a_cross(train, mode, kind):
    """The long arm is the first component, and stands last."""
    model = train(kind(CROSS), 2, algorithm_mode=mode)
    np.testing.assert_allclose(model.mean, [[0, 0]], atol=1e-6)
    np.testing.assert_allclose(model.v, [[0, 1], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(model.s, [2**0.5, 8**0.5], rtol=1e-6)


@both_modes
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_a_cross_elsewhere(train, mode, kind):
    model = train(kind(CROSS + np.array([10, 20], np.float32)), 2, algorithm_mode=mode)
    np.testing.assert_allclose(model.mean, [[10, 20]], rtol=1e-6)
    np.testing.assert_allclose(model.v, [[0, 1], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(model.s, [2**0.5, 8**0.5], rtol=1e-6)
    answer = model.predict(Batch(np.array([[12, 20], [10, 20], [9, 23]], np.float32)))
    np.testing.assert_allclose(answer["projection"], [[0, 2], [0, 0], [3, -1]], atol=1e-5)


@both_modes
@pytest.mark.parametrize(
    ("direction", "wanted"),
    [
        ((3, 4), (0.6, 0.8)),
        ((-3, -4), (0.6, 0.8)),
        ((-4, 3), (0.8, -0.6)),
        ((3, -4), (-0.6, 0.8)),
        ((0, -5), (0, 1)),
    ],
)
def test_the_entry_of_greatest_magnitude_is_positive(train, mode, direction, wanted):
    rows = np.outer([-1, 1, 0], direction).astype(np.float32)
    model = train(rows, 1, algorithm_mode=mode)
    np.testing.assert_allclose(model.v[:, 0], wanted, atol=1e-6)
    np.testing.assert_allclose(model.s, [50**0.5], rtol=1e-6)


@pytest.mark.parametrize(("direction", "wanted"), [((1, -1), (1, -1)), ((-1, 1), (1, -1)), ((-1, -1), (1, 1))])
def test_of_equal_entries_the_first_is_positive(train, direction, wanted):
    model = train(np.outer([-3, 3], direction).astype(np.float32), 1)
    np.testing.assert_allclose(model.v[:, 0], np.array(wanted) / 2**0.5, atol=1e-6)


@both_modes
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_the_mean_is_left_in(train, mode, kind):
    """One row (3, 4), and (0, 0): with the mean the component is the row itself, of length 5; without, half of it."""
    rows = kind(np.array([[3, 4], [0, 0]], np.float32))
    left = train(rows, 1, subtract_mean="false", algorithm_mode=mode)
    assert left.mean.tolist() == [[0, 0]]
    np.testing.assert_allclose(left.v[:, 0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(left.s, [5], rtol=1e-6)
    taken = train(rows, 1, subtract_mean="true", algorithm_mode=mode)
    np.testing.assert_allclose(taken.mean, [[1.5, 2]], rtol=1e-6)
    np.testing.assert_allclose(taken.s, [12.5**0.5], rtol=1e-6)


@both_modes
def test_one_row(train, mode):
    """Without the mean a row is its own component; with it nothing is left, and any direction will do."""
    rows = np.array([[0, 2, 0]], np.float32)
    model = train(rows, 1, subtract_mean="false", algorithm_mode=mode)
    np.testing.assert_allclose(model.v[:, 0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(model.s, [2], rtol=1e-6)
    model = train(rows, 1, algorithm_mode=mode)
    assert model.mean.tolist() == [[0, 2, 0]]
    assert model.s.tolist() == [0]


@both_modes
def test_one_feature(train, mode):
    model = train(np.array([[1], [2], [6]], np.float32), 1, algorithm_mode=mode)
    np.testing.assert_allclose(model.v, [[1]], rtol=1e-6)
    np.testing.assert_allclose(model.mean, [[3]], rtol=1e-6)
    np.testing.assert_allclose(model.s, [14**0.5], rtol=1e-6)


@both_modes
@pytest.mark.parametrize("value", [0, 2.5, 1e6])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_all_rows_alike(train, mode, value, kind):
    """Nothing varies: the components are any orthonormal vectors, and every row is projected to 0."""
    rows = np.full((20, 3), value, np.float32)
    model = train(kind(rows), 2, algorithm_mode=mode)
    np.testing.assert_allclose(model.mean, rows[:1], rtol=1e-6)
    assert model.s.tolist() == [0, 0]
    np.testing.assert_allclose(model.predict(Batch(rows))["projection"], 0, atol=1e-6 * max(1, value))


@both_modes
def test_a_constant_column_has_no_part(train, mode):
    rows = np.column_stack([CROSS[:, 0], np.full(4, 1e6), CROSS[:, 1]]).astype(np.float32)
    model = train(rows, 2, algorithm_mode=mode)
    np.testing.assert_allclose(model.mean, [[0, 1e6, 0]], atol=1e-6)
    np.testing.assert_allclose(model.v, [[0, 1], [0, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(model.s, [2**0.5, 8**0.5], rtol=1e-6)


def test_twice_the_same_column(train):
    """Columns (a, a, b) of the cross: 16 along (1, 1, 0), 2 along b, nothing along (1, -1, 0)."""
    model = train(np.column_stack([CROSS[:, 0], CROSS]), 3)
    half = 0.5**0.5
    np.testing.assert_allclose(model.v, [[half, 0, half], [-half, 0, half], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(model.s, [0, 2**0.5, 4], rtol=1e-6, atol=1e-6)
