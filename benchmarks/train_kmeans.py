"""k-means from RecordIO files, reading included, beside scikit-learn's mini-batch k-means on rows already in memory.

    python benchmarks/train_kmeans.py [IMAGES]
    python benchmarks/train_kmeans.py --quality IMAGES TEST_IMAGES

IMAGES are MNIST idx3 files, gzipped; by default the 10,000 digits that ship, six times.
Both run in one process, in turn. `--quality` compares the mean squared distance of test rows over five seeds instead,
and two hosts with half the rows each.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

import algorithms
from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job, Paths
from algorithms.report import Report
from formats import recordio

DIGITS = Path(__file__).parent.parent / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
ROUNDS = 7


def read_images(path: Path) -> np.ndarray:
    """(n, 784) float32 in [0, 1]."""
    return np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 784).astype(np.float32) / 255


def write_channel(base: Path, name: str, rows: np.ndarray) -> None:
    """A channel of one RecordIO file."""
    folder = Paths(base).data / name
    folder.mkdir(parents=True)
    (folder / "rows.pbr").write_bytes(recordio.encode_features(rows))


def fit(base: Path, seed: int) -> object:
    """Trains in this process on the channel `train` under `base`, ten clusters, all else default."""
    algorithm = algorithms.find("kmeans")
    report = Report("algo-1", algorithm.dimension, None)
    hyperparameters = algorithm.hyperparameters.parse({"k": "10", "feature_dim": "784", "seed": str(seed)})
    channel = Channel(
        ChannelConfig("train"),
        Paths(base).data,
        algorithm.content_types[0],
        report,
        lambda: False,
        allows_missing=False,
    )
    return algorithm.fit(Job({"train": channel}, Cluster(), report, lambda: False), hyperparameters)


def compare_times(rows: np.ndarray) -> None:
    """Prints seconds of both, in turn, and the median of the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        write_channel(Path(folder), "train", rows)
        times: list[tuple[float, float]] = []
        for round_ in range(ROUNDS + 1):
            started = time.perf_counter()
            fit(Path(folder), round_)
            middle = time.perf_counter()
            MiniBatchKMeans(10, batch_size=5000, max_iter=1, n_init="auto", random_state=round_).fit(rows)
            times.append((middle - started, time.perf_counter() - middle))
    ours, theirs = zip(*times[1:], strict=True)  # the first round warms up
    print(f"{len(rows):,} rows of 784, k = 10, one epoch, median of {ROUNDS} rounds (least to most)")
    for name, seconds in (("inbuilt, from files", ours), ("MiniBatchKMeans, in memory", theirs)):
        print(f"  {name:28} {statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})")
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"  inbuilt is {ratio:.2f} times as fast, median of the rounds' ratios")


def msd(rows: np.ndarray, centers: np.ndarray) -> float:
    """Mean squared distance of the rows to their nearest centers, in float64."""
    squares = (rows.astype(np.float64) ** 2).sum(axis=1)
    to_all = (
        squares[:, None] - 2.0 * rows.astype(np.float64) @ centers.T + (centers.astype(np.float64) ** 2).sum(axis=1)
    )
    return float(to_all.min(axis=1).mean())


def compare_quality(rows: np.ndarray, test: np.ndarray) -> None:
    """Prints test msd over five seeds: ours on one host and on two, scikit-learn's."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        write_channel(base / "all", "train", rows)
        for name, half in zip("ab", np.array_split(rows, 2), strict=True):
            write_channel(base / name, "train", half)
        one = [msd(test, fit(base / "all", seed).centers) for seed in range(5)]
        two = [msd(test, two_hosts(base, seed)) for seed in range(5)]
    peers = [
        MiniBatchKMeans(10, batch_size=5000, max_iter=1, n_init="auto", random_state=i).fit(rows) for i in range(5)
    ]
    mini = [msd(test, peer.cluster_centers_) for peer in peers]
    full = msd(test, KMeans(10, n_init=10, random_state=0).fit(rows).cluster_centers_)
    for name, values in (
        ("one host", one),
        ("two hosts", two),
        ("MiniBatchKMeans", mini),
        ("KMeans n_init=10", [full]),
    ):
        print(f"  {name:18} median {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")


def two_hosts(base: Path, seed: int) -> np.ndarray:
    """The centers that two `train` programs find, with half the rows each."""
    from formats import ndarray

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    running = []
    for name, host in (("a", "127.0.0.1"), ("b", "127.0.0.2")):
        config = Paths(base / name).config
        config.mkdir(exist_ok=True)
        hyperparameters = {"k": "10", "feature_dim": "784", "seed": str(seed)}
        (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
        resources = {"current_host": host, "hosts": ["127.0.0.1", "127.0.0.2"]}
        (config / "resourceconfig.json").write_text(json.dumps(resources))
        (config / "inputdataconfig.json").write_text('{"train": {"S3DistributionType": "ShardedByS3Key"}}')
        own = {"SAGEMAKER_BASE_DIR": str(base / name), "INBUILT_ALGORITHM": "kmeans", "INBUILT_CLUSTER_PORT": port}
        train = Path(sys.executable).parent / "train"
        running.append(subprocess.Popen([train], env=os.environ | own, stdout=subprocess.DEVNULL))
    assert [process.wait(300) for process in running] == [0, 0]
    [centers] = ndarray.load(base / "a" / "model" / "model_algo-1")
    return centers


if __name__ == "__main__":
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    if sys.argv[1:2] == ["--quality"]:
        compare_quality(read_images(Path(sys.argv[2])), read_images(Path(sys.argv[3])))
    elif len(sys.argv) > 1:
        compare_times(read_images(Path(sys.argv[1])))
    else:
        compare_times(np.tile(read_images(DIGITS), (6, 1)))
