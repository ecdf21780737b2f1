"""The code for a GPU, on a CuPy that forwards to NumPy: the same components as on the CPU, nothing waited for."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import algorithms
from algorithms.cluster import Cluster
from algorithms.device import CPU, Device
from algorithms.pca.covariance import Covariance
from algorithms.pca.fit import fit
from algorithms.pca.model import PCAModel
from algorithms.pca.sketch import Sketch
from formats import Batch

D = 80


def rows_of(n, d=D, seed=0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, d)) * 0.9 ** np.arange(d) + 5).astype(np.float32)


@pytest.mark.parametrize("settings", [{}, {"subtract_mean": "false"}, {"algorithm_mode": "randomized"}])
def test_a_job_gives_the_same_model(make_job, configure, cupy, settings):
    X = rows_of(3000)
    h = configure(num_components=5, feature_dim=D, mini_batch_size=500, **settings)
    on_cpu, on_gpu = fit(make_job(X), h), fit(make_job(X), h, Device(cupy, 1))
    assert (on_gpu.device.gpus, on_cpu.device) == (1, CPU)
    for name in ("mean", "v", "s"):
        assert isinstance(getattr(on_gpu, name), np.ndarray)
        np.testing.assert_allclose(getattr(on_gpu, name), getattr(on_cpu, name), rtol=1e-4, atol=1e-5)


def test_the_artifact_knows_no_device(make_job, configure, cupy, tmp_path: Path):
    X = rows_of(500)
    trained = fit(make_job(X), configure(num_components=3, feature_dim=D, mini_batch_size=100), Device(cupy, 1))
    trained.save(tmp_path)
    on_cpu = PCAModel.load(tmp_path)
    on_gpu = algorithms.find("pca").on_device(on_cpu, Device(cupy, 1))
    here = on_cpu.predict(Batch(X))["projection"]
    for model in (on_gpu, trained):
        np.testing.assert_allclose(model.predict(Batch(X))["projection"], here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["covariance", "sketch"])
def test_a_step_waits_for_nothing(forwarding, kind):
    device, shift = Device(forwarding, 1), np.full(D, 5.0)
    summary = Covariance(shift, centred=True, device=device)
    if kind == "sketch":
        summary = Sketch(shift, 10, 0, centred=True, device=device)
    for batch in device.ahead(Batch(rows_of(100, seed=seed)) for seed in range(20)):
        summary.add(batch.features)
    assert forwarding.waits == 0
    summary.merge(Cluster())
    X = np.concatenate([rows_of(100, seed=seed) for seed in range(20)]).astype(np.float64)
    np.testing.assert_allclose(summary.mean(), X.mean(axis=0), rtol=1e-12)


def test_columns_of_very_different_scales_are_as_exact_as_on_the_cpu(make_job, configure, cupy):
    """A GPU's eigenvectors are as good as LAPACK's, which these columns are too much for."""
    random = np.random.default_rng(1)
    X = (random.normal(size=(500, 4)) * [1e6, 1, 1e-3, 1e-5]).astype(np.float32)
    h = configure(num_components=4, feature_dim=4, mini_batch_size=100)
    on_cpu, on_gpu = fit(make_job(X), h), fit(make_job(X), h, Device(cupy, 1))
    np.testing.assert_allclose(on_gpu.s, on_cpu.s, rtol=1e-4)
    np.testing.assert_allclose(on_gpu.v, on_cpu.v, rtol=1e-4, atol=1e-6)


def test_sparse_rows_stay_on_the_cpu(make_job, configure, cupy, lines):
    X = sparse.csr_array(rows_of(300) * (np.random.default_rng(1).random((300, D)) > 0.9))
    model = fit(make_job(X), configure(num_components=3, feature_dim=D, mini_batch_size=100), Device(cupy, 1))
    assert model.device == CPU
    assert lines.count("The data are sparse: they are computed with on the CPU. The GPU is for dense data.") == 1


def test_a_matrix_too_large_for_the_gpu_is_computed_on_the_cpu(make_job, configure, forwarding, lines, monkeypatch):
    monkeypatch.setenv("FORWARDED_MEMORY", "1000")
    h = configure(num_components=3, feature_dim=D, mini_batch_size=100)
    assert fit(make_job(rows_of(300)), h, Device(forwarding, 1)).device == CPU
    assert any("of the GPU's memory, 0.0 are free: the CPU computes." in line for line in lines)
