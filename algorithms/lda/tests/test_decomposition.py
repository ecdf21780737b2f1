"""Tensors whose components are known."""

import numpy as np
import pytest

from algorithms.lda.decomposition import alternate, decompose


def planted(weights, vectors):
    return np.einsum("r,ir,jr,kr->ijk", weights, vectors, vectors, vectors)


def found(T, k, **changed):
    settings = {"restarts": 3, "iterations": 1000, "tolerance": 1e-9, "svd_init": True, "stopped": lambda: False}
    return decompose(T, k, random=np.random.default_rng(changed.pop("seed", 0)), **settings | changed)


def test_by_hand():
    # 2 e1 e1 e1 + 5 e2 e2 e2
    T = np.zeros((2, 2, 2))
    T[0, 0, 0], T[1, 1, 1] = 2, 5
    components = found(T, 2)
    assert components.weights == pytest.approx([5, 2])
    assert components.vectors == pytest.approx(np.array([[0, 1], [1, 0]]), abs=1e-9)
    assert components.error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("svd_init", [True, False])
def test_planted_orthogonal_tensor(svd_init):
    random = np.random.default_rng(3)
    vectors = np.linalg.qr(random.normal(size=(8, 8)))[0][:, :6]
    weights = np.array([9.0, 7, 5, 4, 3, 2])
    components = found(planted(weights, vectors), 6, svd_init=svd_init)
    assert components.converged
    assert components.weights == pytest.approx(weights, rel=1e-6)
    assert (components.vectors * vectors).sum(axis=0) == pytest.approx(1)


def test_noise_hardly_moves_it():
    random = np.random.default_rng(5)
    vectors, weights = np.linalg.qr(random.normal(size=(5, 5)))[0], np.array([5.0, 4, 3, 2, 1])
    noise = random.normal(size=(5, 5, 5))
    noise = sum(noise.transpose(p) for p in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
    components = found(planted(weights, vectors) + 0.01 * noise, 5)
    assert components.weights == pytest.approx(weights, abs=0.2)
    assert (components.vectors * vectors).sum(axis=0).min() > 0.99


def test_rank_that_is_not_there_is_weight_zero():
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    components = found(planted([3.0, 2.0], vectors[:, :2]), 4)
    assert np.isfinite(components.vectors).all()
    assert components.error == pytest.approx(0, abs=1e-6)
    T = np.zeros((3, 3, 3))
    nothing = found(T, 3)
    assert nothing.error == 0
    assert np.isfinite(nothing.vectors).all()
    assert not nothing.weights.any()


def test_best_restart_is_kept_and_a_stop_ends_them():
    T = np.random.default_rng(1).normal(size=(4, 4, 4))
    T = (
        T
        + T.transpose(0, 2, 1)
        + T.transpose(1, 0, 2)
        + T.transpose(1, 2, 0)
        + T.transpose(2, 0, 1)
        + T.transpose(2, 1, 0)
    )
    errors = [found(T, 4, restarts=restarts, iterations=100).error for restarts in (1, 3, 6)]
    assert errors == sorted(errors, reverse=True)
    answers = iter([False] * 99 + [True] * 99)  # for the first restart, then for no other
    assert found(T, 4, restarts=6, iterations=100, stopped=lambda: next(answers)).error == errors[0]
    assert found(T, 4, restarts=6, iterations=100, stopped=lambda: True).iterations == 1  # nor for all of the first
    assert found(T, 4, seed=7).error == found(T, 4, seed=7).error


def test_iterations_are_the_most():
    T = planted(np.array([3.0, 2.0]), np.eye(3)[:, :2])
    start = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 2)))[0]
    components = alternate(T, start, 1, 1e-12, lambda: False)
    assert components.iterations == 1
    assert not components.converged
