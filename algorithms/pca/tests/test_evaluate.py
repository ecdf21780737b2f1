"""The scores of the test channel: by hand, then computed directly in float64."""

import numpy as np
import pytest
from scipy import sparse

import algorithms
from algorithms.pca.fit import evaluate, fit
from algorithms.pca.model import PCAModel
from algorithms.pca.tests.subspace import captured
from formats import Batch

both_kinds = pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
AXIS = PCAModel(np.array([[10, 20]], np.float32), np.array([[1], [0]], np.float32), np.ones(1, np.float32))


@pytest.fixture
def score(make_job, configure):
    """`score(model, batches)`: what `evaluate` says of these arrays, a batch each."""

    def scores(model, *parts, **given):
        given = configure(**{"feature_dim": model.width, "num_components": model.v.shape[1], **given})
        return evaluate(make_job(np.empty((0, model.width))), given, model, (Batch(part) for part in parts))

    return scores


def directly(model, rows):
    """Both scores in float64, from the reconstructions themselves."""
    mean, v = model.mean.astype(np.float64), model.v.astype(np.float64)
    centred = rows.astype(np.float64) - mean
    lost = ((centred - centred @ v @ v.T) ** 2).sum(axis=1)
    return {"reconstruction_error": lost.mean(), "captured_variance": 1 - lost.sum() / (centred**2).sum()}


def test_they_are_declared():
    declared = {(m.channel, m.name): m.direction for m in algorithms.find("pca").metrics}
    assert declared == {("test", "reconstruction_error"): "minimize", ("test", "captured_variance"): "maximize"}


@both_kinds
def test_by_hand(score, kind):
    """From (10, 20) the rows are at (3, 0), (0, 4), (-1, 2): 9 + 1 lie along the axis, 16 + 4 do not."""
    rows = np.array([[13, 20], [10, 24], [9, 22]], np.float32)
    found = score(AXIS, kind(rows[:2]), kind(rows[2:]))
    assert found == {"reconstruction_error": pytest.approx(20 / 3), "captured_variance": pytest.approx(1 / 3)}
    assert {type(value) for value in found.values()} == {float}


@both_kinds
@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("n", [1, 3, 15])
def test_against_the_definition(score, kind, offset, n):
    random = np.random.default_rng(n)
    v = np.linalg.qr(random.normal(size=(15, n)))[0].astype(np.float32)
    mean = (offset + random.normal(size=(1, 15))).astype(np.float32)
    model = PCAModel(mean, v, np.ones(n, np.float32))
    rows = (offset + random.normal(size=(500, 15)) * (random.random((500, 15)) < 0.3)).astype(np.float32)
    found = score(model, *map(kind, np.split(rows, (100, 101, 350))))
    assert found == {name: pytest.approx(value, rel=1e-4, abs=1e-5) for name, value in directly(model, rows).items()}


def test_the_error_of_a_nearly_perfect_reconstruction(score):
    """All but one of 10,000 in the components: a difference of sums in float32 would say anything, even less than 0."""
    random = np.random.default_rng(4)
    v = np.eye(6, 5, dtype=np.float32)
    rows = (random.normal(size=(400, 6)) * [100, 100, 100, 100, 100, 0.01]).astype(np.float32)
    model = PCAModel(np.zeros((1, 6), np.float32), v, np.ones(5, np.float32))
    wanted = directly(model, rows)
    for kind in (np.asarray, sparse.csr_array):
        assert score(model, kind(rows))["reconstruction_error"] == pytest.approx(
            wanted["reconstruction_error"], rel=0.01
        )


@both_kinds
@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_training_rows_as_test_rows(score, make_job, configure, mnist, mode, kind):
    """What is lost of the rows is what the singular values that were left out add up to."""
    rows = np.ascontiguousarray(mnist[0][:3000, 200:400])
    model = fit(make_job(rows), configure(feature_dim=200, num_components=20, algorithm_mode=mode))
    found = score(model, kind(rows[:2000]), kind(rows[2000:]))
    total = ((rows - rows.mean(axis=0, dtype=np.float64)) ** 2).sum()
    assert found["captured_variance"] == pytest.approx(captured(rows, model.v), rel=1e-5)
    assert found["reconstruction_error"] == pytest.approx((1 - captured(rows, model.v)) * total / 3000, rel=1e-4)
    if mode == "regular":
        assert found["captured_variance"] == pytest.approx((model.s.astype(float) ** 2).sum() / total, rel=1e-5)


@both_kinds
def test_without_the_mean_distances_are_from_zero(score, make_job, configure, kind):
    rows = np.array([[3, 4], [6, 8], [0, 0]], np.float32)
    model = fit(make_job(kind(rows)), configure(feature_dim=2, num_components=1, subtract_mean="false"))
    found = score(model, kind(np.array([[3, 4], [-4, 3]], np.float32)), subtract_mean="false")
    assert found == {"reconstruction_error": pytest.approx(12.5), "captured_variance": pytest.approx(0.5)}


@both_kinds
def test_rows_that_are_all_the_mean(score, kind):
    """Nothing varies, and nothing is lost: all of it is captured."""
    found = score(AXIS, kind(np.tile(AXIS.mean, (5, 1))))
    assert found == {"reconstruction_error": 0, "captured_variance": 1}


def test_all_components_capture_everything(score):
    rows = np.random.default_rng(5).normal(size=(50, 4)).astype(np.float32)
    model = PCAModel(np.zeros((1, 4), np.float32), np.eye(4, dtype=np.float32), np.ones(4, np.float32))
    found = score(model, rows)
    assert found == {"reconstruction_error": pytest.approx(0, abs=1e-9), "captured_variance": pytest.approx(1)}
    assert found["reconstruction_error"] >= 0
    assert found["captured_variance"] <= 1
