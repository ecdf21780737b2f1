"""k-NN trained from a RecordIO file of 54 columns, reading included: rows a second; accuracy on the cover types.

    python benchmarks/train_knn.py              synthetic rows, like those of the cover types
    python benchmarks/train_knn.py COVTYPE      the real ones: .npy or .csv.gz, (581012, 55), the label last

A sample of 200,000 rows, a flat index. The peer reads the same rows from a CSV file with pandas, draws as many, and
gives them to faiss. With COVTYPE (shuffled by NumPy's seed 0, the first nine tenths to train) the accuracy is told
beside that of the published notebook.
"""

from __future__ import annotations

import gzip
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

import algorithms
from algorithms.algorithm import Model
from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job, Paths
from algorithms.report import Report
from formats import Batch, recordio

ROUNDS = 5
SAMPLE = 200_000
SETTINGS = {"predictor_type": "classifier", "sample_size": str(SAMPLE), "k": "10"}
PQ = {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": "8", "faiss_index_ivf_nlists": "500"}


def synthetic(n: int) -> np.ndarray:
    """(n, 55) float32: ten measures of the cover types' scales, a choice of 4, a choice of 40, a label of 7."""
    random = np.random.default_rng(0)
    place = random.random((n, 3), np.float32)
    scales = np.array([2000, 360, 66, 1400, 600, 7000, 250, 250, 250, 7000], np.float32)
    measures = place @ random.random((3, 10), np.float32) / 1.5 * scales
    measures += random.normal(size=(n, 10)) * scales / 50
    area, soil = (place[:, 0] * 4).astype(int), (place[:, 1] * 40).astype(int)
    label = ((place * 20).astype(int).sum(axis=1) % 7).astype(np.float32)
    return np.column_stack([measures.round(), np.eye(4)[area], np.eye(40)[soil], label]).astype(np.float32)


def read(path: Path) -> np.ndarray:
    """(n, 55) float32, shuffled as the notebook does; a file of text may have a header."""
    if path.suffix == ".npy":
        rows = np.load(path).astype(np.float32)
    else:
        with gzip.open(path, "rt") as file:
            header = 0 if any(map(str.isalpha, file.readline())) else None
        rows = pd.read_csv(path, header=header).to_numpy(np.float32)
    np.random.RandomState(0).shuffle(rows)
    return rows


def fit(base: Path, **given: str) -> Model:
    """Trains in this process on the channel `train` under `base`."""
    algorithm = algorithms.find("knn")
    report = Report("algo-1", algorithm.dimension, None)
    hyperparameters = algorithm.hyperparameters.parse(SETTINGS | given)
    channel = Channel(
        ChannelConfig("train"),
        Paths(base).data,
        algorithm.content_types[0],
        report,
        lambda: False,
        allows_missing=False,
    )
    return algorithm.fit(Job({"train": channel}, Cluster(), report, lambda: False), hyperparameters)


def peer(path: Path) -> faiss.IndexFlatL2:
    """What a user would write."""
    rows = pd.read_csv(path, header=None, dtype=np.float32).to_numpy()
    chosen = rows[np.random.default_rng(0).choice(len(rows), SAMPLE, replace=False), 1:]
    index = faiss.IndexFlatL2(chosen.shape[1])
    index.add(np.ascontiguousarray(chosen))
    return index


def compare_times(base: Path, csv: Path, n: int) -> None:
    """Prints rows a second of both, in turn."""
    times: list[tuple[float, float]] = []
    for round_ in range(ROUNDS + 1):
        started = time.perf_counter()
        fit(base, seed=str(round_))
        middle = time.perf_counter()
        peer(csv)
        times.append((middle - started, time.perf_counter() - middle))
    ours, theirs = zip(*times[1:], strict=True)  # the first round warms up
    print(f"{n:,} rows of 54, sample of {SAMPLE:,}, flat index, median of {ROUNDS} rounds (least to most)")
    for name, seconds in (("inbuilt, RecordIO", ours), ("pandas and faiss, CSV", theirs)):
        rates = [n / each for each in seconds]
        print(f"  {name:22} {statistics.median(rates):9,.0f} rows/s ({min(rates):,.0f} to {max(rates):,.0f})")
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"  inbuilt is {ratio:.2f} times as fast, median of the rounds' ratios")


def accuracy(model: Model, test: np.ndarray) -> float:
    """Share of right answers to rows (n, 55)."""
    features = np.ascontiguousarray(test[:, :-1])
    right = 0
    for start in range(0, len(test), 5000):
        answers = model.predict(Batch(features[start : start + 5000]))["predicted_label"]
        right += int((answers == test[start : start + 5000, -1]).sum())
    return right / len(test)


def main() -> None:
    """Times, and the accuracy of real rows."""
    real = len(sys.argv) > 1
    rows = read(Path(sys.argv[1])) if real else synthetic(523_000)
    train, test = np.split(rows, [int(0.9 * len(rows))]) if real else (rows, rows[:0])
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        folder = Paths(base).data / "train"
        folder.mkdir(parents=True)
        features, labels = np.ascontiguousarray(train[:, :-1]), np.ascontiguousarray(train[:, -1])
        (folder / "rows.pbr").write_bytes(recordio.encode_features(features, labels))
        pd.DataFrame(np.column_stack([labels, features]).astype(np.int32)).to_csv(
            base / "rows.csv", header=False, index=False
        )
        compare_times(base, base / "rows.csv", len(train))
        if not real:
            return
        for wanted, given in ((0.922, {"k": "10"}), (0.812, {"k": "100"}), (0.804, {"k": "100"} | PQ)):
            found = accuracy(fit(base, **given), test)
            what = f"{given.get('index_type', 'faiss.Flat')}, k = {given['k']}"
            print(f"  accuracy, {what:22} {found:.4f} (published {wanted})")


if __name__ == "__main__":
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    main()
