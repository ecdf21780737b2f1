"""Thirty-two linear models from RecordIO files, reading included, beside one of scikit-learn's on rows in memory.

    python benchmarks/train_linear_learner.py [IMAGES LABELS [PYTHON]]

IMAGES and LABELS are MNIST files, gzipped; by default the 10,000 digits that ship, six times. The digit 0 is told from
the rest, 15 epochs. PYTHON is an interpreter that has MXNet 1.9.1: it then trains 32 outputs at once on the same rows.
Then: where the time goes, and how time and memory grow with the rows.
"""

from __future__ import annotations

import cProfile
import gzip
import logging
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import SGDClassifier

import algorithms
from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job, Paths
from algorithms.report import Report
from formats import recordio

DIGITS = Path(__file__).parent.parent / "data" / "mnist"
ROUNDS, EPOCHS = 5, 15
MXNET = """
import sys, time, numpy as np, mxnet as mx
X, y, batch = np.load(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
data = mx.io.NDArrayIter(X, np.tile(y[:, None], (1, 32)), batch, label_name='out_label')
fc = mx.sym.FullyConnected(mx.sym.Variable('data'), num_hidden=32)
module = mx.mod.Module(mx.sym.LogisticRegressionOutput(fc, name='out'), label_names=['out_label'])
module.bind(data.provide_data, data.provide_label)
module.init_params(mx.init.Normal(0.01))
module.init_optimizer(optimizer='adam', optimizer_params={'learning_rate': 0.005, 'rescale_grad': 1 / batch})
started = time.perf_counter()
for epoch in range(15):
    data.reset()
    for each in data:
        module.forward_backward(each)
        module.update()
mx.nd.waitall()
print(time.perf_counter() - started)
"""
ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import train_linear_learner as benchmark
seconds = benchmark.fit(benchmark.Path(sys.argv[2]), 1000, 3)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, peak.split()[1])
"""


def digits(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 784) float32 in [0, 1], and 1 for the digit 0 (n,)."""
    pixels = np.frombuffer(gzip.decompress(images.read_bytes())[16:], np.uint8).reshape(-1, 784)
    numbers = np.frombuffer(gzip.decompress(labels.read_bytes())[8:], np.uint8)
    return (pixels / np.float32(255)).astype(np.float32), (numbers == 0).astype(np.float32)


def write_channel(base: Path, X: np.ndarray, y: np.ndarray, times: int = 1) -> None:
    """A channel of equal RecordIO files."""
    folder = Paths(base).data / "train"
    folder.mkdir(parents=True)
    for i in range(times):
        (folder / f"rows-{i}.pbr").write_bytes(recordio.encode_features(X, y))


def fit(base: Path, batch: int, epochs: int = EPOCHS) -> float:
    """Seconds to train in this process, all epochs, and choose the best model."""
    algorithm = algorithms.find("linear_learner")
    report = Report("algo-1", algorithm.dimension, None)
    given = {
        "predictor_type": "binary_classifier",
        "feature_dim": "784",
        "mini_batch_size": str(batch),
        "epochs": str(epochs),
        "early_stopping_patience": str(epochs + 1),
    }
    train = Channel(
        ChannelConfig("train"), Paths(base).data, algorithm.content_types[0], report, bool, allows_missing=False
    )
    started = time.perf_counter()
    algorithm.fit(Job({"train": train}, Cluster(), report, bool), algorithm.hyperparameters.parse(given))
    return time.perf_counter() - started


def beside_mxnet(python: str, X: np.ndarray, y: np.ndarray, batch: int) -> float:
    """Seconds that MXNet needs for 32 outputs, rows in memory, its start not counted."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("X.npy", "y.npy")]
        for file, array in zip(files, (X, y), strict=True):
            np.save(file, array)
        command = [python, "-W", "ignore", "-c", MXNET, *map(str, files), str(batch)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def scikit_learn(X: np.ndarray, y: np.ndarray) -> float:
    """Seconds for one model."""
    started = time.perf_counter()
    SGDClassifier(loss="log_loss", max_iter=EPOCHS, tol=None).fit(X, y)
    return time.perf_counter() - started


def compare(X: np.ndarray, y: np.ndarray, python: str | None) -> None:
    """Prints the seconds of each, in turn, and the median ratios to ours."""
    print(f"{len(X):,} rows of 784, {EPOCHS} epochs, median of {ROUNDS} rounds (least to most)")
    with tempfile.TemporaryDirectory() as folder:
        write_channel(Path(folder), X, y)
        fit(Path(folder), 200, 1)
        for batch in (200, 1000):
            rounds = []
            for _ in range(ROUNDS):
                seconds = [fit(Path(folder), batch), scikit_learn(X, y)]
                rounds.append(seconds + ([beside_mxnet(python, X, y, batch)] if python else []))
            names = ("inbuilt, 32 models", "SGDClassifier, 1 model", "MXNet, 32 outputs")
            for i, name in enumerate(names[: len(rounds[0])]):
                own = [each[i] for each in rounds]
                ratio = statistics.median(each[i] / each[0] for each in rounds)
                shown = f"{statistics.median(own):.2f} s ({min(own):.2f} to {max(own):.2f})"
                print(f"  batch {batch:4}  {name:24} {shown:26} {ratio:.2f} of ours")
        profile = cProfile.Profile()
        profile.runcall(fit, Path(folder), 200)
    print_profile(pstats.Stats(profile))


def print_profile(stats: pstats.Stats) -> None:
    """Seconds of the parts of a job, the profiler's own time included."""
    parts = ("learn", "_initialise", "_consume", "_assess", "candidates")
    for (file, _, name), (_, calls, _, total, _) in sorted(stats.stats.items(), key=lambda each: -each[1][3]):  # type: ignore[attr-defined]
        if name in parts and "algorithms" in file:
            print(f"  {Path(file).name:20} {name:12} {calls:6} calls {total:6.2f} s")


def growth(X: np.ndarray, y: np.ndarray) -> None:
    """Prints seconds and the greatest memory of processes that train on more and more rows."""
    for times in (1, 2, 4, 8):
        with tempfile.TemporaryDirectory() as folder:
            write_channel(Path(folder), X[:30000], y[:30000], times)
            folders = (str(Path(__file__).parent), folder)
            command = [sys.executable, "-c", ALONE, *folders]
            seconds, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            print(f"  {30000 * times:7,} rows, 3 epochs: {float(seconds):.2f} s, {int(memory) / 1024:.0f} MiB")


if __name__ == "__main__":
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    if len(sys.argv) > 2:
        images, numbers = digits(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        shipped = digits(DIGITS / "t10k-images-idx3-ubyte.gz", DIGITS / "t10k-labels-idx1-ubyte.gz")
        images, numbers = (np.tile(part, (6,) + (1,) * (part.ndim - 1)) for part in shipped)
    compare(images, numbers, sys.argv[3] if len(sys.argv) > 3 else None)
    growth(images, numbers)
