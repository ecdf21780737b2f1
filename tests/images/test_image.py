"""The image in a container engine: it trains and serves as any user, confined, without a network, and it stops."""

from __future__ import annotations

import json
import re

import pytest

CONFINED = ("--read-only", "--network", "none")
USERS = ("0", "1234")
GONE = ("gcc", "g++", "cc", "ld", "make", "java", "nginx", "nvidia-smi", "pip", "pip3")


def rows(pixels) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in pixels)


@pytest.mark.parametrize("user", USERS)
def test_trains(engine, image, job, digits, user):
    held_out = digits[1000:]
    job.channel("test", held_out)
    done = engine.run(*CONFINED, "--user", user, *job.mounts, image, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (job.base / "model").iterdir()} == {"model_algo-1", "manifest.json"}
    assert not (job.base / "output/failure").exists()
    scores = re.findall(r"#quality_metric: host=\S+, test msd <loss>=(\S+)", done.stdout)
    assert len(scores) == 1
    one_center = ((held_out - held_out.mean(axis=0)) ** 2).sum(axis=1).mean()
    assert 0 < float(scores[0]) < one_center


def test_customers_mistake_ends_with_2_and_is_explained(engine, image, job):
    job.describe(k=0, feature_dim=784)
    done = engine.run(*job.mounts, image, "train")
    failure = (job.base / "output/failure").read_text()
    assert done.returncode == 2
    assert failure == "ClientError: hyperparameter 'k' must be an integer >= 1, got '0'"
    assert list((job.base / "model").iterdir()) == []


def test_serving_without_a_model_ends_with_2(engine, image, job):
    done = engine.run(*job.mounts, image, "serve")
    assert done.returncode == 2
    assert "ClientError: " in done.stderr


@pytest.mark.parametrize("user", USERS)
def test_serves(engine, image, trained, digits, user):
    name = engine.start(*CONFINED, "--user", user, *trained.mounts, image, "serve")
    engine.wait(name, lambda: engine.ask(name, "/ping")[0] == 200)
    status, answer = engine.ask(name, "/invocations", rows(digits[1000:]), accept="application/json")
    assert status == 200
    predictions = json.loads(answer)["predictions"]
    assert len(predictions) == 500
    assert {prediction["closest_cluster"] for prediction in predictions} <= set(range(10))
    assert engine.ask(name, "/invocations", "1,2,3\n")[0] == 400
    assert engine.stop(name, seconds=30) == 0


def test_sigterm_ends_training_with_a_model(engine, image, job):
    job.describe(k=10, feature_dim=784, epochs=1_000_000)
    name = engine.start(*job.mounts, image, "train")
    engine.wait(name, lambda: "#progress_metric" in engine.logs(name))
    assert engine.stop(name, seconds=60) == 0
    assert (job.base / "model/model_algo-1").stat().st_size > 0


def test_unknown_command(engine, image):
    done = engine.run(image, "trian")
    assert done.returncode == 2
    assert "the command must be train or serve, got 'trian'" in done.stderr


def test_declares_what_the_platform_reads(engine, image):
    config = json.loads(engine.output("image", "inspect", image))[0]["Config"]
    assert config["Entrypoint"] == ["/opt/inbuilt/bin/inbuilt"]  # exec form: signals reach the program, not a shell
    assert config["Labels"]["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert "INBUILT_ALGORITHM=kmeans" in config["Env"]


def test_listens_where_the_platform_says(engine, image, trained):
    port = "8123"
    name = engine.start("--network", "none", "-e", f"SAGEMAKER_BIND_TO_PORT={port}", *trained.mounts, image, "serve")
    engine.wait(name, lambda: f":{port}" in engine.logs(name))
    assert engine.ask(name, "/ping")[0] == 0, "port 8080 must be free"


def test_holds_nothing_but_what_it_runs(engine, image):
    look = f"for program in {' '.join(GONE)}; do command -v $program; done; find / -xdev -name 'libcuda*'; true"
    assert engine.run("--entrypoint", "sh", image, "-c", look).stdout == ""
    megabytes = engine.run("--entrypoint", "du", image, "-sxm", "/").stdout.split()[0]
    assert int(megabytes) <= 350


def test_packages_are_those_of_the_lock(engine, image, pytestconfig):
    lock = (pytestconfig.rootpath / "docker/requirements.lock").read_text().splitlines()
    locked = {line.lower().replace("_", "-") for line in lock if line and not line.startswith("#")}
    listing = "from importlib.metadata import distributions as d; [print(f'{x.name}=={x.version}') for x in d()]"
    found = engine.run("--entrypoint", "/opt/inbuilt/bin/python", image, "-c", listing).stdout
    installed = {line.lower().replace("_", "-") for line in found.splitlines()}
    assert {line for line in installed if not line.startswith("inbuilt==")} == locked
