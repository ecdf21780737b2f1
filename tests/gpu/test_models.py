"""Every algorithm that can use a GPU: trained there and served here, and the reverse, with the same answers."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import algorithms
from algorithms import artifact
from algorithms import device as device_module
from algorithms.device import CPU, Device, Found
from algorithms.errors import UserError
from formats import Batch
from serving.app import create_app
from serving.server import placed
from serving.settings import Settings
from tests.examples import CSV, encoded, example

PLACED = [name for name in algorithms.names() if algorithms.find(name).on_device is not None]


def trained(name: str, make_job, device: Device):
    algorithm = algorithms.find(name)
    case = example(name)
    h = algorithm.hyperparameters.parse(case.HYPERPARAMETERS | case.ALL_METRICS)
    return algorithm.fit(make_job(case.rows(1000, seed=0)), h, device=device)


def on_gpu(name: str, make_job, cupy):
    """Trained there, and placed there to answer."""
    device = Device(cupy, 1)
    return algorithms.find(name).on_device(trained(name, make_job, device), device)


def close(one, other) -> None:
    assert one.keys() == other.keys()
    for name, column in one.items():
        scale = np.abs(column).max()
        assert (other[name].shape, other[name].dtype) == (column.shape, column.dtype)
        assert isinstance(other[name], np.ndarray)
        np.testing.assert_allclose(other[name], column, rtol=1e-4, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize("name", PLACED)
def test_models_move_between_devices(name: str, make_job, cupy, tmp_path: Path) -> None:
    gpu, algorithm = Device(cupy, 1), algorithms.find(name)
    batch = Batch(example(name).rows(50, seed=1)[0])
    answers = []
    for device in (CPU, gpu):
        folder = tmp_path / str(device.gpus)
        folder.mkdir()
        trained(name, make_job, device).save(folder)
        loaded = algorithm.load(folder)
        answers += [loaded.predict(batch), algorithm.on_device(loaded, gpu).predict(batch)]
    for other in answers[1:]:
        close(answers[0], other)


@pytest.mark.parametrize("name", PLACED)
def test_a_row_is_answered_alike_alone_and_among_others(name: str, make_job, cupy) -> None:
    model = on_gpu(name, make_job, cupy)
    rows = example(name).rows(300, seed=2)[0]
    together = model.predict(Batch(rows))
    for i in (0, 150, 299):
        close({key: column[i : i + 1] for key, column in together.items()}, model.predict(Batch(rows[i : i + 1])))


@pytest.mark.parametrize("name", PLACED)
def test_requests_without_rows_and_with_sparse_ones(name: str, make_job, cupy) -> None:
    model = on_gpu(name, make_job, cupy)
    rows = example(name).rows(20, seed=3)[0]
    close(model.predict(Batch(rows)), model.predict(Batch(sparse.csr_array(rows))))
    for column in model.predict(Batch.empty(rows.shape[1])).values():
        assert len(column) == 0


def test_refusals_are_the_same(make_job, cupy) -> None:
    """Rows beyond float32: each device refuses them, or gives the same answer."""
    refused = 0
    for name in PLACED:
        model, algorithm = on_gpu(name, make_job, cupy), algorithms.find(name)
        signs = np.where(np.random.default_rng(0).random((3, model.width)) < 0.5, -1, 1)
        batch = Batch((signs * 3e38).astype(np.float32))
        here, there = (outcome(each, batch) for each in (algorithm.on_device(model, CPU), model))
        refused += isinstance(here, str)
        assert type(here) is type(there)
        if isinstance(here, str):
            assert here == there
        else:
            close(here, there)
    assert refused


@pytest.mark.parametrize("name", PLACED)
def test_the_server_asks_all_its_questions_where_the_model_is(name: str, make_job, cupy, tmp_path, monkeypatch) -> None:
    """Its self-test, and answers of each kind: the same as from the CPU."""
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(device_module, "look_apart", lambda: Found("a GPU"))
    algorithm, case, folder = algorithms.find(name), example(name), tmp_path / "model"
    rows = case.rows(30, seed=4)[0]
    h = algorithm.hyperparameters.parse(case.HYPERPARAMETERS)
    artifact.save(folder, algorithm, h, trained(name, make_job, CPU), Batch(rows[:3]))
    answers = []
    for wanted in ("cpu", "gpu"):
        loaded, settings, _ = placed(artifact.load(folder, name), Settings.read({}), wanted)
        loaded.self_test()
        client = create_app(loaded, settings).test_client()
        for accept in ("application/json", "application/json; verbose=true"):
            headers = {"Content-Type": CSV, "Accept": accept}
            answered = client.post("/invocations", data=encoded(rows, CSV), headers=headers)
            assert answered.status_code == 200, answered.text
            answers.append(answered.json[algorithm.wrapper])
    for here, there in zip(answers[:2], answers[2:], strict=True):
        for one, other in zip(here, there, strict=True):
            assert one.keys() == other.keys()
            for column, value in one.items():
                np.testing.assert_allclose(other[column], value, rtol=1e-3, atol=1e-4, err_msg=column)


def outcome(model, batch: Batch):
    """The answers, or the sentence that refuses to give any."""
    try:
        return model.predict(batch)
    except UserError as error:
        return str(error)
