"""A random cut forest beside rrcf, which is the same in Python, and scikit-learn's isolation forest, which is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from algorithms.machine import cpu_count
from algorithms.random_cut_forest.fit import SCORED_ROWS
from algorithms.random_cut_forest.forest import grow
from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Peer, Row, Size
from formats import Batch

NAME, TREES, POINTS, D = "random_cut_forest", 100, 256, 30
ASKED = 10  # of rrcf, which is slow
GIVEN = {"num_trees": TREES, "num_samples_per_tree": POINTS, "feature_dim": D}
GROWTH = Growth(50_000, 8, lambda n, d: Batch(synthetic.normal(n, d)[0]), lambda _, d: GIVEN | {"feature_dim": d})


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Training in memory, growing alone, from files, scoring."""
    n, threads = size(100_000, 5000), cpu_count()
    X, _ = synthetic.normal(max(n, TREES * POINTS), D)
    points = X[: TREES * POINTS].reshape(TREES, POINTS, D)
    X = X[:n]

    def isolation() -> object:
        from sklearn.ensemble import IsolationForest

        return IsolationForest(n_estimators=TREES, max_samples=POINTS, random_state=0, n_jobs=threads).fit(X)

    def rrcf_trees() -> list[Any]:
        import rrcf

        return [rrcf.RCTree(each.astype(float)) for each in points[:2]]

    yield Row(
        f"core, {n:,} x {D}, {TREES} trees of {POINTS}",
        n,
        "rows",
        lambda: jobs.fit(NAME, GIVEN, Batch(X)),
        {"scikit-learn IsolationForest": isolation},
        # growing, and scoring some of the sample, as below
        Floor((2.0 * TREES * POINTS + 4.0 * SCORED_ROWS * TREES) * math.log2(POINTS) * D, 4.0 * n * D),
    )
    yield Row(
        f"growing {TREES} trees of {POINTS} x {D}",
        TREES,
        "trees",
        lambda: grow(points, 0, threads),
        {"scikit-learn IsolationForest": isolation, "rrcf": Peer(rrcf_trees, 2 / TREES)},
        # each level of a balanced tree: the lowest and highest value of every feature, from cache
        Floor(2.0 * TREES * POINTS * D * math.log2(POINTS), 4.0 * TREES * POINTS * D),
    )
    synthetic.write_csv(base / "rows.csv", X)
    file = jobs.lay_out(base, GIVEN, base / "rows.csv", "text/csv;label_size=0")
    yield Row(
        f"end to end, CSV of {n:,} x {D}",
        n,
        "rows",
        lambda: jobs.program(base, NAME),
        {"pandas and scikit-learn": lambda: jobs.peer_program(NAME, file, base / "peer")},
    )
    model, other = jobs.fit(NAME, GIVEN, Batch(X)), isolation()

    grown: list[Any] = []

    def rrcf_scores() -> None:
        grown[:] = grown or rrcf_trees()  # in the first round, which does not count
        for tree in grown:
            for i in range(ASKED):
                tree.insert_point(X[i].astype(float), POINTS + i)
                tree.codisp(POINTS + i)
                tree.forget_point(POINTS + i)

    yield Row(
        f"scoring {n:,} rows of {D}",
        n,
        "rows",
        lambda: model.scores(Batch(X), threads),
        {
            "scikit-learn score_samples": lambda: other.score_samples(X),  # type: ignore[attr-defined]
            f"rrcf, {ASKED} rows in two trees": Peer(rrcf_scores, 2 * ASKED / TREES / n),
        },
        # each row, each level of each tree: how far it lies outside of a box, two differences a feature
        Floor(4.0 * n * TREES * math.log2(POINTS) * D, 4.0 * n * D),
    )
