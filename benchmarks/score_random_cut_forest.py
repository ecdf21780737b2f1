"""A random cut forest beside scikit-learn's isolation forest: growing it and scoring rows, in turn; and our sampling.

    python benchmarks/score_random_cut_forest.py [THREADS]

100 trees of 256 points of 30 features, 100,000 rows to score, and a stream of 10 features to sample; THREADS is 1
unless given, for both. Medians of the rounds and of their ratios; where other programs run too, only the ratios count.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from joblib import parallel_backend
from sklearn.ensemble import IsolationForest

from algorithms.random_cut_forest.forest import Forest, grow
from algorithms.random_cut_forest.sampling import Reservoir

TREES, POINTS, FEATURES, ROWS = 100, 256, 30, 100_000
STREAM = 2_000_000  # rows to sample from, in batches
BATCH = 5000
ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], count: int, unit: str) -> None:
    """Prints the rate of both, in turn, each first in every other round, and the median of the ratios."""
    times: list[tuple[float, float]] = []
    for round_ in range(ROUNDS + 1):  # the first one warms up
        if round_ % 2:
            here, there = seconds(ours), seconds(theirs)
        else:
            there, here = seconds(theirs), seconds(ours)
        times.append((here, there))
    here, there = (count / statistics.median(side) for side in zip(*times[1:], strict=True))
    ratios = sorted(b / a for a, b in times[1:])
    print(f"  {name:8} {here:11,.0f} {unit} a second, IsolationForest {there:9,.0f}", end="")
    print(f", {statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def sample(rows: np.ndarray) -> None:
    """Reads the stream into a reservoir."""
    reservoir = Reservoir(TREES * POINTS, rows.shape[1], np.random.PCG64(0))
    for start in range(0, STREAM, BATCH):
        at = start % len(rows)
        reservoir.add(rows[at : at + BATCH])


def main(threads: int) -> None:
    """Grows, scores and samples."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    points = rows[: TREES * POINTS].reshape(TREES, POINTS, FEATURES)
    forest: Forest = grow(points, 0, threads)
    other = IsolationForest(n_estimators=TREES, max_samples=POINTS, random_state=0, n_jobs=threads).fit(rows)

    def score_samples() -> None:
        with parallel_backend("threading", n_jobs=threads):
            other.score_samples(rows)

    print(f"{TREES} trees of {POINTS} points of {FEATURES} features, {threads} threads, {ROUNDS} rounds")
    compare("growing", lambda: grow(points, 0, threads), lambda: other.fit(rows), TREES, "trees")
    compare("scoring", lambda: forest.scores(rows, threads), score_samples, ROWS, "rows")
    stream = random.normal(size=(ROWS, 10)).astype(np.float32)
    rate = STREAM / statistics.median(seconds(lambda: sample(stream)) for _ in range(ROUNDS))
    print(f"  sampling {rate:11,.0f} rows of 10 features a second, one thread")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
