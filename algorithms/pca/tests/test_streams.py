"""What must not matter: mini-batches, files and their order, how rows are sorted, dense or sparse."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.pca.fit import fit
from algorithms.pca.tests.subspace import FLOAT32, angle, check_form, components, of_low_rank

both_modes = pytest.mark.parametrize("mode", ["regular", "randomized"])


@pytest.fixture
def train(make_job, configure):
    """`train([rows, ...], n, ...)`: the model of a job with a file for each array."""

    def model(parts, n, **given):
        found = fit(make_job(*parts), configure(feature_dim=parts[0].shape[1], num_components=n, **given))
        check_form(found, parts[0].shape[1], n)
        return found

    return model


@pytest.fixture
def rows():
    """1,000 rows of 100 related columns around 3; the sketch of them has 18 random vectors."""
    random = np.random.default_rng(0)
    return (random.normal(size=(1000, 100)) @ random.normal(size=(100, 100)) + 3).astype(np.float32)


def as_bytes(model):
    return model.mean.tobytes() + model.v.tobytes() + model.s.tobytes()


def assert_alike(model, other):
    for name in ("mean", "v", "s"):
        np.testing.assert_allclose(getattr(model, name), getattr(other, name), rtol=1e-6, atol=1e-6, err_msg=name)


@both_modes
def test_mini_batches_do_not_matter(train, rows, mode):
    given = {"n": 8, "algorithm_mode": mode}
    one = as_bytes(train([rows], mini_batch_size=500, **given))
    for size in (1, 7, 1000, 10**6):
        assert as_bytes(train([rows], mini_batch_size=size, **given)) == one


@both_modes
def test_files_do_not_matter(train, rows, mode):
    whole = train([rows], 8, algorithm_mode=mode)
    cut = train(np.split(rows, (1, 44, 44, 900)), 8, algorithm_mode=mode)
    assert as_bytes(cut) == as_bytes(whole)


@both_modes
def test_the_order_of_rows_does_not_matter(train, rows, mode):
    one = train([rows[:300], rows[300:350], rows[350:]], 8, algorithm_mode=mode)
    assert_alike(train([rows[350:], rows[300:350], rows[:300]], 8, algorithm_mode=mode), one)
    sorted_rows = rows[np.argsort(rows[:, 0])]
    assert_alike(train([sorted_rows, rows[:0], rows[:0]], 8, algorithm_mode=mode), one)


@both_modes
@pytest.mark.parametrize("density", [0, 0.01, 0.3, 1])
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_sparse_is_dense(train, mode, density, subtract_mean):
    random = np.random.default_rng(1)
    X = (random.normal(1, 1, size=(700, 90)) * (random.random((700, 90)) < density)).astype(np.float32)
    X *= np.linspace(0.5, 5, 90, dtype=np.float32)
    given = {"n": 5, "algorithm_mode": mode, "subtract_mean": subtract_mean}
    dense, found = train([X], **given), train([sparse.csr_array(X)], **given)
    if density:
        assert_alike(found, dense)
    else:
        assert found.s.tolist() == [0] * 5


@both_modes
def test_a_sparse_row_may_have_no_value_or_zeros(train, rows, mode):
    """Rows without a stored value count as rows, and a stored zero is a zero."""
    X = rows * (np.random.default_rng(2).random(rows.shape) < 0.2)
    X[::3] = 0
    stored = sparse.csr_array((X.ravel(), np.tile(np.arange(100), 1000), np.arange(0, 100_001, 100)), shape=X.shape)
    wanted = train([X], 8, algorithm_mode=mode)
    for kind in (sparse.csr_array(X), stored):
        assert_alike(train([kind], 8, algorithm_mode=mode), wanted)


@both_modes
def test_dense_and_sparse_files_in_one_channel(train, mnist, mode):
    """Some 4,000 rows are read at once: here they are of either kind, and of both."""
    X = np.ascontiguousarray(mnist[0][:, 200:500])
    parts = [X[:7000], X[7000:9500], X[9500:]]
    dense, other = (
        train([kind(part) for kind, part in zip(kinds, parts, strict=True)], 10, algorithm_mode=mode)
        for kinds in ((np.asarray, sparse.csr_array, np.asarray), (sparse.csr_array, np.asarray, sparse.csr_array))
    )
    wanted = train([X, X[:0], X[:0]], 10, algorithm_mode=mode)
    for model in (dense, other):
        assert_alike(model, wanted)


def test_digits_as_sparse_rows(train, mnist):
    X = np.ascontiguousarray(mnist[0][:, 200:500])
    assert_alike(train([sparse.csr_array(X)], 50), train([X], 50))


def drifting(tail):
    """30,000 rows of 80 columns, of rank 13: more than are read at once; `tail` is added to the rows (n, 1)."""
    return (of_low_rank(30_000, 80, 12) + tail(np.arange(30_000)[:, None])).astype(np.float32)


tails = pytest.mark.parametrize(
    "tail",
    [
        lambda i: i // 10 * 10,
        lambda i: np.where(i < 10_000, -1000, 5),
        lambda i: np.where(i < 10_000, 10**6, 10**6 + 100),
        lambda i: 10**6 * (i == 0),
    ],
    ids=[
        "sorted, so that the mean drifts",
        "another mean after the first block",
        "far away, then a step",
        "an outlier",
    ],
)


@both_modes
@tails
def test_first_rows_that_do_not_tell_of_the_others(train, tail, mode):
    rows = drifting(tail)
    s, v = components(rows, 8)
    model = train([rows], 8, algorithm_mode=mode)
    tolerance = 1e-5 if mode == "randomized" else FLOAT32
    assert angle(model.v, v) < tolerance
    np.testing.assert_allclose(model.s, s, rtol=tolerance)
    np.testing.assert_allclose(model.mean[0], rows.mean(axis=0, dtype=np.float64), rtol=1e-6, atol=1e-6)


@both_modes
def test_a_first_block_of_constant_rows(train, mode):
    """Zeros first, as padding; what varies comes last."""
    rows = drifting(lambda i: 50)
    rows[:10_000] = 0
    s, v = components(rows, 13)
    model = train([rows], 13, algorithm_mode=mode)
    np.testing.assert_allclose(model.s, s, rtol=1e-5)
    for n in (1, 5, 13):
        assert angle(model.v[:, -n:], v[:, -n:]) < 1e-5


@both_modes
def test_a_sparse_file_first_and_dense_rows_far_away(train, mode):
    """Sparse rows first: nothing is shifted, and an offset of 1,000 must cost no digit that matters."""
    near = of_low_rank(10_000, 80, 3, seed=1) * (np.arange(80) % 7 == 0)
    far = 1000 + of_low_rank(10_000, 80, 8, seed=2)
    parts = near.astype(np.float32), far.astype(np.float32)
    s, v = components(np.concatenate(parts), 8)
    model = train([sparse.csr_array(parts[0]), parts[1]], 8, algorithm_mode=mode)
    assert angle(model.v, v) < 1e-5
    np.testing.assert_allclose(model.s, s, rtol=1e-5)
