"""Rows shared out among threads: each once, the same sums as in one thread, and a BLAS that is left as it was."""

import threading

import numpy as np
import pytest

from algorithms import threads
from algorithms.cluster import Cluster
from algorithms.pca import covariance, sketch
from algorithms.pca.covariance import Covariance
from algorithms.pca.model import PCAModel
from algorithms.pca.sketch import Sketch
from formats import Batch

MANY = threads.WORTH  # multiplications for a row: even one is worth a thread


@pytest.fixture
def number():
    """`number()`: of BLAS's threads now. It is two at the start of the test."""
    blas = threads._blas()
    with blas.limit(limits=2):  # that of faiss, which other tests load, counts by OpenMP: each thread for itself
        yield lambda: {each["num_threads"] for each in blas.info() if each.get("threading_layer") != "openmp"}


@pytest.mark.parametrize(("rows", "count"), [(10, 1), (10, 3), (2, 3), (0, 2)])
def test_each_row_once_and_in_order(rows, count):
    parts = threads.shared(lambda i, part: (i, list(range(rows))[part]), rows, MANY, count)
    assert [row for _, some in parts for row in some] == list(range(rows))
    assert [i for i, _ in parts] == list(range(len(parts)))
    assert len(parts) == (count if rows else 1)


def test_threads_meet_in_the_middle_of_their_work_and_blas_has_none_of_its_own(number):
    barrier = threading.Barrier(3, timeout=20)

    def work(_, rows):
        barrier.wait()
        return number()

    assert threads.shared(work, 3, MANY, 3) == [{1}] * 3
    assert number() == {2}


def test_little_work_starts_no_thread(number):
    here = threading.get_ident()
    assert threads.shared(lambda *_: (threading.get_ident(), number()), 10, 1, 3) == [(here, {1})]
    assert threads.shared(lambda *_: (threading.get_ident(), number()), 10, MANY, 1) == [(here, {2})]


def test_a_fault_in_a_thread_is_raised_and_blas_is_left_as_it_was(number):
    def work(i, _):
        if i == 1:
            raise ValueError("of the second")

    with pytest.raises(ValueError, match="of the second"):
        threads.shared(work, 4, MANY, 2)
    assert number() == {2}


def test_large_sums_are_left_to_the_threads_of_blas(monkeypatch):
    monkeypatch.setattr(threads, "_blas_threads", lambda: 8)
    assert [threads.threads_for(size) for size in (0, 1, 2**21, 2**21 + 1, 2**30)] == [8, 8, 8, 1, 1]


@pytest.fixture
def rows():
    """1,500 rows of 300 columns around 1,000, in two blocks of which the first is worth three threads."""
    random = np.random.default_rng(0)
    return (1000 + random.normal(size=(1500, 300)) * np.linspace(0.1, 9, 300)).astype(np.float32)


@pytest.mark.parametrize("kind", ["covariance", "sketch"])
def test_sums_are_those_of_one_thread(monkeypatch, rows, kind):
    found = []
    for count in (1, 3, 3):
        for module in (covariance, sketch):
            monkeypatch.setattr(module, "threads_for", lambda _, count=count: count)
        shift = np.full(300, 1000.0)
        summary = Covariance(shift, centred=True) if kind == "covariance" else Sketch(shift, 40, 0, centred=True)
        for block in (rows[:1400], rows[1400:]):
            summary.add(block)
        summary.merge(Cluster())
        sums = np.tril(summary.products) if kind == "covariance" else summary.sketch
        found.append((sums, summary.sums, summary.mean()))
    for one, three, again in zip(*found, strict=True):
        np.testing.assert_allclose(three, one, rtol=1e-12, atol=1e-12 * np.abs(one).max())
        assert three.tobytes() == again.tobytes()


def test_answers_are_those_of_one_thread(monkeypatch, rows):
    random = np.random.default_rng(1)
    v = np.linalg.qr(random.normal(size=(300, 80)))[0].astype(np.float32)
    model = PCAModel(rows[:1], v, np.ones(80, np.float32))
    one, three = [], []
    for count, answers in ((1, one), (3, three)):
        monkeypatch.setattr("algorithms.pca.model.threads_for", lambda _, count=count: count)
        answers.append(model.predict(Batch(rows))["projection"])
    wanted = (rows.astype(np.float64) - rows[0].astype(np.float64)) @ v.astype(np.float64)
    np.testing.assert_allclose(three[0], wanted, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(one[0], three[0], rtol=1e-6, atol=1e-5)
