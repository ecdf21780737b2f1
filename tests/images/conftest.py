"""What the tests of the images stand on: the container engine, the image, and digits laid out as /opt/ml."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds for what a container does; a slow machine must not fail a test

# Runs inside the container, because with `--network none` nothing outside can reach it.
CLIENT = """
import sys, urllib.error, urllib.request
path, content_type, accept, body = sys.argv[1], sys.argv[2], sys.argv[3], sys.stdin.buffer.read()
headers = {"Content-Type": content_type, "Accept": accept}
request = urllib.request.Request("http://127.0.0.1:8080" + path, body or None, headers)
try:
    answer = urllib.request.urlopen(request, timeout=60)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    sys.exit(f"no answer: {error}")
sys.stdout.write(f"{answer.status}\\n{answer.read().decode()}")
"""


class Engine:
    """The `docker` of this machine, wherever DOCKER_HOST points."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs one `docker` command to its end; nothing is raised for its exit code."""
        return subprocess.run(
            ["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=10 * PATIENCE
        )

    def output(self, *arguments: str) -> str:
        """What a `docker` command that must not fail wrote."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`docker run` to its end. Not with --rm: under it podman's API answers 0 whatever the exit code was."""
        return self("run", "--name", self._name(), *arguments)

    def start(self, *arguments: str) -> str:
        """`docker run` in the background; the container's name."""
        self.output("run", "-d", "--name", self._name(), *arguments)
        return self.started[-1]

    def _name(self) -> str:
        self.started.append(f"inbuilt-test-{uuid.uuid4().hex[:12]}")
        return self.started[-1]

    def stop(self, name: str, seconds: int) -> int:
        """SIGTERM, after `seconds` SIGKILL; the exit code, 137 for a container that had to be killed."""
        self.output("stop", "-t", str(seconds), name)
        return int(self.output("inspect", "-f", "{{.State.ExitCode}}", name))

    def logs(self, name: str) -> str:
        """What the container wrote so far."""
        done = self("logs", name)
        return done.stdout + done.stderr

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Returns once `ready`; fails with the container's log when it has ended or patience has."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            running = self.output("inspect", "-f", "{{.State.Running}}", name) == "true"
            assert running, self.logs(name)
            assert time.monotonic() < deadline, self.logs(name)
            time.sleep(0.1)

    def ask(self, name: str, path: str, body: str = "", accept: str = "*/*") -> tuple[int, str]:
        """Status and body of the answer of the server in the container; status 0 if nothing listens yet."""
        python = "/opt/inbuilt/bin/python"
        done = self("exec", "-i", name, python, "-c", CLIENT, path, "text/csv", accept, stdin=body)
        if done.returncode:
            return 0, done.stderr
        status, _, answer = done.stdout.partition("\n")
        return int(status), answer


@dataclass(frozen=True)
class Job:
    """A folder for /opt/ml, its three parts mounted one by one as the platform does: the input cannot be written."""

    base: Path
    mounts: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("input/config", "input/data", "model", "output/data"):
            (self.base / name).mkdir(parents=True)
        for name in ("model", "output", "output/data"):
            (self.base / name).chmod(0o777)  # the container's user is not ours
        parts = (
            f"{self.base}/{part}:/opt/ml/{part}{mode}"
            for part, mode in (("input", ":ro"), ("model", ""), ("output", ""))
        )
        object.__setattr__(self, "mounts", tuple(word for part in parts for word in ("-v", part)))

    def describe(self, **hyperparameters: object) -> None:
        """Writes `hyperparameters.json`, every value a string as the platform sends it."""
        content = {name: str(value) for name, value in hyperparameters.items()}
        (self.base / "input/config/hyperparameters.json").write_text(json.dumps(content))

    def channel(self, name: str, rows: np.ndarray) -> None:
        """Adds a channel of CSV without labels."""
        config = self.base / "input/config/inputdataconfig.json"
        channels = json.loads(config.read_text()) if config.exists() else {}
        channels[name] = {"ContentType": "text/csv;label_size=0", "TrainingInputMode": "File"}
        config.write_text(json.dumps(channels))
        folder = self.base / "input/data" / name
        folder.mkdir()
        np.savetxt(folder / "digits.csv", rows, fmt="%d", delimiter=",")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    docker = Engine()
    try:
        answer = docker("version")
        reason = "" if answer.returncode == 0 else answer.stderr.strip().splitlines()[-1]
    except FileNotFoundError:
        reason = "there is no program `docker`"
    if reason:
        give_up = pytest.fail if os.environ.get("INBUILT_REQUIRE_ENGINE") == "1" else pytest.skip
        give_up(f"no container engine answers: {reason}")
    yield docker
    for name in docker.started:
        docker("rm", "-f", name)


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """INBUILT_IMAGE as it is, or the image of k-means built from this tree."""
    if given := os.environ.get("INBUILT_IMAGE"):
        return given
    built = subprocess.run(["make", "image", "ALGORITHM=kmeans"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return "inbuilt-kmeans:latest"


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """The first 1,500 MNIST test images, (1500, 784) uint8: 1,000 rows to train on and 500 to ask about."""
    pixels = gzip.decompress((ROOT / "data/mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 784)[:1500]


@pytest.fixture
def job(tmp_path: Path, digits: np.ndarray) -> Job:
    """A k-means job on digits that is ready to run."""
    job = Job(tmp_path / "ml")
    job.describe(k=10, feature_dim=784)
    job.channel("train", digits[:1000])
    return job


@pytest.fixture(scope="session")
def trained(engine: Engine, image: str, digits: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job that the image has trained, for servers to load."""
    job = Job(tmp_path_factory.mktemp("trained") / "ml")
    job.describe(k=10, feature_dim=784)
    job.channel("train", digits[:1000])
    done = engine.run(*job.mounts, image, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    return job
