"""PCA beside scikit-learn's, whole and in batches, on digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Peer, Row, Size
from formats import Batch

NAME, COMPONENTS, BATCH = "pca", 50, 5000
GIVEN = {"num_components": COMPONENTS, "feature_dim": 784}
GROWTH = Growth(
    20_000,
    64,
    lambda n, d: Batch(synthetic.normal(n, d)[0]),
    lambda _, d: {"num_components": 10, "feature_dim": d},
)


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Training in memory, from files, scoring."""
    X, _ = synthetic.digits(size(60_000, 6000))
    n, d = X.shape

    def whole() -> object:
        from sklearn.decomposition import PCA

        return PCA(COMPONENTS).fit(X)

    def randomized_too() -> object:
        from sklearn.decomposition import PCA

        return PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit(X)

    def in_batches() -> object:
        from sklearn.decomposition import IncrementalPCA

        return IncrementalPCA(COMPONENTS, batch_size=BATCH).fit(X[: 2 * BATCH])

    yield Row(
        f"core, {n:,} x {d}, {COMPONENTS} components, regular",
        n,
        "rows",
        lambda: jobs.fit(NAME, GIVEN, Batch(X)),
        {
            "scikit-learn PCA": whole,
            f"scikit-learn IncrementalPCA, batches of {BATCH:,}": Peer(in_batches, min(1, 2 * BATCH / n)),
        },
        Floor(1.0 * n * d * d, 4.0 * n * d),  # half of X'X: it is symmetric
    )
    randomized = GIVEN | {"algorithm_mode": "randomized"}
    yield Row(
        f"core, {n:,} x {d}, {COMPONENTS} components, randomized",
        n,
        "rows",
        lambda: jobs.fit(NAME, randomized, Batch(X)),
        {"scikit-learn PCA": whole, "scikit-learn PCA, randomized": randomized_too},
        Floor(4.0 * n * d * 2 * COMPONENTS, 4.0 * n * d),  # rows times the sketch, and back
    )

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

    model, peer = jobs.fit(NAME, GIVEN, Batch(X[:m])), whole()
    yield Row(
        f"scoring {n:,} rows of {d}",
        n,
        "rows",
        lambda: model.predict(Batch(X)),
        {"scikit-learn transform": lambda: peer.transform(X)},  # type: ignore[attr-defined]
        Floor(2.0 * n * d * COMPONENTS, 4.0 * n * (d + COMPONENTS)),
    )
