"""Real jobs for the tests of training: files in a folder, read by a real channel."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job
from algorithms.knn.hyperparameters import KNNHyperparameters
from algorithms.report import Report, log
from formats.recordio import encode_features

ALONE = Cluster()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """`make_job((features, labels), ...)`: a job whose channel `train` has these rows, a file each.

    labels: None for records without any. replicated: every host reads the rows of all, given to each; else its own.
    """

    def make(
        *parts: tuple[np.ndarray | sparse.csr_array, np.ndarray | None],
        cluster: Cluster = ALONE,
        stopped=lambda: False,
        replicated: bool = False,
    ) -> Job:
        folder = tmp_path / f"host-{cluster.rank}-of-{cluster.size}" / "train"
        folder.mkdir(parents=True, exist_ok=True)
        for i, (features, labels) in enumerate(parts):
            (folder / f"part-{i}").write_bytes(encode_features(features, labels) if features.shape[0] else b"")
        report = Report(f"algo-{cluster.rank + 1}", "AWS/KNN", None)
        config = ChannelConfig("train", replicated=replicated)
        content_type = "application/x-recordio-protobuf"
        train = Channel(config, folder.parent, content_type, report, stopped, allows_missing=False)
        return Job({"train": train}, cluster, report, stopped)

    return make


@pytest.fixture(scope="session")
def configure() -> Callable[..., KNNHyperparameters]:
    """`configure(k=3, predictor_type="classifier", sample_size=100)`: as a client sends them, all strings."""
    return lambda **given: KNNHyperparameters.parse({name: str(value) for name, value in given.items()})


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What training logs, a message an element."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield messages
    log.removeHandler(handler)
    log.setLevel(level)
