"""The images at their limits: stopped under load, with a worker killed, with half a CPU, with too little memory."""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import numpy as np
import pytest

import algorithms
from tests.examples import CSV, RECORDIO, encoded, example
from tests.images.engine import PATIENCE
from tests.images.test_image import names

SERVED = ("-p", "127.0.0.1::8080")
SMALL = "--cpus 0.5 --memory 512m --memory-swap 512m"
PROMPT = 20  # seconds for ending after what is in flight is answered, and for a new worker
WORKERS = ("cat", "/proc/1/task/1/children")
LARGEST = 6 * 2**20  # bytes of a request, see MAX_CONTENT_LENGTH
any_algorithm = pytest.mark.parametrize("algorithm", algorithms.names()[:1], indirect=True)


@pytest.fixture
def serve(engine, image, trained):
    """`serve(*options)`: a server of the trained model and its port, once it is ready."""

    def serve(*options):
        name = engine.start(*SERVED, *options, *trained.mounts, image, "serve")
        engine.wait(name, lambda: "worker ready" in engine.logs(name))
        return name, engine.port(name)

    return serve


def ask(connection, body):
    """Status, body, and whether the server keeps the connection."""
    connection.request("POST", "/invocations", body, {"Content-Type": CSV, "Accept": CSV})
    answer = connection.getresponse()
    return answer.status, answer.read(), not answer.will_close


def connect(port):
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE))


def invoke(port, body):
    with connect(port) as connection:
        return ask(connection, body)[:2]


class Load:
    """Clients that ask one thing over and over, each on a connection that it keeps as long as the server does."""

    def __init__(self, port, body, clients=4):
        self.answers, self.broken, self._ended = [], 0, threading.Event()
        self._port, self._body = port, body
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _client(self):
        while not self._ended.is_set():
            try:
                with connect(self._port) as connection:
                    while not self._ended.is_set():
                        status, answer, kept = ask(connection, self._body)
                        self.answers.append((status, answer))
                        if not kept:
                            return  # the server said that it goes
            except (ConnectionError, http.client.IncompleteRead):
                self.broken += 1
                time.sleep(0.05)

    def reaches(self, count):
        """Waits for so many answers."""
        deadline = time.monotonic() + PATIENCE
        while len(self.answers) < count:
            assert time.monotonic() < deadline, f"{len(self.answers)} answers, {self.broken} connections broken"
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@any_algorithm
def test_docker_stop_under_load_loses_no_request(engine, serve, algorithm):
    """Neither on connections that clients keep, nor of requests that are half sent when SIGTERM comes."""
    name, port = serve("-e", "SAGEMAKER_MODEL_SERVER_WORKERS=2")
    body = encoded(example(algorithm.name).rows(50, seed=9)[0], CSV)
    wanted = invoke(port, body)
    with Load(port, body) as load, ExitStack() as stack:
        slow = [stack.enter_context(connect(port)) for _ in range(2)]
        for connection in slow:
            connection.putrequest("POST", "/invocations")
            for header, value in {"Content-Type": CSV, "Accept": CSV, "Content-Length": str(len(body))}.items():
                connection.putheader(header, value)
            connection.endheaders(body[:100])
        load.reaches(20)
        began = time.monotonic()
        stopped = stack.enter_context(ThreadPoolExecutor(1)).submit(engine.stop, name, 30)
        engine.wait(name, lambda: "Handling signal: term" in engine.logs(name))
        for connection in slow:
            connection.send(body[100:])
        answers = [connection.getresponse() for connection in slow]
        assert [(answer.status, answer.read()) for answer in answers] == [wanted] * 2
        assert stopped.result() == 0
        assert time.monotonic() - began < PROMPT
    assert set(load.answers) == {wanted}
    assert load.broken == 0


@any_algorithm
def test_a_killed_worker_is_replaced_under_load(engine, serve, algorithm):
    """Clients lose what it was at, nobody gets a wrong answer, and the only worker is soon back."""
    name, port = serve("-e", "SAGEMAKER_MODEL_SERVER_WORKERS=1")
    body = encoded(example(algorithm.name).rows(50, seed=9)[0], CSV)
    wanted = invoke(port, body)
    with Load(port, body) as load:
        load.reaches(20)
        before = engine.output("exec", name, *WORKERS)
        engine.output("exec", name, "sh", "-c", f"kill -9 {before}")
        began, count = time.monotonic(), len(load.answers)
        assert engine.ask(name, "/ping")[0] == 200
        load.reaches(count + 20)
        assert time.monotonic() - began < PROMPT
    assert set(load.answers) == {wanted}
    assert 1 <= load.broken <= 4
    assert engine.output("exec", name, *WORKERS) not in ("", before)
    assert "was sent SIGKILL! Perhaps out of memory?" in engine.logs(name)
    assert engine.stop(name, seconds=30) == 0


@any_algorithm
@pytest.mark.parametrize(
    ("limits", "workers"),
    [(SMALL, 1), ("--memory 256m", 1), ("--memory 512m", 2), ("--cpus 2 --memory 1g", 2)],
)
def test_workers_are_as_many_as_the_container_may_use(engine, image, serve, limits, workers):
    name, _ = serve(*limits.split())
    expected = min(workers, int(engine.run("--entrypoint", "nproc", image).stdout))
    engine.wait(name, lambda: engine.logs(name).count("worker ready") == expected)
    assert len(engine.output("exec", name, *WORKERS).split()) == expected


def test_half_a_cpu_and_512_mib_train_and_serve(engine, image, serve, algorithm, job):
    """The largest request, too, four at a time, and nobody was killed for it."""
    done = engine.run(*SMALL.split(), *job.mounts, image, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    row = encoded(example(algorithm.name).rows(1, seed=9)[0], CSV)
    name, port = serve(*SMALL.split())
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: invoke(port, body), [row * (LARGEST // len(row))] * 4))
    assert {status for status, _ in answers} == {200}
    assert len(answers[0][1]) > LARGEST // len(row)
    assert len({answer for _, answer in answers}) == 1
    assert "SIGKILL" not in engine.logs(name)


@pytest.mark.parametrize("algorithm", ["knn"], indirect=True)
def test_data_beyond_memory_are_refused_by_an_algorithm_that_must_hold_them(engine, image, job):
    """400 MB of rows, all of which are to be kept, in 256 MiB."""
    job.describe({"k": "3", "predictor_type": "classifier", "sample_size": "1000000", "mini_batch_size": "500"})
    rows = np.random.default_rng(0).random((2500, 1000), np.float32)
    job.channel("train", encoded(rows, RECORDIO, np.zeros(2500, np.float32)), RECORDIO)
    folder = job.base / "input/data/train"
    for i in range(39):
        os.link(folder / "data", folder / f"data-{i}")
    done = engine.run("--memory", "256m", "--memory-swap", "256m", *job.mounts, image, "train")
    assert done.returncode == 2, done.stdout + done.stderr
    failure = (job.base / "output/failure").read_text()
    assert re.match(
        r"ClientError: the sample needs \d+ more bytes of memory, only \d+ bytes are free; please choose a larger ",
        failure,
    )
    assert names(job.base / "model") == set()


@any_algorithm
def test_training_that_the_kernel_kills_leaves_neither_a_model_nor_a_word(engine, image, job):
    """Nobody can catch it: 137 is SIGKILL, of which the platform and the engine say that memory ran out."""
    done = engine.run("--memory", "20m", "--memory-swap", "20m", *job.mounts, image, "train")
    assert done.returncode == 137, done.stdout + done.stderr
    assert names(job.base / "model") == set()
    assert not (job.base / "output/failure").exists()
