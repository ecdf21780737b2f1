"""The steps for a GPU, on a CuPy that forwards to NumPy, beside the steps of the kernel for CPUs."""

import numpy as np
import pytest
from scipy import sparse

import algorithms
from algorithms import device as device_module
from algorithms.cluster import Cluster
from algorithms.device import CPU, Device
from algorithms.errors import UserError
from algorithms.factorization_machines.fit import UNREAD, fit, nonzeros
from algorithms.factorization_machines.hyperparameters import FactorizationMachinesHyperparameters
from algorithms.factorization_machines.learner import Learner
from algorithms.factorization_machines.model import FactorizationMachine
from algorithms.factorization_machines.on_device import DeviceLearner
from formats import Batch
from tests.hosts import on_hosts

N, K = 9, 4
PLAIN = {"feature_dim": N, "num_factors": K, "predictor_type": "regressor", "factors_init_sigma": 0.3}


def settings(**given):
    return FactorizationMachinesHyperparameters.parse({name: str(value) for name, value in (PLAIN | given).items()})


def learners(module, **given):
    h, device = settings(**given), Device(module, 1)
    return Learner(h, np.random.default_rng(0)), DeviceLearner(h, np.random.default_rng(0), device), device


def rows_of(n, seed=0):
    random = np.random.default_rng(seed)
    X = (random.normal(size=(n, N)) * (random.random((n, N)) < 0.6)).astype(np.float32)
    X[:, 4] = 0  # occurs nowhere
    X[0] = 0
    X[1] = np.eye(N)[2]  # alone in its row
    return X, (random.random(n) < 0.5).astype(np.float32)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"predictor_type": "binary_classifier"},
        {"clip_gradient": 0.01, "factors_wd": 0.1, "linear_wd": 0.1},
        {"rescale_grad": 0.05, "eps": 0.001},
        {"use_bias": "false", "use_linear": "false"},
    ],
)
def test_steps_are_those_of_the_cpu(cupy, given):
    here, there, device = learners(cupy, **given)
    for seed, n in enumerate([20, 50, 50, 7]):
        X, y = rows_of(n, seed)
        margins, rows = here.step(Cluster(), nonzeros(X), y)
        others, number = there.step(Cluster(), device.put(X), device.put(y))
        assert number == rows
        np.testing.assert_allclose(device.get(others), margins, rtol=1e-4, atol=1e-5)
    there.fetch()
    for name in ("bias", "linear", "factors"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-4, atol=2e-5, err_msg=name)
    for one, other in zip(here.squares, there.squares, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-9)


def test_a_feature_that_occurs_nowhere_stays_as_it_is(cupy):
    _, there, device = learners(cupy, factors_wd=1, linear_wd=1)
    before = there.factors[4].copy()
    X, y = rows_of(20)
    there.step(Cluster(), device.put(X), device.put(y))
    there.fetch()
    assert np.array_equal(there.factors[4], before)
    assert not np.array_equal(there.factors[3], before)


def test_two_hosts_learn_as_one(cupy):
    """The other host has the same rows: their mean is the same."""
    alone, doubled, device = learners(cupy)
    X, y = rows_of(20)
    alone.step(Cluster(), nonzeros(X), y)
    doubled.step(Cluster(0, 2, lambda array: 2 * array), device.put(X), device.put(y))
    doubled.fetch()
    np.testing.assert_allclose(doubled.factors, alone.factors, rtol=1e-4, atol=1e-5)


def test_no_rows_move_nothing(cupy):
    _, there, device = learners(cupy)
    margins, rows = there.step(Cluster(), device.put(np.empty((0, N), np.float32)), device.put(np.empty(0, np.float32)))
    assert (len(margins), rows, there.steps) == (0, 0, 0)


def test_no_step_waits_for_the_device(forwarding):
    _, there, device = learners(forwarding, predictor_type="binary_classifier")
    X, y = map(device.put, rows_of(20))
    forwarding.waits = 0
    for _ in range(5):
        there.step(Cluster(), X, y)
    assert forwarding.waits == 0


JOB = {"mini_batch_size": 50, "epochs": 3, "linear_lr": 0.02, "factors_lr": 0.02}


def alike(one, other):
    for name in ("factors", "linear", "bias"):
        assert isinstance(getattr(one, name), np.ndarray)
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-4, err_msg=name)


def metrics(lines):
    """The names of the metrics that the log tells, and their values."""
    told = [line.rpartition("=") for line in lines if line.startswith("#quality_metric")]
    return [name for name, _, _ in told], [float(value) for _, _, value in told]


@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
def test_a_job_gives_the_same_model(make_job, cupy, kind, lines):
    rows, h = rows_of(520), settings(predictor_type=kind, **JOB, batch_metrics_publish_interval=4)
    here = fit(make_job(rows), h)
    names, values = metrics(lines)
    lines.clear()
    alike(fit(make_job(rows), h, Device(cupy, 1)), here)
    again, others = metrics(lines)
    assert again == names
    assert len(names) > 9
    np.testing.assert_allclose(others, values, rtol=1e-4)


def test_two_hosts_with_gpus_learn_as_without(make_job, forwarding):
    """One of them has rows for half of the steps, and a share of a mini-batch in the last."""
    X, y = rows_of(390)

    def trained(cluster, device):
        rows = slice(0, 130) if cluster.rank else slice(130, None)
        return fit(make_job((X[rows], y[rows]), cluster=cluster, replicated=False), settings(**JOB), device)

    here, _ = on_hosts(2, lambda cluster: trained(cluster, CPU))
    first, second = on_hosts(2, lambda cluster: trained(cluster, Device(forwarding, 1)))
    assert first.factors.tobytes() == second.factors.tobytes()
    alike(first, here)
    mixed, _ = on_hosts(2, lambda cluster: trained(cluster, Device(forwarding, 1) if cluster.rank else CPU))
    assert mixed.factors.tobytes() == here.factors.tobytes()  # what hosts add must be of one kind


def test_the_host_waits_for_many_steps_at_once(make_job, forwarding):
    """For each mini-batch it fetches one array, but not until UNREAD of them are there."""
    seen, rows = [], rows_of(50 * UNREAD)
    forwarding.stack = lambda arrays, stack=forwarding.stack: seen.append(forwarding.waits) or stack(arrays)
    fit(make_job(rows), settings(**JOB | {"epochs": 1}), Device(forwarding, 1))
    assert len(seen) == UNREAD
    assert set(seen) == {seen[0], seen[0] + 1}  # the first one is reported at once


def test_a_job_that_diverges_says_the_same(make_job, forwarding):
    X, y = rows_of(520)
    X[260:] *= np.float32(1e25)
    told = []
    for device in (CPU, Device(forwarding, 1)):
        with pytest.raises(UserError) as refused:
            fit(make_job((X, y)), settings(**JOB), device)
        told.append(str(refused.value))
    assert told[0] == told[1]
    assert "the loss of mini-batch 5 of epoch 0 was infinite or NaN" in told[0]


@pytest.mark.parametrize("why", ["sparse", "large"])
def test_what_is_not_for_a_gpu_is_computed_on_the_cpu(make_job, forwarding, lines, monkeypatch, why):
    X, y = rows_of(200)
    if why == "sparse":
        X = sparse.csr_array(X)
        said = "The data are sparse: they are computed with on the CPU. The GPU is for dense data."
    else:
        monkeypatch.setenv("FORWARDED_MEMORY", "1000")
        said = "A step over dense rows needs 0.0 GiB of the GPU's memory, 0.0 are free: the CPU computes."
    here, there = (fit(make_job((X, y)), settings(**JOB), device) for device in (CPU, Device(forwarding, 1)))
    assert here.factors.tobytes() == there.factors.tobytes()
    assert (forwarding.copies, forwarding.waits) == ([], 0)
    assert lines.count(said) == 1


def machine(kind="regressor"):
    random = np.random.default_rng(5)
    factors, linear, bias = (random.normal(size=shape).astype(np.float32) for shape in ((N, K), N, 1))
    return FactorizationMachine(factors, linear, bias, kind)


def on(cupy, model):
    return algorithms.find("factorization_machines").on_device(model, Device(cupy, 1))


@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
@pytest.mark.parametrize("piece", [2**20, 200])
def test_dense_rows_are_answered_on_the_device(cupy, monkeypatch, kind, piece):
    """As on the CPU, in pieces too, and of a row alone, or sparse."""
    here = machine(kind)
    there = on(cupy, here)
    monkeypatch.setattr(device_module, "PIECE", piece)
    X, _ = rows_of(70)
    for rows in (X, X[:1], X[:0], sparse.csr_array(X)):
        expected, found = here.predict(Batch(rows)), there.predict(Batch(rows))
        assert expected.keys() == found.keys()
        for name, column in expected.items():
            assert (found[name].shape, found[name].dtype) == (column.shape, column.dtype)
            np.testing.assert_allclose(found[name], column, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_pair_by_hand(cupy):
    ones = np.ones((3, 2), np.float32)
    model = on(cupy, FactorizationMachine(ones, ones[:, 0], ones[:1, 0], "regressor"))
    rows = np.array([[2, 3, 0], [5, 0, 0], [0, 0, 0], [1, 1, 1]], np.float32)
    assert model.predict(Batch(rows))["score"].tolist() == [1 + 5 + 2 * 6, 1 + 5, 1, 1 + 3 + 2 * 3]


@pytest.mark.parametrize("great", [1e3, 1e6, 1e9, 1e12, 1e15, 1e18])
def test_a_feature_that_outweighs_the_others(cupy, great):
    """Of the difference of two squares little or nothing is left; alone, it has no pair to leave anything of."""
    here, random = machine(), np.random.default_rng(0)
    X = random.normal(size=(20, N)).astype(np.float32)
    X[:, 3] = great
    X[10:, :3] = X[10:, 4:] = 0
    expected, found = (model.predict(Batch(X))["score"] for model in (here, on(cupy, here)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_sums_beyond_float32_are_refused(cupy):
    X = np.full((3, N), 3e38, np.float32)
    for model in (machine(), on(cupy, machine())):
        with pytest.raises(UserError, match="too large"):
            model.predict(Batch(X))


def test_one_request_waits_once(forwarding):
    on(forwarding, machine()).predict(Batch(rows_of(9)[0]))
    assert forwarding.waits == 1


def test_a_server_without_room_on_its_gpu_answers_from_the_cpu(forwarding, monkeypatch):
    monkeypatch.setenv("FORWARDED_MEMORY", "1000")
    assert on(forwarding, machine()).device == CPU
