"""Several containers on their own addresses: they train one model, and none waits for ever for one that is lost."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

import algorithms
from algorithms import artifact
from formats import Batch
from tests.examples import encoded, example
from tests.images.conftest import Job
from tests.images.test_image import ENDLESS, names

ROWS = 1600
LONGEST = 60  # seconds until the others know that a host was killed
STEPPING = re.compile(r"#progress_metric|^\[0\]\t", re.MULTILINE)
LEFT = "left before the training job was done. Please look for the reason in its own log."
# `train` with another patience: nobody wants to wait for the real one, 15 minutes, in a test
IMPATIENT = """
import functools, sys
from algorithms import train
train.connect = functools.partial(train.connect, timeout=4)
sys.exit(train.main())
"""


def endless(name):
    """What makes a job of this algorithm one that is at work until somebody stops it; empty if nothing does."""
    return {key: value for key, value in ENDLESS.items() if key in algorithms.find(name).hyperparameters.model_fields}


SEVERAL = [name for name in algorithms.names() if algorithms.find(name).max_hosts is None]
several = pytest.mark.parametrize("algorithm", SEVERAL, indirect=True)
endless_ones = [name for name in SEVERAL if endless(name)]
any_endless_one = pytest.mark.parametrize("algorithm", endless_ones[:1], indirect=True)
every_endless_one = pytest.mark.parametrize("algorithm", endless_ones, indirect=True)


@pytest.fixture
def network(engine):
    with engine.network() as name:
        yield name


@pytest.fixture
def start(engine, network, image):
    """`start(job, host, hosts)`: one container of a job, found by the others under its host's name."""

    def start(job, host, hosts, *command):
        job.resources(host, hosts)
        place = ("--network", network, "--network-alias", host, "--hostname", host, *job.mounts)
        program = ("--entrypoint", *command[:1], image, *command[1:]) if command else (image, "train")
        return engine.start(*place, *program)

    return start


@pytest.fixture
def two(engine, start, algorithm, tmp_path):
    """Two containers in the middle of a training job without end: host, job and container of each."""
    hosts, found = ["algo-1", "algo-2"], []
    for host in hosts:
        job = Job.of_example(tmp_path / host, algorithm)
        job.describe(example(algorithm.name).HYPERPARAMETERS | endless(algorithm.name))
        found.append((host, job, start(job, host, hosts)))
    engine.wait(found[0][2], lambda: bool(STEPPING.search(engine.logs(found[0][2]))))
    return found


def shards(features, size):
    """The numbers of the rows of each host; sorted, so that a host that is left out is missed."""
    return np.array_split(np.argsort(features[:, 0], kind="stable"), size)


def sharded_job(base, algorithm, settings, rows):
    """A job on these rows of the example."""
    features, labels = example(algorithm.name).rows(ROWS)
    job, content_type = Job(base), algorithm.content_types[0]
    job.describe(settings)
    file = encoded(features[rows], content_type, None if labels is None else labels[rows])
    job.channel("train", file, content_type, "ShardedByS3Key")
    return job


@several
@pytest.mark.parametrize("size", [2, 4])
def test_hosts_train_the_model_of_one(engine, image, start, algorithm, tmp_path, size):
    """One host whose mini-batch has the rows of all hosts' mini-batches, step by step."""
    one = example(algorithm.name)
    settings = one.HYPERPARAMETERS | getattr(one, "HOSTS_HYPERPARAMETERS", {})
    step = int(settings.get("mini_batch_size", ROWS))
    parts = shards(one.rows(ROWS)[0], size)
    dealt = np.concatenate([part[i : i + step] for i in range(0, ROWS, step) for part in parts])
    larger = {"mini_batch_size": str(step * size)} if "mini_batch_size" in settings else {}
    alone = sharded_job(tmp_path / "alone", algorithm, settings | larger, dealt)
    done = engine.run(*alone.mounts, image, "train")
    assert done.returncode == 0, done.stdout + done.stderr

    hosts = [f"algo-{i + 1}" for i in range(size)]
    jobs = [sharded_job(tmp_path / host, algorithm, settings, part) for host, part in zip(hosts, parts, strict=True)]
    for container in [start(job, host, hosts) for job, host in zip(jobs, hosts, strict=True)]:
        assert engine.ended(container) == 0, engine.logs(container)
    assert names(jobs[0].base / "model") == names(alone.base / "model")
    assert [names(job.base / "model") for job in jobs[1:]] == [set()] * (size - 1)

    asked = Batch(one.rows(200, seed=9)[0])
    found, wanted = (artifact.load(job.base / "model", algorithm.name).model.predict(asked) for job in (jobs[0], alone))
    assert list(found) == list(wanted)
    for name in wanted:
        apart = np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max()
        assert 0 <= apart <= one.HOSTS_TOLERANCE, f"{name}: {apart:.3g} apart"


@every_endless_one
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_host_ends_the_job_of_the_other(engine, two, victim):
    (lost, _, killed), (_, job, other) = two[victim], two[1 - victim]
    began = time.monotonic()
    engine.output("kill", killed)
    assert engine.ended(other, LONGEST) == 3
    assert time.monotonic() - began < LONGEST
    assert (job.base / "output/failure").read_text() == f"PlatformError: host {lost} {LEFT}"
    assert names(job.base / "model") == set()


@every_endless_one
def test_sigterm_to_all_hosts_ends_training_with_a_model(engine, two, trained):
    containers = [container for _, _, container in two]
    engine.output("kill", "-s", "TERM", *containers)
    assert [engine.ended(container) for container in containers] == [0, 0]
    (_, leader, _), (_, follower, _) = two
    assert names(leader.base / "model") == names(trained.base / "model")
    assert names(follower.base / "model") == set()
    assert not any((job.base / "output/failure").exists() for job in (leader, follower))


@any_endless_one
@pytest.mark.parametrize("host", ["algo-1", "algo-2"])
def test_a_host_that_never_comes(engine, start, job, host):
    container = start(job, host, ["algo-1", "algo-2"], "/opt/inbuilt/bin/python", "-c", IMPATIENT)
    other = "algo-2" if host == "algo-1" else "algo-1"
    assert engine.ended(container) == 3
    absent = f"not all of the 2 hosts of the training job came within 4 s; no address is known for {other}."
    assert (job.base / "output/failure").read_text() == f"PlatformError: {absent}"
    assert f"waiting for the name of {other} to resolve" in engine.logs(container)


@any_endless_one
def test_a_host_that_waits_for_another_can_be_stopped(engine, start, job):
    container = start(job, "algo-2", ["algo-1", "algo-2"])
    engine.wait(container, lambda: "waiting for the name of algo-1" in engine.logs(container))
    assert engine.stop(container, seconds=30) == 0
    assert "Stopped before anything was learned: there is no model to save." in engine.logs(container)
    assert names(job.base / "model") == set()
