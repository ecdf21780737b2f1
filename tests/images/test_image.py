"""The images in a container engine: they train and serve as any user, confined, without a network, and they stop."""

from __future__ import annotations

import io
import json
import re
import tomllib

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from algorithms import artifact
from formats import Batch
from formats import json as as_json
from tests.examples import CSV, JSON, encoded, example

CONFINED = ("--read-only", "--network", "none")
USERS = ("0", "1234")
GONE = ("gcc", "g++", "cc", "ld", "make", "java", "nginx", "nvidia-smi", "pip", "pip3")
ENDLESS = {"epochs": "1000000", "num_round": "1000000"}  # where an algorithm has one of these, a job without end
PARQUET = "application/x-parquet"


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("user", USERS)
def test_trains(engine, image, algorithm, job, user, tmp_path):
    one = example(algorithm.name)
    job.describe(one.HYPERPARAMETERS | one.ALL_METRICS)
    done = engine.run(*CONFINED, "--user", user, *job.mounts, image, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (job.base / "output/failure").exists()
    saved = tmp_path / "saved"
    saved.mkdir()
    artifact.load(job.base / "model", algorithm.name).model.save(saved)
    assert names(job.base / "model") == names(saved) | {"manifest.json"}
    reported = getattr(one, "REPORTED", [f"{metric.channel}:{metric.name}" for metric in algorithm.metrics])
    for channel, name in (each.split(":") for each in reported):
        kind = "loss" if algorithm.metric(channel, name).direction == "minimize" else "score"
        line = algorithm.metric_line.format(channel=channel, name=name, kind=kind)
        assert [float(value) for value in re.findall(line, done.stdout)], line


def test_customers_mistake_ends_with_2_and_is_explained(engine, image, algorithm, job):
    job.describe(example(algorithm.name).HYPERPARAMETERS | {"no_such_hyperparameter": "1"})
    done = engine.run(*job.mounts, image, "train")
    failure = (job.base / "output/failure").read_text()
    assert done.returncode == 2
    assert re.match(r"ClientError: .*'no_such_hyperparameter'", failure)
    assert names(job.base / "model") == set()


def test_serving_without_a_model_ends_with_2(engine, image, job):
    done = engine.run(*job.mounts, image, "serve")
    assert done.returncode == 2
    assert "ClientError: " in done.stderr


@pytest.mark.parametrize("user", USERS)
def test_serves(engine, image, algorithm, trained, user):
    name = engine.start(*CONFINED, "--user", user, *trained.mounts, image, "serve")
    engine.wait(name, lambda: engine.ask(name, "/ping")[0] == 200)
    features, _ = example(algorithm.name).rows(100, seed=9)
    status, answer = engine.ask(name, "/invocations", encoded(features, CSV).decode(), accept=JSON)
    assert status == 200
    found = json.loads(answer)[algorithm.wrapper]
    model = artifact.load(trained.base / "model", algorithm.name).model
    here = json.loads(as_json.encode(model.predict(Batch(features)), algorithm.wrapper, None))[algorithm.wrapper]
    assert [list(row) for row in found] == [list(row) for row in here]
    for column in here[0]:
        np.testing.assert_allclose([row[column] for row in found], [row[column] for row in here], rtol=1e-5)
    assert engine.ask(name, "/invocations", ",".join(["1"] * (features.shape[1] + 3)))[0] == 400
    assert engine.stop(name, seconds=30) == 0


def test_sigterm_ends_training_with_a_model(engine, image, algorithm, job, trained):
    endless = {name: value for name, value in ENDLESS.items() if name in algorithm.hyperparameters.model_fields}
    if not endless:
        pytest.skip("a job of this algorithm ends by itself")
    job.describe(example(algorithm.name).HYPERPARAMETERS | endless)
    name = engine.start(*job.mounts, image, "train")
    engine.wait(name, lambda: bool(re.search(r"#progress_metric|^\[0\]\t", engine.logs(name), re.MULTILINE)))
    assert engine.stop(name, seconds=60) == 0
    assert names(job.base / "model") == names(trained.base / "model")


def test_parquet_is_refused_with_a_sentence_that_says_why(engine, image, algorithm, job):
    """The images go without the package that reads it."""
    if PARQUET not in algorithm.content_types:
        pytest.skip("this algorithm does not read Parquet anywhere")
    job.channel("train", b"PAR1PAR1", PARQUET)
    done = engine.run(*job.mounts, image, "train")
    assert done.returncode == 2
    assert "Parquet needs pyarrow, which is not installed here" in (job.base / "output/failure").read_text()


def test_parquet_is_read_by_an_image_with_the_extra(engine, image_of, algorithm, job, trained):
    if PARQUET not in algorithm.content_types:
        pytest.skip("this algorithm does not read Parquet anywhere")
    features, labels = example(algorithm.name).rows(200)
    columns = [*([] if labels is None else [labels]), *features.T]
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({f"c{i}": column for i, column in enumerate(columns)}), file)
    job.channel("train", file.getvalue(), PARQUET)
    done = engine.run(*CONFINED, "--user", USERS[-1], *job.mounts, image_of(algorithm.name, "parquet"), "train")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [
        artifact.load(each.base / "model", algorithm.name).model.predict(Batch(features)) for each in (job, trained)
    ]
    for column in answers[0]:
        np.testing.assert_allclose(answers[0][column], answers[1][column], rtol=1e-5)


def test_the_command_line(engine, image, pytestconfig):
    version = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]["version"]
    assert engine.run(image, "--version").stdout == f"inbuilt {version}\n"
    done = engine.run(image, "trian")
    assert done.returncode == 2
    assert "the command must be train, serve or describe, got 'trian'" in done.stderr


def test_describes_itself(engine, image, algorithm):
    request = json.loads(engine.run(image, "describe", "registry/image:tag").stdout)
    assert request["TrainingSpecification"]["TrainingImage"] == "registry/image:tag"
    assert request["AlgorithmName"] == f"inbuilt-{algorithm.name.replace('_', '-')}"


def test_declares_what_the_platform_reads(engine, image, algorithm):
    config = json.loads(engine.output("image", "inspect", image))[0]["Config"]
    assert config["Entrypoint"] == ["/opt/inbuilt/bin/inbuilt"]  # exec form: signals reach the program, not a shell
    assert config["Labels"]["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert config["Labels"]["org.opencontainers.image.title"] == f"inbuilt-{algorithm.name}"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert f"INBUILT_ALGORITHM={algorithm.name}" in config["Env"]


def test_listens_where_the_platform_says(engine, image, trained):
    port = "8123"
    name = engine.start("--network", "none", "-e", f"SAGEMAKER_BIND_TO_PORT={port}", *trained.mounts, image, "serve")
    engine.wait(name, lambda: f":{port}" in engine.logs(name))
    assert engine.ask(name, "/ping")[0] == 0, "port 8080 must be free"


@pytest.fixture
def locks(pytestconfig, algorithm):
    """What the image's packages are locked by: the lock of all images, and the algorithm's own if it has one."""
    paths = (pytestconfig.rootpath / "docker" / f"{name}.lock" for name in ("requirements", algorithm.name))
    return [path for path in paths if path.is_file()]


def test_holds_nothing_but_what_it_runs(engine, image):
    look = f"for program in {' '.join(GONE)}; do command -v $program; done; find / -xdev -name 'libcuda*'; true"
    assert engine.run("--entrypoint", "sh", image, "-c", look).stdout == ""


def test_packages_are_those_of_the_lock(engine, image, locks):
    lock = "".join(path.read_text() for path in locks).splitlines()
    locked = {line.lower().replace("_", "-") for line in lock if line and not line.startswith("#")}
    listing = "from importlib.metadata import distributions as d; [print(f'{x.name}=={x.version}') for x in d()]"
    found = engine.run("--entrypoint", "/opt/inbuilt/bin/python", image, "-c", listing).stdout
    installed = {line.lower().replace("_", "-") for line in found.splitlines()}
    assert {line for line in installed if not line.startswith("inbuilt==")} == locked
