"""Real jobs for the tests of training: files in a folder, read by a real channel."""

import gzip
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job
from algorithms.pca.hyperparameters import PCAHyperparameters
from algorithms.report import Report, log
from formats.recordio import encode_features

ALONE = Cluster()
MNIST = Path(__file__).parents[3] / "data" / "mnist"


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """`make_job(rows, ...)`: a job whose channel `train` has these arrays, a file each."""

    def make(*parts: np.ndarray | sparse.csr_array, cluster: Cluster = ALONE, stopped=lambda: False) -> Job:
        folder = tmp_path / f"host-{cluster.rank}-of-{cluster.size}" / "train"
        folder.mkdir(parents=True, exist_ok=True)
        for i, part in enumerate(parts):
            (folder / f"part-{i}").write_bytes(encode_features(part) if part.shape[0] else b"")
        report = Report(f"algo-{cluster.rank + 1}", "PCA", None)
        content_type = "application/x-recordio-protobuf"
        train = Channel(ChannelConfig("train"), folder.parent, content_type, report, stopped, allows_missing=False)
        return Job({"train": train}, cluster, report, stopped)

    return make


@pytest.fixture(scope="session")
def configure() -> Callable[..., PCAHyperparameters]:
    """`configure(num_components=2, feature_dim=4)`: as a client sends them, all strings."""
    return lambda **given: PCAHyperparameters.parse({name: str(value) for name, value in given.items()})


@pytest.fixture(scope="session")
def mnist() -> tuple[np.ndarray, np.ndarray]:
    """The 10,000 test digits: pixels in [0, 1], (10000, 784) float32, and labels (10000,)."""
    pixels = np.frombuffer(gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return (pixels.reshape(-1, 784) / np.float32(255)).astype(np.float32), labels


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
