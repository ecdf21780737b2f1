"""The code for a GPU, on NumPy and on a CuPy that forwards to it: the same centers as on the CPU, no waiting."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import algorithms
from algorithms.device import CPU, Device
from algorithms.errors import UserError
from algorithms.kmeans.fit import REPORT_EVERY, State, evaluate, fit, run_epoch, summarise
from algorithms.kmeans.model import KMeansModel
from algorithms.kmeans.on_device import Centers
from formats import Batch


def rows_of(n, d=6, seed=0):
    random = np.random.default_rng(seed)
    corners = 9 * random.normal(size=(5, d))
    return (corners[random.integers(0, 5, n)] + random.normal(size=(n, d)) + 20).astype(np.float32)


def test_a_batch_by_hand():
    C = np.array([[0, 0], [4, 0], [9, 9]], np.float32)
    X = np.array([[1, 0], [0, 2], [4, 1]], np.float32)
    share = Centers(np, C).summarise(X)
    assert share[:-1].tolist() == [[1, 2, 2], [4, 1, 1], [0, 0, 0]]
    assert share[-1].tolist() == [0, 0, 1 + 4 + 1]


@pytest.mark.parametrize("n", [1, 63, 1000])
def test_a_batch_adds_what_it_adds_on_the_cpu(n):
    X = rows_of(n)
    C = X[: min(n, 40)] + np.float32(0.1)
    np.testing.assert_allclose(Centers(np, C).summarise(X), summarise(X, C), rtol=1e-5, atol=1e-4)


def test_no_rows_add_nothing():
    assert not Centers(np, rows_of(4)).summarise(np.empty((0, 6), np.float32)).any()


def test_values_beyond_float32_are_seen():
    X = rows_of(50)
    X[7] = 3e38
    assert np.isnan(Centers(np, rows_of(4)).summarise(X)[-1, -1])
    known = np.isfinite(Centers(np, rows_of(4)).nearest(X)[1])
    assert np.flatnonzero(~known).tolist() == [7]


def test_sums_beyond_float32_are_seen():
    X = np.full((50, 6), 3e38, np.float32)  # the rows are alike, and so their distances are known
    with np.errstate(over="ignore"):
        assert np.isnan(Centers(np, X[:1]).summarise(X)[-1, -1])


def test_a_job_gives_the_same_model(make_job, configure, cupy):
    h = configure(k=4, feature_dim=6, mini_batch_size=100, half_life_time_size=300, epochs=2)
    X = rows_of(1550)
    on_cpu, on_gpu = fit(make_job(X), h), fit(make_job(X), h, Device(cupy, 1))
    assert isinstance(on_gpu.centers, np.ndarray)
    assert (on_gpu.device.gpus, on_cpu.device) == (1, CPU)
    np.testing.assert_allclose(on_gpu.centers, on_cpu.centers, rtol=1e-4)


def test_the_artifact_knows_no_device(make_job, configure, cupy, tmp_path: Path):
    X = rows_of(500)
    trained = fit(make_job(X), configure(k=4, feature_dim=6), Device(cupy, 1))
    trained.save(tmp_path)
    on_cpu = KMeansModel.load(tmp_path)
    on_gpu = algorithms.find("kmeans").on_device(on_cpu, Device(cupy, 1))
    assert on_cpu.device == CPU
    for name, column in on_cpu.predict(Batch(X)).items():
        for model in (on_gpu, trained):
            other = model.predict(Batch(X))[name]
            assert other.dtype == column.dtype
            np.testing.assert_allclose(other, column, rtol=1e-4)


def test_a_step_waits_for_nothing(make_job, configure, forwarding):
    """Only the log's line asks the device, once for REPORT_EVERY steps."""
    X, h = rows_of(4 * REPORT_EVERY * 10), configure(k=4, feature_dim=6, mini_batch_size=10)
    batches = [Batch(X[start : start + 10]) for start in range(0, len(X), 10)]
    state = State.starting_at(X[:8].copy(), Device(forwarding, 1))
    forwarding.waits = 0
    run_epoch(make_job(X), h, state, iter(batches))
    assert forwarding.waits == 4
    copied = [size for size, stream in forwarding.copies if stream is not None]
    assert copied[-len(batches) :] == [60] * len(batches)


def test_too_large_values_are_the_users(make_job, configure, cupy):
    X = rows_of(300)
    X[200] = 3e38
    with pytest.raises(UserError, match="too large"):
        fit(make_job(X), configure(k=2, feature_dim=6, mini_batch_size=50), Device(cupy, 1))
    model = KMeansModel(rows_of(3), Device(cupy, 1))
    with pytest.raises(UserError, match="too large"):
        model.predict(Batch(X))


def test_sparse_rows_stay_on_the_cpu(make_job, configure, cupy, lines):
    X = sparse.csr_array(rows_of(300) * (rows_of(300, seed=1) > 20))
    model = fit(make_job(X), configure(k=3, feature_dim=6), Device(cupy, 1))
    assert model.device == CPU
    assert lines.count("The data are sparse: they are computed with on the CPU. The GPU is for dense data.") == 1


def test_a_gpu_without_room_leaves_it_to_the_cpu(make_job, configure, forwarding, lines, monkeypatch):
    monkeypatch.setenv("FORWARDED_MEMORY", "1000")
    h = configure(k=3, feature_dim=6)
    here, there = (fit(make_job(rows_of(300)), h, device) for device in (CPU, Device(forwarding, 1)))
    assert here.centers.tobytes() == there.centers.tobytes()
    assert (there.device, forwarding.copies, forwarding.waits) == (CPU, [], 0)
    assert lines.count("A step with 30 centers needs 0.0 GiB of the GPU's memory, 0.0 are free: the CPU computes.") == 1


def test_the_test_channel(make_job, configure, cupy):
    X, C = rows_of(400), rows_of(5, seed=3)
    h = configure(k=5, feature_dim=6, eval_metrics='["msd", "ssd"]')
    here = evaluate(make_job(X), h, KMeansModel(C), iter([Batch(X)]))
    there = evaluate(make_job(X), h, KMeansModel(C, Device(cupy, 1)), iter([Batch(X)]))
    assert there == pytest.approx(here, rel=1e-5)
