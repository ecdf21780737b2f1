"""What the tests of training share: hyperparameters as a client sends them, and jobs in every content type."""

from collections.abc import Callable
from pathlib import Path

import pytest

from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.factorization_machines.hyperparameters import FactorizationMachinesHyperparameters
from algorithms.job import ChannelConfig, Job
from algorithms.report import Report

ALONE = Cluster()


@pytest.fixture(scope="session")
def configure() -> Callable[..., FactorizationMachinesHyperparameters]:
    """`configure(predictor_type="regressor", epochs=3)`: as a client sends them, all strings."""
    return lambda **given: FactorizationMachinesHyperparameters.parse(
        {name: str(value) for name, value in given.items()}
    )


@pytest.fixture
def job_of(tmp_path: Path) -> Callable[..., Job]:
    """`job_of(content_type, content, ...)`: a job whose channel `train` has these files."""

    def make(content_type: str, *contents: bytes, cluster: Cluster = ALONE) -> Job:
        folder = tmp_path / content_type.replace("/", "-") / "train"
        folder.mkdir(parents=True)
        for i, content in enumerate(contents):
            (folder / f"part-{i}").write_bytes(content)
        report = Report(f"algo-{cluster.rank + 1}", "Test", None)
        config = ChannelConfig("train")
        train = Channel(config, folder.parent, content_type, report, lambda: False, allows_missing=False)
        return Job({"train": train}, cluster, report, lambda: False)

    return make
