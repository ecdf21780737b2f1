"""What the tests of the images stand on: the engine, the image of every algorithm, jobs of its example, the SDK."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

import algorithms
from algorithms.algorithm import Algorithm
from tests.examples import encoded, example
from tests.images.engine import Engine
from tests.images.summary import table

ROOT = Path(__file__).parents[2]
SDK_PYTHON = Path(os.environ.get("INBUILT_SAGEMAKER_PYTHON", ROOT / ".venv-sagemaker/bin/python"))


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

    def describe(self, hyperparameters: Mapping[str, str]) -> None:
        """Writes `hyperparameters.json`."""
        (self.base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))

    def resources(self, host: str, hosts: list[str]) -> None:
        """Writes `resourceconfig.json`: this host of the job, and all of them."""
        content = {"current_host": host, "hosts": hosts, "network_interface_name": "eth0"}
        (self.base / "input/config/resourceconfig.json").write_text(json.dumps(content))

    def channel(self, name: str, content: bytes, content_type: str, distribution: str = "FullyReplicated") -> None:
        """Adds a channel of one file, or puts it in the place of the one of this name."""
        config = self.base / "input/config/inputdataconfig.json"
        channels = json.loads(config.read_text()) if config.exists() else {}
        channels[name] = {
            "ContentType": content_type,
            "TrainingInputMode": "File",
            "S3DistributionType": distribution,
        }
        config.write_text(json.dumps(channels))
        folder = self.base / "input/data" / name
        folder.mkdir(exist_ok=True)
        (folder / "data").write_bytes(content)

    @classmethod
    def of_example(cls, base: Path, algorithm: Algorithm) -> Job:
        """A job on the rows of the algorithm's example, all channels in the default format."""
        job, one = cls(base), example(algorithm.name)
        job.describe(one.HYPERPARAMETERS)
        for i, channel in enumerate(algorithm.channels):
            features, labels = one.rows(100 if i else 200, i)
            content_type = algorithm.content_types[0]
            job.channel(channel.name, encoded(features, content_type, labels), content_type)
        return job


@dataclass(frozen=True)
class LocalMode:
    """What local_mode.py left in a folder: `model-JOB/` for each job, the answers of servers, and what was printed."""

    folder: Path
    answers: dict[str, Any]
    log: str

    def log_of(self, job: str) -> str:
        """What the SDK and the containers printed while this job was trained."""
        return self.log.split(f"=== fit {job}\n")[1].split("\n=== ")[0]


def give_up(reason: str) -> NoReturn:
    """Skips the test, or fails it where an engine is required."""
    if os.environ.get("INBUILT_REQUIRE_ENGINE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    docker = Engine()
    try:
        answer = docker("version")
        reason = "" if answer.returncode == 0 else answer.stderr.strip().splitlines()[-1]
    except FileNotFoundError:
        reason = "there is no program `docker`"
    if reason:
        give_up(f"no container engine answers: {reason}")
    yield docker
    for name in docker.started:
        docker("rm", "-f", name)


@pytest.fixture(scope="session")
def image_of(engine: Engine) -> Callable[..., str]:
    """`image_of(name, extras="")`: the image of an algorithm, built from this tree.

    Without extras it is the one that is tagged INBUILT_IMAGE_TAG, as it is, if that is set.
    """

    def find(name: str, extras: str = "") -> str:
        repository = f"inbuilt-{name.replace('_', '-')}"
        if (tag := os.environ.get("INBUILT_IMAGE_TAG")) and not extras:
            return f"{repository}:{tag}"
        command = ["make", "image", f"ALGORITHM={name}", f"EXTRAS={extras}"]
        built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
        return f"{repository}:latest-{extras}" if extras else f"{repository}:latest"

    return find


@pytest.fixture(scope="session", params=algorithms.names())
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    return algorithms.find(request.param)


@pytest.fixture(scope="session")
def image(image_of: Callable[..., str], algorithm: Algorithm) -> str:
    return image_of(algorithm.name)


@pytest.fixture
def job(tmp_path: Path, algorithm: Algorithm) -> Job:
    """A job that is ready to run."""
    return Job.of_example(tmp_path / "ml", algorithm)


@pytest.fixture(scope="session")
def trained(engine: Engine, image: str, algorithm: Algorithm, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job that the image has trained, for servers to load."""
    job = Job.of_example(tmp_path_factory.mktemp("trained") / "ml", algorithm)
    done = engine.run(*job.mounts, image, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    return job


@pytest.fixture(scope="session")
def local_mode(engine: Engine) -> Callable[[Path, dict[str, Any]], LocalMode]:
    """Runs local_mode.py on a plan in a folder that has the plan's files."""

    def run(folder: Path, plan: dict[str, Any]) -> LocalMode:
        if not SDK_PYTHON.exists():
            give_up(f"no Python with the SageMaker SDK at {SDK_PYTHON}: `make test-images` makes one")
        (folder / "plan.json").write_text(json.dumps(plan))
        command = [str(SDK_PYTHON), "-u", str(Path(__file__).with_name("local_mode.py")), str(folder)]
        log = folder / "log"
        try:
            with log.open("w") as file:
                done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=900)
        finally:  # the SDK leaves its containers behind
            for name in re.findall(r"container_name: (\S+)", log.read_text()):
                engine("rm", "-f", name)
        assert done.returncode == 0, log.read_text()[-8000:]
        return LocalMode(folder, json.loads((folder / "answers.json").read_text()), log.read_text())

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table of all checks."""
    reports = [
        (report.nodeid, outcome, report.duration)
        for outcome in ("passed", "skipped", "failed", "error", "")
        for report in terminalreporter.stats.get(outcome, ())
        if isinstance(report, pytest.TestReport)
    ]
    terminalreporter.section("every check with every algorithm")
    for line in table(reports, algorithms.names()):
        terminalreporter.line(line)
