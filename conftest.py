"""Fixtures for every test, the shared ones and the algorithms': a temporary /opt/ml, jobs in it, digits, the log."""

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
from algorithms.report import Report, log
from formats.recordio import encode_features
from tests.gpu.forwarded import compiled, cupy, forwarding
from tests.job_folder import JobFolder

__all__ = ["compiled", "cupy", "forwarding"]  # fixtures that stand beside what they need

ALONE = Cluster()
MNIST = Path(__file__).parent / "data" / "mnist"
Rows = np.ndarray | sparse.csr_array


@pytest.fixture
def job_folder(tmp_path: Path) -> Callable[[str], JobFolder]:
    """Makes empty job folders, each of its own."""
    made = []

    def make(algorithm: str) -> JobFolder:
        made.append(tmp_path / f"ml{len(made)}")
        made[-1].mkdir()
        return JobFolder(made[-1], algorithm)

    return make


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """`make_job(rows, ...)`: a job whose channel `train` has these rows, or (rows, labels), a file each."""

    def make(
        *parts: Rows | tuple[Rows, np.ndarray | None],
        cluster: Cluster = ALONE,
        stopped: Callable[[], bool] = lambda: False,
        replicated: bool = True,
    ) -> Job:
        folder = tmp_path / f"host-{cluster.rank}-of-{cluster.size}" / "train"
        folder.mkdir(parents=True, exist_ok=True)
        for i, part in enumerate(parts):
            rows, labels = part if isinstance(part, tuple) else (part, None)
            (folder / f"part-{i}").write_bytes(encode_features(rows, labels) if rows.shape[0] else b"")
        report = Report(f"algo-{cluster.rank + 1}", "Test", None)
        config = ChannelConfig("train", replicated=replicated)
        content_type = "application/x-recordio-protobuf"
        train = Channel(config, folder.parent, content_type, report, stopped, allows_missing=False)
        return Job({"train": train}, cluster, report, stopped)

    return make


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
