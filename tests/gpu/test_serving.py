"""Servers on a GPU: the real `serve` with a CuPy that forwards, asked by many at once, and what it says of devices."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import algorithms
from algorithms import artifact
from algorithms import device as device_module
from algorithms.algorithm import Algorithm
from formats import Batch
from serving.app import create_app
from serving.gathering import CALLERS
from serving.server import _gunicorn, placed
from serving.settings import Settings
from tests.examples import JSON, RECORDIO, encoded, encoded_sparse, example
from tests.gpu.forwarded import FOLDER

PLACED = [name for name in algorithms.names() if algorithms.find(name).on_device is not None]
ON_CPU = [name for name in algorithms.names() if name not in PLACED]


@pytest.mark.parametrize("name", PLACED)
def test_many_callers_of_one_gpu(job_folder, name: str) -> None:
    """Each gets its own rows, as many as it sent, dense or sparse, the same as from a CPU."""
    job, case, algorithm = job_folder(name), example(name), algorithms.find(name)
    job.hyperparameters = dict(case.HYPERPARAMETERS)
    features, labels = case.rows(500)
    job.channel("train", {"rows": encoded(features, RECORDIO, labels)}, RECORDIO)
    job.environment["INBUILT_DEVICE"] = "cpu"
    assert job.train().exit_code == 0
    random = np.random.default_rng(0)
    parts = [case.rows(int(n), seed=i)[0] for i, n in enumerate(random.integers(1, 60, 40))]
    model = algorithms.find(name).load(job.model)

    def ask(i: int) -> int:
        encode = encoded_sparse if i % 5 == 4 else encoded
        answer = served.invoke(encode(parts[i], RECORDIO), RECORDIO, JSON)
        assert answer.status == 200, answer.body
        rows = json.loads(answer.body)[algorithm.wrapper]
        for column, expected in model.predict(Batch(parts[i])).items():
            found = np.array([row[column] for row in rows])
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max(), err_msg=column)
        return len(rows)

    with job.serve(PYTHONPATH=str(FOLDER), INBUILT_DEVICE="auto") as served, ThreadPoolExecutor(16) as pool:
        assert json.loads(served.request("/execution-parameters").body)["MaxConcurrentTransforms"] == CALLERS
        assert list(pool.map(ask, range(len(parts)))) == list(map(len, parts))
    log = (job.base / "serve.log").read_text()
    assert f"{name} computes on the GPU: NumPy in disguise." in log
    assert log.count("worker ready") == 1  # one process owns the device


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize(
    ("wanted", "driver", "said"), [("auto", True, 1), ("auto", False, 0), ("cpu", True, 0), ("gpu", False, 1)]
)
def test_an_algorithm_that_answers_on_the_cpu_says_so_where_a_gpu_is(tmp_path, monkeypatch, name, wanted, driver, said):
    (tmp_path / "version").touch()
    monkeypatch.setattr(device_module, "DRIVER", tmp_path / ("version" if driver else "absent"))
    loaded = artifact.LoadedModel(algorithms.find(name), SimpleNamespace(width=1), None)
    same, settings, sentence = placed(loaded, Settings.read({}), wanted)
    assert (same, settings.gather) == (loaded, None)
    assert sentence == said * f"{name} answers on the CPU only; no GPU is used."


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, 3),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "300"}, 100),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "INBUILT_GATHER_MILLISECONDS": "1"}, 2),
    ],
)
def test_how_many_requests_are_answered_at_a_time(variables: dict[str, str], expected: int) -> None:
    """One a worker on a CPU, also where requests are gathered; at most 100; and a thread is left for /ping."""
    algorithm: Algorithm = replace(algorithms.find(PLACED[0]), verbose=None)
    loaded = artifact.LoadedModel(algorithm, SimpleNamespace(width=1), None)
    settings = Settings.read(variables)
    client = create_app(loaded, settings).test_client()
    assert client.get("/execution-parameters").json["MaxConcurrentTransforms"] == expected
    assert _gunicorn(settings, PLACED[0], lambda: None)["threads"] > expected / settings.workers
