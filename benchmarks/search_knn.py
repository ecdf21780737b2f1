"""Answers of a k-NN model, of a batch and of one row, beside faiss's own search of the same index, in turn.

    python benchmarks/search_knn.py             synthetic rows, like those of the cover types
    python benchmarks/search_knn.py COVTYPE     the real ones: .npy or .csv.gz, (581012, 55), the label last

An answer holds the vote too; faiss only searches. 200,000 rows in the index, medians of the rounds' ratios.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from train_knn import PQ, SAMPLE, fit, read, synthetic

from algorithms.job import Paths
from formats import Batch, recordio

INDEXES = {
    "faiss.Flat": {},
    "faiss.IVFFlat": {"index_type": "faiss.IVFFlat"},
    "faiss.IVFPQ": PQ,
}
BATCH = 1000
FAISS_THRESHOLD = faiss.cvar.distance_compute_blas_threshold
ROUNDS = 7
ROWS = {"faiss.Flat": 40, "faiss.IVFFlat": 2000, "faiss.IVFPQ": 2000}  # asked one by one in a round


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], count: int) -> None:
    """Prints the microseconds a row of both, in turn, each first in every other round, and the median of the ratios."""
    times: list[tuple[float, float]] = []
    for round_ in range(ROUNDS + 1):
        if round_ % 2:
            here, there = seconds(ours), seconds(theirs)
        else:
            there, here = seconds(theirs), seconds(ours)
        times.append((here, there))
    here, there = (statistics.median(side) / count * 1e6 for side in zip(*times[1:], strict=True))
    shares = sorted(a / b for a, b in times[1:])
    spread = f"({shares[0]:.2f} to {shares[-1]:.2f})"
    print(f"  {name:26} {here:9.1f} us a row, faiss {there:9.1f}, ratio {statistics.median(shares):.3f} {spread}")


def main() -> None:
    """Trains an index of each type, saves it, and asks both."""
    rows = read(Path(sys.argv[1])) if len(sys.argv) > 1 else synthetic(SAMPLE + 20_000)
    train, queries = rows[:-20_000], np.ascontiguousarray(rows[-20_000:, :-1])
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        folder = Paths(base).data / "train"
        folder.mkdir(parents=True)
        features, labels = np.ascontiguousarray(train[:, :-1]), np.ascontiguousarray(train[:, -1])
        (folder / "rows.pbr").write_bytes(recordio.encode_features(features, labels))
        print(f"{SAMPLE:,} rows of {features.shape[1]}, {ROUNDS} rounds, ratio ours / faiss (least to most)")
        for index_type, given in INDEXES.items():
            for k in (10, 100):
                model = fit(base, **(given | {"k": str(k)}))
                model.save(base)
                index = faiss.read_index(str(base / "model_algo-1"))
                ask(f"{index_type}, k = {k}", model.predict, padded(index, queries), queries, k, ROWS[index_type])


def padded(index: faiss.Index, queries: np.ndarray) -> tuple[faiss.Index, np.ndarray]:
    """The index, and the queries as wide as its rows."""
    return index, np.ascontiguousarray(np.pad(queries, ((0, 0), (0, index.d - queries.shape[1]))))


def ask(
    name: str,
    predict: Callable[[Batch], object],
    other: tuple[faiss.Index, np.ndarray],
    queries: np.ndarray,
    k: int,
    rows: int,
) -> None:
    """A batch, and rows one by one."""
    index, wide = other

    def search(rows: np.ndarray) -> None:
        faiss.cvar.distance_compute_blas_threshold = FAISS_THRESHOLD  # ours is lower, and of the whole process
        index.search(rows, k)

    compare(
        f"{name}, {BATCH} rows",
        lambda: predict(Batch(queries[:BATCH])),
        lambda: search(wide[:BATCH]),
        BATCH,
    )
    single = [Batch(queries[i : i + 1]) for i in range(rows)]
    alone = [wide[i : i + 1] for i in range(rows)]
    compare(
        f"{name}, one row",
        lambda: [predict(each) for each in single],
        lambda: [search(each) for each in alone],
        rows,
    )


if __name__ == "__main__":
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    main()
