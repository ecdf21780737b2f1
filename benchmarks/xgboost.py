"""XGBoost beside the library called directly, on normal deviates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import algorithms
from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Row, Size
from benchmarks.servers import Served
from formats import Batch

NAME, D, DEPTH, CSV = "xgboost", 30, 6, "text/csv"
GIVEN = {"objective": "binary:logistic", "max_depth": DEPTH}
GROWTH = Growth(20_000, 8, lambda n, d: Batch(*synthetic.normal(n, d)), lambda _n, _d: GIVEN | {"num_round": 10})


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Training in memory, from files, scoring."""
    import xgboost

    (n, m), trees = (size(100_000, 5000), size(200_000, 5000)), size(100, 10)
    X, y = synthetic.normal(max(n, m), D)
    parameters, given = GIVEN | {"verbosity": 0}, GIVEN | {"num_round": trees}

    def library() -> xgboost.Booster:
        matrix = xgboost.DMatrix(X[:n], y[:n])
        return xgboost.train(parameters, matrix, trees, evals=[(matrix, "train")])  # watched, as in our jobs

    yield Row(
        f"core, {trees} trees of depth {DEPTH}, {n:,} x {D}",
        n * trees,
        "row-trees",
        lambda: jobs.fit(NAME, given, Batch(X[:n], y[:n]), CSV),
        {"xgboost.train": library},
        # each level: a byte a feature to find the bin, 8 of gradients a row; two sums a feature
        Floor(2.0 * trees * DEPTH * n * D, 1.0 * trees * DEPTH * n * (D + 8)),
    )
    synthetic.write_csv(base / "rows.csv", X[:m], y[:m])
    file = jobs.lay_out(base, given, base / "rows.csv", CSV)
    yield Row(
        f"end to end, CSV of {m:,} x {D}, {trees} trees",
        m,
        "rows",
        lambda: jobs.program(base, NAME),
        {"pandas and xgboost": lambda: jobs.peer_program(NAME, file, base / "peer", trees)},
    )
    booster = library()
    (base / "booster").mkdir()  # a folder of its own: all models of one answer together
    booster.save_model(base / "booster" / "xgboost-model")
    model = algorithms.find(NAME).load(base / "booster")
    for count, each in ((n, 1), (1, size(1000, 20))):
        parts = [np.ascontiguousarray(X[i : i + count]) for i in range(each)]

        def answer(parts: list[np.ndarray] = parts) -> None:
            for part in parts:
                model.predict(Batch(part))

        def predict(parts: list[np.ndarray] = parts) -> None:
            for part in parts:
                booster.inplace_predict(part)

        name = "scoring, one row a request" if count == 1 else f"scoring {count:,} rows"
        yield Row(name, count * each, "rows", answer, {"Booster.inplace_predict": predict})


def _served(folder: Path, n: int) -> np.ndarray:
    """A hundred trees, of few features: 10,000 rows of many would be more than a server takes."""
    import xgboost

    X, y = synthetic.normal(max(n, 20_000), 16)
    booster = xgboost.train(GIVEN, xgboost.DMatrix(X[:20_000], y[:20_000]), 100)
    (folder / "model").mkdir()
    for path in ("model/xgboost-model.ubj", "booster.ubj", "booster.json"):
        booster.save_model(folder / path)
    return X[:n]


SERVED = Served((1, 100, 10_000), _served)
