"""PCA from RecordIO files, reading included, beside scikit-learn on rows in memory, and beside one matrix product.

    python benchmarks/train_pca.py [IMAGES]

IMAGES are MNIST idx3 files, gzipped; by default the 10,000 digits that ship, six times, with a little noise. All run in
one process, in turn. 50 components of 784; the product is X'Y of two arrays, which BLAS cannot halve as it does X'X.
"""

from __future__ import annotations

import gzip
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA

import algorithms
from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job, Paths
from algorithms.report import Report
from formats import recordio

DIGITS = Path(__file__).parent.parent / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
COMPONENTS = 50
ROUNDS = 5
YARDSTICK = "one float32 product X'Y"


def read_images(path: Path) -> np.ndarray:
    """(n, 784) float32 in [0, 1]."""
    return np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 784).astype(np.float32) / 255


def six_times(rows: np.ndarray) -> np.ndarray:
    """The rows six times, and noise of a grey level, so that no row is there twice."""
    many = np.tile(rows, (6, 1))
    many += np.random.default_rng(0).normal(0, 1 / 255, many.shape).astype(np.float32)
    return many


def fit(base: Path, mode: str) -> Any:
    """Trains in this process on the channel `train` under `base`, all else default."""
    algorithm = algorithms.find("pca")
    report = Report("algo-1", algorithm.dimension, None)
    given = {"num_components": str(COMPONENTS), "feature_dim": "784", "algorithm_mode": mode}
    channel = Channel(
        ChannelConfig("train"),
        Paths(base).data,
        algorithm.content_types[0],
        report,
        lambda: False,
        allows_missing=False,
    )
    job = Job({"train": channel}, Cluster(), report, lambda: False)
    return algorithm.fit(job, algorithm.hyperparameters.parse(given))


def captured(rows: np.ndarray, v: np.ndarray) -> float:
    """The share of the variance of the rows that lies in the components v (784, n), in float64."""
    centred = rows.astype(np.float64)
    centred -= centred.mean(axis=0)
    return float(((centred @ v.astype(np.float64)) ** 2).sum() / (centred**2).sum())


def components(model: Any) -> np.ndarray:
    """(784, n), of a model of ours or of scikit-learn's."""
    v: np.ndarray = model.v if hasattr(model, "v") else model.components_.T
    return v


def compare(rows: np.ndarray) -> None:
    """Prints seconds of each, in turn, the ratio to the product, and what the components capture."""
    other = rows[::-1].copy()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (Paths(base).data / "train").mkdir(parents=True)
        (Paths(base).data / "train" / "rows.pbr").write_bytes(recordio.encode_features(rows))
        contenders: dict[str, Callable[[], Any]] = {
            YARDSTICK: lambda: rows.T @ other,
            "NumPy's X.T @ X": lambda: rows.T @ rows,
            "inbuilt regular, from files": lambda: fit(base, "regular"),
            "inbuilt randomized, from files": lambda: fit(base, "randomized"),
            "PCA(), in memory": lambda: PCA(COMPONENTS).fit(rows),
            "IncrementalPCA of 5,000": lambda: IncrementalPCA(COMPONENTS, batch_size=5000).fit(rows),
            "IncrementalPCA of 500": lambda: IncrementalPCA(COMPONENTS, batch_size=500).fit(rows),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        results: dict[str, Any] = {}
        for _ in range(ROUNDS + 1):
            for name, run in contenders.items():
                started = time.perf_counter()
                results[name] = run()
                times[name].append(time.perf_counter() - started)
    yardstick = times[YARDSTICK][1:]  # the first round warms up
    print(f"{len(rows):,} rows of 784, {COMPONENTS} components, median of {ROUNDS} rounds (least to most)")
    for name, all_seconds in times.items():
        seconds = all_seconds[1:]
        ratio = statistics.median(b / a for a, b in zip(yardstick, seconds, strict=True))
        told = f"  {name:31} {statistics.median(seconds):7.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"
        told += f"  {ratio:6.2f} products"
        if not isinstance(results[name], np.ndarray):
            told += f"  {captured(rows, components(results[name])):.4%} of the variance"
        print(told)


if __name__ == "__main__":
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    compare(read_images(Path(sys.argv[1])) if len(sys.argv) > 1 else six_times(read_images(DIGITS)))
