"""A factorization machine's training: rows a second beside NumPy's, reading included, and what a step costs.

    python benchmarks/train_factorization_machines.py [ROWS]

ROWS rows (a million by default) of 40 features out of 1,000,000, 16 factors, mini-batches of 1,000, one epoch. NumPy
takes the same lazy step of Adam, on one core.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

import algorithms
from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.factorization_machines import learner
from algorithms.factorization_machines.hyperparameters import FactorizationMachinesHyperparameters
from algorithms.job import ChannelConfig, Job, Paths
from algorithms.report import Report
from formats import recordio

WIDTH, STORED, FACTORS, BATCH = 1_000_000, 40, 16, 1000
ROUNDS, SHARE = 5, 20  # mini-batches that NumPy is given in a round; it is slow
DIMENSIONS = (10_000, 1_000_000, 10_000_000)

Rows = tuple[sparse.csr_array, np.ndarray]


def batches(count: int, width: int = WIDTH) -> list[Rows]:
    """Mini-batches of features at random, one in each 40th of them, all 1, with labels 0 and 1."""
    random, found = np.random.default_rng(0), []
    starts = np.arange(0, BATCH * STORED + 1, STORED, dtype=np.int32)
    for _ in range(count):
        share = width // STORED
        features = random.integers(0, share, (BATCH, STORED), np.int32) + share * np.arange(STORED, dtype=np.int32)
        features = features.reshape(-1)
        ones = np.ones(len(features), np.float32)
        rows = sparse.csr_array((ones, features, starts), shape=(BATCH, width))
        found.append((rows, random.integers(0, 2, BATCH).astype(np.float32)))
    return found


def given(width: int = WIDTH) -> dict[str, str]:
    """Hyperparameters as a client sends them."""
    return {
        "feature_dim": str(width),
        "num_factors": str(FACTORS),
        "predictor_type": "binary_classifier",
        "mini_batch_size": str(BATCH),
    }


def started(threads: int, width: int = WIDTH) -> learner.Learner:
    """A model before its first step, whose memory has been touched."""
    learner.cpu_count = lambda: threads  # type: ignore[assignment]
    model = learner.Learner(FactorizationMachinesHyperparameters.parse(given(width)), np.random.default_rng(1))
    for term in (model._linear, model._factors):
        term.mean[:] = term.square[:] = 0
    return model


def train(model: learner.Learner | NumPy, work: list[Rows]) -> float:
    """Seconds for an epoch in memory."""
    cluster, began = Cluster(), time.perf_counter()
    for X, y in work:
        model.step(cluster, X, y)
    return time.perf_counter() - began


class NumPy:
    """The same step: the features that occur are taken out, moved, and put back."""

    def __init__(self, model: learner.Learner) -> None:
        self.bias = model.bias.copy()
        self.terms = [tuple(a.copy() for a in (t.weights, t.mean, t.square)) for t in (model._linear, model._factors)]
        self.rules = [(t.rate, t.wd) for t in (model._linear, model._factors)]
        self.steps = 0

    def step(self, cluster: Cluster, X: sparse.csr_array, y: np.ndarray) -> None:
        """The bias is left out: one number costs nothing."""
        self.steps += 1
        features, places = np.unique(X.indices, return_inverse=True)
        Z = sparse.csr_array((X.data, places, X.indptr), shape=(len(y), len(features)))
        squared = sparse.csr_array((X.data**2, places, X.indptr), shape=Z.shape)
        w, v = (weights[features] for weights, _, _ in self.terms)
        S = Z @ v
        margins = self.bias + (Z @ w)[:, 0] + 0.5 * (S**2 - squared @ v**2).sum(axis=1)
        a = (1 / (1 + np.exp(-margins)) - y)[:, None] / np.float32(len(y))
        gradients = Z.T @ a, Z.T @ (a * S) - (squared.T @ a) * v
        correction = np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        for term, (rate, wd), gradient, old in zip(self.terms, self.rules, gradients, (w, v), strict=True):
            weights, mean, square = term
            g = gradient + np.float32(wd) * old
            m = np.float32(0.9) * mean[features] + np.float32(0.1) * g
            s = np.float32(0.999) * square[features] + np.float32(0.001) * g**2
            mean[features], square[features] = m, s
            weights[features] = old - np.float32(rate * correction) * m / (np.sqrt(s) + np.float32(1e-8))


def core(work: list[Rows]) -> None:
    """Prints rows a second in memory, the programs in turn."""
    ours = {threads: started(threads) for threads in (1, 2)}
    theirs = NumPy(ours[1])
    for model in (*ours.values(), theirs):
        train(model, work[:2])
    rounds = []
    for _ in range(ROUNDS):
        seconds = [train(model, work) / len(work) for model in ours.values()]
        rounds.append([*seconds, train(theirs, work[:SHARE]) / SHARE])
    names = ("one core", "two cores", "NumPy, one core")
    for i, name in enumerate(names):
        rates = [BATCH / each[i] for each in rounds]
        ratio = statistics.median(each[-1] / each[i] for each in rounds)
        print(f"  {name:18} {statistics.median(rates):9,.0f} rows/s ({min(rates):,.0f} to {max(rates):,.0f})", end="")
        print(f" {ratio:5.1f} times NumPy's")


def write_channel(base: Path, work: list[Rows]) -> int:
    """A channel of one RecordIO file; its bytes."""
    folder = Paths(base).data / "train"
    folder.mkdir(parents=True)
    with (folder / "rows.pbr").open("wb") as file:
        for X, y in work:
            file.write(recordio.encode_features(X, y))
        return file.tell()


def fit(base: Path, threads: int) -> float:
    """Seconds of a job of one epoch, reading and metrics included."""
    learner.cpu_count = lambda: threads  # type: ignore[assignment]
    algorithm = algorithms.find("factorization_machines")
    report = Report("algo-1", algorithm.dimension, None)
    train = Channel(
        ChannelConfig("train"), Paths(base).data, algorithm.content_types[0], report, bool, allows_missing=False
    )
    began = time.perf_counter()
    algorithm.fit(Job({"train": train}, Cluster(), report, bool), algorithm.hyperparameters.parse(given()))
    return time.perf_counter() - began


def job(work: list[Rows]) -> None:
    """Prints rows a second of whole jobs."""
    with tempfile.TemporaryDirectory() as folder:
        size = write_channel(Path(folder), work)
        for threads in (1, 2):
            seconds = statistics.median(fit(Path(folder), threads) for _ in range(3))
            rate = len(work) * BATCH / seconds
            print(f"  {threads} threads, reading {size / 1e6:.0f} MB of RecordIO included: {rate:9,.0f} rows/s")


def dimensions() -> None:
    """Prints what a step costs on one core; the state is 2 MB, 204 MB and 2 GB."""
    for width in DIMENSIONS:
        work, model = batches(100, width), started(1, width)
        train(model, work)
        seconds = statistics.median(train(model, work) for _ in range(ROUNDS)) / len(work)
        print(f"  feature_dim {width:10,}: {seconds * 1000:.2f} ms a step")


if __name__ == "__main__":
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    rows = batches((int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000) // BATCH)
    print(f"{len(rows) * BATCH:,} rows x {STORED} of {WIDTH:,} features, {FACTORS} factors, batch {BATCH}")
    core(rows)
    job(rows)
    dimensions()
