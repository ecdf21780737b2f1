"""k-means beside scikit-learn's mini-batches and faiss's Lloyd iterations, on digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from algorithms.kmeans.model import KMeansModel
from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Row, Size
from benchmarks.servers import Served
from formats import Batch

NAME, K, FACTOR = "kmeans", 10, 10  # FACTOR: ours has ten centers for each of the K until the end
GIVEN = {"k": K, "feature_dim": 784}
GROWTH = Growth(
    20_000, 64, lambda n, d: Batch(synthetic.normal(n, d)[0]), lambda _, d: {"k": K, "feature_dim": d, "epochs": 1}
)


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Training in memory, from files, scoring."""
    X, _ = synthetic.digits(size(60_000, 6000))
    n, d = X.shape

    def scikit_learn() -> object:
        from sklearn.cluster import MiniBatchKMeans

        return MiniBatchKMeans(K, batch_size=5000, max_iter=1, n_init="auto", random_state=0).fit(X)

    def faiss_lloyd() -> object:
        import faiss

        model = faiss.Kmeans(d, K, niter=25, seed=1, max_points_per_centroid=n)
        model.train(X)
        return model

    floor = Floor(2.0 * n * d * K * FACTOR, 4.0 * n * d)
    peers = {"scikit-learn MiniBatchKMeans, 1 epoch of 5,000": scikit_learn, "faiss Kmeans, 25 passes": faiss_lloyd}
    yield Row(f"core, {n:,} x {d}, k {K}", n, "rows", lambda: jobs.fit(NAME, GIVEN, Batch(X)), peers, floor)

    m = size(20_000, 2000)
    synthetic.write_levels(base / "rows.csv", X[:m])
    file = jobs.lay_out(base, GIVEN, base / "rows.csv", "text/csv;label_size=0")
    yield Row(
        f"end to end, CSV of {m:,} x {d}",
        m,
        "rows",
        lambda: jobs.program(base, NAME),
        {"pandas and scikit-learn": lambda: jobs.peer_program(NAME, file, base / "peer")},
    )

    model, peer = jobs.fit(NAME, GIVEN, Batch(X[:m])), scikit_learn()
    yield Row(
        f"scoring {n:,} rows of {d}",
        n,
        "rows",
        lambda: model.predict(Batch(X)),
        {"scikit-learn predict": lambda: peer.predict(X)},  # type: ignore[attr-defined]
        Floor(2.0 * n * d * K, 4.0 * n * d),
    )


def _served(folder: Path, n: int) -> np.ndarray:
    """Ten centers: digits."""
    X, _ = synthetic.digits(max(n, 2000))
    (folder / "model").mkdir()
    KMeansModel(X[:K]).save(folder / "model")
    np.save(folder / "centers.npy", X[:K])
    return X[:n]


SERVED = Served((1, 100), _served)
