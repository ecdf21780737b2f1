"""dsyrk beside NumPy's product, and what stands in for it."""

import threading

import numpy as np
import pytest

from algorithms.pca import blas


@pytest.fixture(params=["dsyrk", "NumPy"])
def either(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(blas, "SIGNATURE", "of a SciPy to come")
    blas._dsyrk.cache_clear()
    yield
    blas._dsyrk.cache_clear()


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 5), (0, 4), (256, 97)])
def test_products_are_added(either, shape):
    rng = np.random.default_rng(0)
    Z, before = rng.normal(size=shape), rng.normal(size=(shape[1], shape[1]))
    products = before.copy()
    blas.add_products(Z, products)
    np.testing.assert_allclose(np.tril(products), np.tril(before + Z.T @ Z), rtol=1e-13, atol=1e-13)


def test_this_scipy_is_known():
    blas._dsyrk.cache_clear()
    assert blas._dsyrk() is not None


def test_other_threads_go_on_meanwhile():
    """A thread that counts does so while a product is computed, not only between two of them."""
    Z, products, counts, done = np.ones((20_000, 600)), np.zeros((600, 600)), [0], threading.Event()

    def count():
        while not done.is_set():
            counts[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counts[0]
    blas.add_products(Z, products)
    after = counts[0]
    done.set()
    thread.join()
    assert after > before + 1000


def test_arrays_that_blas_cannot_take():
    for Z, products in (
        (np.ones((4, 4))[:, ::2], np.zeros((2, 2))),
        (np.ones((4, 2)), np.zeros((3, 3))),
        (np.ones((4, 2)), np.zeros((4, 4))[::2, ::2]),
    ):
        with pytest.raises(ValueError, match="contiguous"):
            blas.add_products(Z, products)
