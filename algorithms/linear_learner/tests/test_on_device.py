"""The steps for a GPU, on NumPy and on a CuPy that forwards to it, beside the steps of the kernels for CPUs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

import algorithms
from algorithms import artifact
from algorithms import device as device_module
from algorithms.cluster import Cluster
from algorithms.device import CPU, Device
from algorithms.errors import UserError
from algorithms.linear_learner.evaluation import evaluate
from algorithms.linear_learner.fit import fit, raw_loss
from algorithms.linear_learner.grid import settings
from algorithms.linear_learner.kernels import JUDGES, MOVES
from algorithms.linear_learner.loss import FUNCTIONS
from algorithms.linear_learner.model import LinearModel
from algorithms.linear_learner.on_device import DeviceTrainer, product
from algorithms.linear_learner.scaler import Scaler
from algorithms.linear_learner.tests.test_fit import BINARY, MULTICLASS, REGRESSOR, labelled
from algorithms.linear_learner.trainer import Trainer
from formats import Batch
from tests.hosts import on_hosts

D = 5
MODELS = {
    "logistic": BINARY,
    "hinge_loss": BINARY,
    "softmax_loss": MULTICLASS,
    **dict.fromkeys(sorted(set(FUNCTIONS) - {"logistic", "hinge_loss", "softmax_loss"}), REGRESSOR),
}


@pytest.fixture
def pair(configure):
    """`pair(device, ...)`: a Trainer and a DeviceTrainer that begin alike."""

    def make(device, *, shift=0.5, class_weights=None, **given):
        h = configure(**({"num_models": 3, "init_scale": 0.3} | given))
        chosen = settings(h, np.random.default_rng(0))
        outputs = h.num_classes if h.predictor_type == "multiclass_classifier" else 1
        weights = np.random.default_rng(1).normal(size=(D, len(chosen) * outputs)).astype(np.float32) / 4
        scaler = Scaler(
            None if shift is None else np.full(D, shift, np.float32), np.linspace(0.5, 2, D, dtype=np.float32)
        )
        arguments = (h, chosen, raw_loss(h), scaler, class_weights)
        return Trainer(*arguments, weights.copy()), DeviceTrainer(device, *arguments, weights.copy())

    return make


def both_learn(here, there, device, X, y, rows, cluster=None):
    cluster, steps = cluster or Cluster(), -(-len(y) // rows)
    loss, count = here.learn(cluster, X, y, rows, steps)
    other, number = there.learn(cluster, device.put(X), device.put(y), rows, steps)
    assert number == count
    np.testing.assert_allclose(device.get(other), loss, rtol=2e-4)
    for name in ("weights", "bias", "mean_weights", "mean_bias"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("loss", FUNCTIONS)
def test_steps_are_those_of_the_cpu(pair, cupy, loss, optimizer):
    device = Device(cupy, 1)
    given = MODELS[loss] | {"loss": loss, "optimizer": optimizer, "learning_rate": 0.01, "wd": 0.01}
    X, y = labelled(230, MODELS[loss]["predictor_type"])
    both_learn(*pair(device, **given), device, X, y, 50)


def test_a_decay_next_to_1(pair, cupy):
    """Of this one float32 knows no difference from 1, and without any the steps would be without bounds."""
    device = Device(cupy, 1)
    X, y = labelled(230, BINARY["predictor_type"])
    both_learn(*pair(device, **BINARY, learning_rate=0.01, beta_2=1 - 1e-8), device, X, y, 50)


@pytest.mark.parametrize("given", [{"l1": 0.05}, {"momentum": 0.9, "optimizer": "sgd"}, {"use_bias": "false"}])
@pytest.mark.parametrize("shift", [None, 0.5, 200.0])  # the last one is too far for scaled weights
def test_penalties_momentum_bias_and_shifts(pair, given, shift):
    X, y = labelled(230, BINARY["predictor_type"])
    X = X + np.float32(shift or 0)
    if given.get("use_bias"):
        shift = None
    both_learn(*pair(CPU, shift=shift, **BINARY, **given, learning_rate=0.01), CPU, X, y, 40)


@pytest.mark.parametrize("mult", ["auto", "balanced"])
def test_weights_of_classes(pair, cupy, mult):
    device, weights = Device(cupy, 1), np.array([[1, 1, 1, 0.2], [2, 0.5, 3, 1]], np.float32)
    X, y = labelled(100, BINARY["predictor_type"])
    given = BINARY | ({} if mult == "auto" else {"positive_example_weight_mult": mult})
    both_learn(*pair(device, class_weights=weights, **given, learning_rate=0.01), device, X, y, 25)


def test_two_hosts_learn_as_one(pair):
    """What another host adds, here as much again, is in the step."""
    X, y = labelled(60, REGRESSOR["predictor_type"])
    double = Cluster(0, 2, lambda array: 2 * array)
    both_learn(*pair(CPU, **REGRESSOR, learning_rate=0.01), CPU, X, y, 20, double)


def test_no_step_waits_for_the_device(pair, forwarding):
    device = Device(forwarding, 1)
    X, y = labelled(300, BINARY["predictor_type"])
    _, there = pair(device, **BINARY)
    X, y = device.put(X), device.put(y)
    forwarding.waits = 0
    there.learn(Cluster(), X, y, 10, 30)
    assert forwarding.waits == 0


def test_a_kept_model_is_taken_back(pair, cupy):
    _, there = pair(Device(cupy, 1), **BINARY)
    kept = there.mean_weights + np.float32(1)
    there.mean_weights = kept
    assert np.array_equal(there.mean_weights, kept)
    assert not np.array_equal(there.weights, kept)


def alike(one, other):
    assert isinstance(one.weights, np.ndarray)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.bias, other.bias, rtol=1e-4, atol=1e-5)
    assert one.threshold == pytest.approx(other.threshold, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("given", [BINARY, REGRESSOR, MULTICLASS], ids=["binary", "regressor", "multiclass"])
@pytest.mark.parametrize("more", [{}, {"learning_rate": 0.02, "wd": 1, "epochs": 6}])
def test_a_job_gives_the_same_model(make_job, configure, cupy, given, more, lines):
    """Also where the best epoch is not the last one, whose models are then taken back."""
    rows, h = labelled(410, given["predictor_type"]), configure(**given | more)
    here = fit(make_job(rows), h)
    said = [line for line in lines if line.startswith(("Best model", "Epoch", "Early"))]
    assert not more or "has not improved" in [line for line in said if line.startswith("Epoch")][-1]
    lines.clear()
    alike(fit(make_job(rows), h, Device(cupy, 1)), here)
    assert [line for line in lines if line.startswith(("Best model", "Epoch", "Early"))] == said


def test_two_hosts_with_gpus_learn_as_without(make_job, configure, forwarding):
    """One of them has rows for half of the steps."""
    X, y = labelled(390)

    def trained(cluster, device):
        rows = slice(0, 130) if cluster.rank else slice(130, None)
        return fit(make_job((X[rows], y[rows]), cluster=cluster, replicated=False), configure(**BINARY), device)

    here, _ = on_hosts(2, lambda cluster: trained(cluster, CPU))
    first, second = on_hosts(2, lambda cluster: trained(cluster, Device(forwarding, 1)))
    assert first.weights.tobytes() == second.weights.tobytes()
    alike(first, here)
    # where one of them has none, neither uses it
    first, second = on_hosts(2, lambda cluster: trained(cluster, CPU if cluster.rank else Device(forwarding, 1)))
    assert first.weights.tobytes() == second.weights.tobytes() == here.weights.tobytes()


def test_an_epoch_waits_as_often_however_many_steps_it_has(make_job, configure, forwarding):
    waited = []
    for n in (200, 2000):
        forwarding.waits = 0
        fit(make_job(labelled(n)), configure(**BINARY), Device(forwarding, 1))
        waited.append(forwarding.waits)
    assert waited[0] == waited[1] > 0


def test_sparse_rows_stay_on_the_cpu(make_job, configure, forwarding, lines):
    X, y = labelled(200)
    X = sparse.csr_array(X)
    here, there = (fit(make_job((X, y)), configure(**BINARY), device) for device in (CPU, Device(forwarding, 1)))
    assert here.weights.tobytes() == there.weights.tobytes()
    assert (forwarding.copies, forwarding.waits) == ([], 0)
    assert lines.count("The data are sparse: they are computed with on the CPU. The GPU is for dense data.") == 1


def test_every_loss_and_optimizer_has_a_kernel():
    assert JUDGES.keys() == FUNCTIONS.keys() - {"softmax_loss"}
    assert MOVES.keys() == {"adam", "sgd", "rmsprop"}


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_model_is_the_best_epochs(make_job, configure, forwarding, lines, gpus):
    """A job that ends with its best epoch gives the same one."""
    device, given = Device(forwarding, 1) if gpus else CPU, REGRESSOR | {"learning_rate": 0.02, "wd": 1}
    longer = fit(make_job(labelled(410, "regressor")), configure(**given | {"epochs": 6}), device)
    improved = [line for line in lines if "Loss improved" in line]
    assert 0 < len(improved) < 6
    assert improved[-1].startswith(f"Epoch {len(improved) - 1}:")
    shorter = fit(make_job(labelled(410, "regressor")), configure(**given | {"epochs": len(improved)}), device)
    alike(longer, shorter)


def test_a_gpu_without_room_leaves_it_to_the_cpu(make_job, configure, forwarding, lines, monkeypatch):
    monkeypatch.setenv("FORWARDED_MEMORY", "1000")
    rows, h = labelled(200), configure(**BINARY)
    here, there = (fit(make_job(rows), h, device) for device in (CPU, Device(forwarding, 1)))
    assert here.weights.tobytes() == there.weights.tobytes()
    assert (there.device, forwarding.copies, forwarding.waits) == (CPU, [], 0)
    assert lines.count("A step over dense rows needs 0.0 GiB of the GPU's memory, 0.0 are free: the CPU computes.") == 1


KINDS = [
    (1, "regressor", "squared_loss"),
    (1, "binary_classifier", "logistic"),
    (1, "binary_classifier", "hinge_loss"),
    (4, "multiclass_classifier", "softmax_loss"),
]


@pytest.mark.parametrize(("classes", "kind", "loss"), KINDS)
@pytest.mark.parametrize("piece", [2**20, 40])
def test_dense_rows_are_answered_on_the_device(cupy, monkeypatch, classes, kind, loss, piece):
    """As on the CPU, in pieces too, and of a row alone; what is sparse or too large as well."""
    random = np.random.default_rng(0)
    here = LinearModel(*(random.normal(size=n).astype(np.float32) for n in ((classes, D), classes)), kind, loss)
    there = algorithms.find("linear_learner").on_device(here, Device(cupy, 1))
    monkeypatch.setattr(device_module, "PIECE", piece)
    X = random.normal(size=(70, D)).astype(np.float32)
    for rows in (X, X[:1], X[:0], sparse.csr_array(X)):
        expected, found = here.predict(Batch(rows)), there.predict(Batch(rows))
        assert expected.keys() == found.keys()
        for name, column in expected.items():
            assert (found[name].shape, found[name].dtype) == (column.shape, column.dtype)
            np.testing.assert_allclose(found[name], column, rtol=1e-4, atol=1e-6, err_msg=name)
    X[30] = 3e38 * np.sign(here.weights[0])
    for model in (here, there):
        with pytest.raises(UserError, match="too large"):
            model.predict(Batch(X))


def test_one_request_waits_once(forwarding):
    model = LinearModel(np.ones((3, D), np.float32), np.ones(3, np.float32), "multiclass_classifier", "softmax_loss")
    model = algorithms.find("linear_learner").on_device(model, Device(forwarding, 1))
    model.predict(Batch(np.ones((9, D), np.float32)))
    assert forwarding.waits == 1


def test_a_server_without_room_on_its_gpu_answers_from_the_cpu(forwarding, monkeypatch):
    monkeypatch.setenv("FORWARDED_MEMORY", "1000")
    model = LinearModel(np.ones((1, D), np.float32), np.ones(1, np.float32), "regressor", "squared_loss")
    assert algorithms.find("linear_learner").on_device(model, Device(forwarding, 1)).device == CPU


def test_models_are_compared_on_the_device_where_rows_are_dense(cupy):
    X, W = labelled(50)[0], np.random.default_rng(0).normal(size=(D, 6)).astype(np.float32)
    for device in (CPU, Device(cupy, 1)):
        for rows in (X, sparse.csr_array(X)):
            np.testing.assert_allclose(product(device, W)(rows), X @ W, rtol=1e-5, atol=1e-5)


def test_the_test_channel(make_job, configure, cupy):
    (X, y), h = labelled(300), configure(**BINARY)
    here, there = (fit(make_job((X, y)), h, device) for device in (CPU, Device(cupy, 1)))
    assert (here.device, there.device.gpus) == (CPU, 1)
    scores = [evaluate(make_job((X, y)), h, model, iter([Batch(X, y)])) for model in (here, there)]
    assert scores[1] == pytest.approx(scores[0], rel=1e-3)


def test_a_row_on_the_boundary_does_not_keep_a_server_from_starting(configure, tmp_path):
    """Its label is another where a device rounds otherwise; a model that answers otherwise is found all the same."""
    model = LinearModel(np.ones((1, D), np.float32), np.zeros(1, np.float32), "binary_classifier", "logistic", 0.5)
    algorithm, row = algorithms.find("linear_learner"), Batch(np.array([[1, -1, 2, -2, 0]], np.float32))
    artifact.save(tmp_path, algorithm, configure(**BINARY), model, row)
    loaded, labels = artifact.load(tmp_path, algorithm.name), []
    for change in (1e-6, -1e-6):
        rounded = replace(model, bias=np.array([change], np.float32))
        labels += rounded.predict(row)["predicted_label"].tolist()
        replace(loaded, model=rounded).self_test()
    assert labels == [1, 0]
    with pytest.raises(RuntimeError, match="score"):
        replace(loaded, model=replace(model, bias=np.ones(1, np.float32))).self_test()
