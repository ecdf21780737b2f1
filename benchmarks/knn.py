"""k nearest neighbours beside faiss called directly, on rows like those of the cover types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Row, Size
from formats import Batch

NAME, K = "knn", 10
SETTINGS: dict[str, object] = {"predictor_type": "classifier", "k": K}
PQ: dict[str, object] = {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 8, "faiss_index_ivf_nlists": 500}
INDEXES: dict[str, dict[str, object]] = {"Flat": {}, "IVFFlat": {"index_type": "faiss.IVFFlat"}, "IVFPQ": PQ}
GROWTH = Growth(5000, 16, lambda n, d: Batch(*synthetic.normal(n, d)), lambda n, _: SETTINGS | {"sample_size": n})


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Sampling and indexing in memory, the same from a file, and answers of each index beside faiss's own search."""
    X, y = synthetic.cover_types(size(400_000, 20_000))
    (n, d), sample = X.shape, size(200_000, 10_000)
    given = SETTINGS | {"sample_size": sample}

    def flat() -> object:
        import faiss

        index = faiss.IndexFlatL2(d)
        index.add(X[np.random.default_rng(0).choice(n, sample, replace=False)])
        return index

    yield Row(
        f"core, a sample of {sample:,} of {n:,} x {d}, Flat",
        n,
        "rows",
        lambda: jobs.fit(NAME, given, Batch(X, y)),
        {"NumPy choice and faiss": flat},
        Floor(bytes=4.0 * d * (n + 2 * sample)),  # all are read, the sample is kept and indexed
    )
    m = size(200_000, 10_000)
    synthetic.write_csv(base / "rows.csv", X[:m], y[:m], "%d")
    half = SETTINGS | {"sample_size": m // 2}
    file = jobs.lay_out(base, half, base / "rows.csv", "text/csv")
    yield Row(
        f"end to end, CSV of {m:,} x {d}",
        m,
        "rows",
        lambda: jobs.program(base, NAME),
        {"pandas and faiss": lambda: jobs.peer_program(NAME, file, base / "peer", m // 2)},
    )
    for kind, more in INDEXES.items():
        yield from answers(kind, jobs.fit(NAME, given | more, Batch(X, y)), X, base, size)


def answers(kind: str, model: Any, X: np.ndarray, base: Path, size: Size) -> Iterator[Row]:
    """Of a batch, and of one row; an answer holds the vote too, faiss only searches. faiss has its own defaults."""
    import faiss

    model.save(base)
    index = faiss.read_index(str(base / "model_algo-1"))
    threshold = 128_000  # faiss's own; ours is lower, and of the whole process
    batch = size(1000, 100)
    for count, each in ((batch, 1), (1, size(50, 5) if kind == "Flat" else size(2000, 20))):
        queries = np.ascontiguousarray(np.pad(X[: max(count, each)], ((0, 0), (0, index.d - X.shape[1]))))
        parts = [slice(i, i + count) for i in range(each)]

        def search(index: faiss.Index = index, queries: np.ndarray = queries, parts: list[slice] = parts) -> None:
            faiss.cvar.distance_compute_blas_threshold = threshold
            for part in parts:
                index.search(queries[part], K)

        def answer(parts: list[slice] = parts) -> None:
            for part in parts:
                model.predict(Batch(X[part]))

        floor = Floor(2.0 * count * each * index.ntotal * index.d, 4.0 * each * index.ntotal * index.d)
        name = f"scoring, {kind}, {'one row' if count == 1 else f'{count:,} rows'} a request"
        peers = {"faiss search": search}
        yield Row(name, count * each, "rows", answer, peers, floor if kind == "Flat" else None)
