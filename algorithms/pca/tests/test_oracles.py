"""Regular mode beside LAPACK and scikit-learn in float64: on real digits, then on data that lose digits easily."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from algorithms.pca.fit import fit
from algorithms.pca.tests.subspace import FLOAT32, angle, check_form, components, naive


@pytest.fixture
def train(make_job, configure):
    """`train(rows, n, ...)`: the model of a job with one file."""

    def model(rows, n, **given):
        found = fit(make_job(rows), configure(feature_dim=rows.shape[1], num_components=n, **given))
        check_form(found, rows.shape[1], n)
        return found

    return model


def full_pca(rows, n):
    """scikit-learn's exact PCA in float64: singular values (n,) and components (d, n), the greatest last."""
    pca = PCA(n, svd_solver="full").fit(np.asarray(rows, np.float64))
    return pca.singular_values_[::-1], pca.components_[::-1].T


@pytest.fixture(scope="module")
def digits(mnist):
    """All components of the digits that are not constant: 668 of 784."""
    s, v = full_pca(mnist[0], 784)
    rank = int((s > 1e-9 * s[-1]).sum())
    return s[-rank:], v[:, -rank:]


@pytest.mark.parametrize("n", [1, 10, 50, 300])
def test_digits(train, mnist, digits, n):
    model = train(mnist[0], n)
    assert angle(model.v, digits[1][:, -n:]) < FLOAT32
    np.testing.assert_allclose(model.s, digits[0][-n:], rtol=FLOAT32)
    np.testing.assert_allclose(model.mean[0], mnist[0].mean(axis=0, dtype=np.float64), atol=1e-7)


def test_every_component_of_the_digits(train, mnist, digits):
    """Pixels that are never lit have no variance: their directions are the last, with s = 0."""
    model, rank = train(mnist[0], 784), len(digits[0])
    assert rank < 784
    assert angle(model.v[:, -rank:], digits[1]) < FLOAT32
    np.testing.assert_allclose(model.s[-rank:], digits[0], rtol=1e-5, atol=FLOAT32 * digits[0][-1])
    np.testing.assert_allclose(model.s[:-rank], 0, atol=FLOAT32 * digits[0][-1])


def test_digits_without_taking_the_mean_out(train, mnist):
    """As a truncated SVD of the rows themselves."""
    s, v = components(mnist[0], 50, subtract_mean=False)
    for n in (1, 50):
        model = train(mnist[0], n, subtract_mean="false")
        assert angle(model.v, v[:, -n:]) < FLOAT32
        np.testing.assert_allclose(model.s, s[-n:], rtol=FLOAT32)
        assert not model.mean.any()


def ill_scaled(offset):
    """4,000 rows of 40 related columns with scales from 1e-3 to 1e6, each `offset` of its scales away from 0."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(4000, 40))
    rows[:, 1:] += 0.7 * rows[:, :-1]
    rows *= random.permutation(np.logspace(-3, 6, 40))
    return (rows + offset * rows.std(axis=0) * random.choice([-1, 1], 40)).astype(np.float32)


@pytest.mark.parametrize("offset", [0, 1e3, 1e5])
def test_columns_of_very_different_scales(train, offset):
    """The greatest eigenvalue is 1e18 times the least. Measured: scikit-learn is right to 1e-8 at 39 of 40."""
    rows = ill_scaled(offset)
    s, v = full_pca(rows, 40)
    for n in (1, 5, 10, 20, 30, 39, 40):
        model = train(rows, n)
        assert angle(model.v, v[:, -n:]) < FLOAT32, n
        np.testing.assert_allclose(model.s, s[-n:], rtol=FLOAT32)
        one_by_one = 1 - np.abs((model.v * v[:, -n:]).sum(axis=0))
        assert one_by_one.max() < FLOAT32


def test_naive_sums_fail_on_columns_of_very_different_scales():
    """What the test above is worth: naive sums are off by 3e-3 radians at 30 of 40, and by more than 1 at 39."""
    for offset in (0, 1e5):
        rows = ill_scaled(offset)
        v = full_pca(rows, 40)[1]
        assert angle(naive(rows, 30), v[:, -30:]) > 1e-4
        assert angle(naive(rows, 39), v[:, -39:]) > 0.1


def far_away():
    """5,000 rows of 10 columns around 1e6 with standard deviations from 1 to 2."""
    random = np.random.default_rng(1)
    return (1e6 + random.normal(size=(5000, 10)) * np.linspace(1, 2, 10)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_offsets_of_a_million(train, n):
    """Naive sums lose 12 of float64's 16 digits here; a shift loses none."""
    rows = far_away()
    s, v = full_pca(rows, n)
    assert angle(naive(rows, n), v) > 1e-4
    model = train(rows, n)
    assert angle(model.v, v) < FLOAT32
    np.testing.assert_allclose(model.s, s, rtol=FLOAT32)
    np.testing.assert_allclose(model.mean[0], rows.mean(axis=0, dtype=np.float64), rtol=1e-7)


def test_offsets_of_a_million_that_stay(train):
    """Without taking the mean out the first component is nearly the mean; the others' eigenvalues are 1e-13 of its."""
    rows = far_away()
    model = train(rows, 10, subtract_mean="false")
    s, v = components(rows, 10, subtract_mean=False)
    assert angle(model.v[:, -1:], v[:, -1:]) < FLOAT32
    assert model.s[-1] == pytest.approx(s[-1], rel=FLOAT32)
    np.testing.assert_allclose(model.s, s, rtol=0.01)  # what a float64 sum of x'x can hold; measured: 1.2e-3


def test_constant_columns_and_columns_twice(train):
    """12 columns of rank 6: two are constant, four are copies of others."""
    random = np.random.default_rng(2)
    basis = random.normal(size=(500, 6)) * [9, 7, 5, 3, 2, 1] + 100
    rows = np.column_stack([basis, np.full((500, 2), -7), basis[:, [0, 1, 1, 5]]]).astype(np.float32)
    s, v = full_pca(rows, 6)
    for n in (4, 6, 12):
        model = train(rows, n)
        assert angle(model.v[:, -6:], v[:, -n:] if n < 6 else v) < FLOAT32
        np.testing.assert_allclose(model.s[-6:], s[-n:], rtol=FLOAT32)
        np.testing.assert_allclose(model.s[:-6], 0, atol=FLOAT32 * s[-1])


def test_columns_of_very_different_scales_and_copies_of_them(train):
    """The least of 40 columns twice, the greatest twice, and one that is constant: rank 40 of 43."""
    rows = ill_scaled(0)
    least, greatest = np.argsort(rows.std(axis=0))[[0, -1]]
    rows = np.column_stack([rows, rows[:, [least, greatest]], np.full(4000, 7, np.float32)])
    s, v = full_pca(rows, 40)
    for n in (10, 40, 43):
        model = train(rows, n)
        assert angle(model.v[:, -40:], v[:, -n:] if n < 40 else v) < FLOAT32
        np.testing.assert_allclose(model.s[-40:], s[-n:], rtol=FLOAT32)
        assert not model.s[:-40].any()


@pytest.mark.parametrize("subtract_mean", [True, False])
def test_fewer_rows_than_features(train, subtract_mean):
    """30 rows of 80 features have 29 components once the mean is out, 30 otherwise."""
    rows = np.random.default_rng(3).normal(size=(30, 80)).astype(np.float32) + 5
    s, v = components(rows, 30, subtract_mean=subtract_mean)
    rank = 29 if subtract_mean else 30
    model = train(rows, 30, subtract_mean=subtract_mean)
    assert angle(model.v[:, -rank:], v[:, -rank:]) < FLOAT32
    np.testing.assert_allclose(model.s, s, rtol=FLOAT32, atol=FLOAT32 * s[-1])


@pytest.mark.parametrize("d", [1, 2, 30])
def test_as_many_components_as_features(train, d):
    rows = np.random.default_rng(4).normal(size=(400, d)).astype(np.float32) * np.linspace(1, 3, d, dtype=np.float32)
    model = train(rows, d)
    s, v = full_pca(rows, d)
    np.testing.assert_allclose(np.abs(model.v.T @ v), np.eye(d), atol=1e-5)
    np.testing.assert_allclose(model.s, s, rtol=FLOAT32)


def test_subnormal_and_tiny_values(train):
    """Squares of 1e-30 are far below float32, and above the least that float64 can hold."""
    rows = np.random.default_rng(5).normal(size=(300, 4)).astype(np.float32) * np.array([1, 2, 3, 4], np.float32)
    model = train(rows * np.float32(1e-30), 2)
    s, v = full_pca(rows, 2)
    assert angle(model.v, v) < FLOAT32
    np.testing.assert_allclose(model.s, s * 1e-30, rtol=1e-5)


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_sparse_rows_with_a_feature_far_off(train, density):
    """It is shifted alone: the others stay sparse, and none is taken for constant."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(3000, 30)) * np.linspace(1, 3, 30) * (random.random((3000, 30)) < density)
    rows[:, 0] += 1e7
    rows = rows.astype(np.float32)
    s, v = full_pca(rows, 5)
    for mode in ("regular", "randomized"):
        model = train(sparse.csr_array(rows), 5, algorithm_mode=mode)
        assert angle(model.v, v) < FLOAT32
        np.testing.assert_allclose(model.s, s, rtol=FLOAT32)


def test_far_from_zero_without_taking_the_mean_out(train):
    """The mean is the first component, 1e7 times as long as the others, which keep their digits."""
    random = np.random.default_rng(0)
    rows = (random.normal(size=(3000, 6)) * np.arange(1, 7) + 1e7).astype(np.float32)
    s, v = components(rows, 4, subtract_mean=False)
    model = train(rows, 4, subtract_mean="false")
    assert angle(model.v, v) < 1e-5
    np.testing.assert_allclose(model.s, s, rtol=1e-5)
