"""XGBoost from files to a model, and from a file to a matrix, beside the library with what its users read files with.

    python benchmarks/train_xgboost.py [--quick]

Both sides run in this process, in turn, with all threads; the ratios are the medians of the rounds' ratios.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
import sklearn
import xgboost
from sklearn.datasets import load_svmlight_file

import algorithms
from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job
from algorithms.report import Report
from algorithms.xgboost import boosting
from algorithms.xgboost.matrices import matrices

ROUNDS = 5
TREES = 100
HYPERPARAMETERS = {"objective": "binary:logistic", "max_depth": "6"}
PARAMETERS = {"objective": "binary:logistic", "max_depth": 6}
ALGORITHM = algorithms.find("xgboost")
Side = Callable[[], float]  # seconds


def dense(path: Path, rows: int) -> None:
    """A label and 30 normal deviates with 6 decimals a row."""
    random = np.random.default_rng(0)
    features = random.normal(size=(rows, 30)).round(6)
    labels = (features[:, 0] * features[:, 1] + features[:, 2] + random.normal(size=rows) > 0).astype(int)
    table = pd.DataFrame(features)
    table.insert(0, "label", labels)
    table.to_csv(path, header=False, index=False)


def one_hot(path: Path, rows: int) -> None:
    """A label and 22 of 126 features a row, each 1, as in the mushroom data."""
    random = np.random.default_rng(0)
    starts = np.linspace(0, 126, 23).astype(int)  # of each attribute's values
    chosen = starts[:-1] + (random.random((rows, 22)) * np.diff(starts)).astype(int)
    labels = (chosen[:, 0] % 2) ^ (chosen[:, 5] % 3 == 0) ^ (random.random(rows) < 0.1)
    lines = (" ".join(f"{i}:1" for i in row) for row in (chosen + 1).tolist())
    path.write_text("".join(f"{label} {line}\n" for label, line in zip(labels.tolist(), lines, strict=True)))


def our_fit(folder: Path, content_type: str, trees: int = TREES) -> xgboost.Booster:
    """Reads the one file in `folder`/train and trains, all else default."""
    report = Report("algo-1", ALGORITHM.dimension, None)
    channel = Channel(ChannelConfig("train"), folder, content_type, report, lambda: False, allows_missing=True)
    job = Job({"train": channel}, Cluster(), report, lambda: False)
    hyperparameters = ALGORITHM.hyperparameters.parse(HYPERPARAMETERS | {"num_round": str(trees)})
    return ALGORITHM.fit(job, hyperparameters).boosters[0]


def our_rounds(folder: Path, content_type: str, matrix: xgboost.DMatrix) -> float:
    """Seconds of our training from where it has its matrix, which is `matrix` instead."""
    begun = []

    def instead(*_: object) -> list[xgboost.DMatrix]:
        begun.append(time.perf_counter())
        return [matrix]

    with mock.patch.object(boosting, "matrices", instead):
        our_fit(folder, content_type)
    return time.perf_counter() - begun[0]


class Ready(Exception):  # noqa: N818 - an end, not a mistake
    """Our training has its matrix."""


def our_matrix(folder: Path) -> None:
    """From CSV to the matrix that `hist` learns from."""

    def and_no_more(*given: object) -> list[xgboost.DMatrix]:
        matrices(*given)
        raise Ready

    with mock.patch.object(boosting, "matrices", and_no_more), suppress(Ready):
        our_fit(folder, "text/csv")


def library_fit(matrix: xgboost.DMatrix, trees: int = TREES) -> xgboost.Booster:
    """`xgboost.train`, which watches the training rows as our jobs do."""
    return xgboost.train(PARAMETERS, matrix, trees, evals=[(matrix, "train")])


def pandas_matrix(path: Path) -> xgboost.DMatrix:
    """From CSV to a matrix through pandas' C reader."""
    table = pd.read_csv(path, header=None, engine="c")
    return xgboost.DMatrix(table.iloc[:, 1:], table.iloc[:, 0])


def timed(work: Callable[[], object]) -> Side:
    """All of it, timed."""

    def side() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return side


def measure(title: str, sides: dict[str, Side]) -> None:
    """Prints seconds of each side, and ours over each other's."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    with silence():
        for _ in range(ROUNDS + 1):
            for name, side in sides.items():
                times[name].append(side())
    ours, *_ = (seconds[1:] for seconds in times.values())  # the first round warms up
    print(title)
    for i, (name, (_, *seconds)) in enumerate(times.items()):
        line = f"  {name:<44}{statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
        ratios = sorted(a / b for a, b in zip(ours, seconds, strict=True))
        share = f"  inbuilt takes {statistics.median(ratios):.2f} of it ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(line + (share if i else ""), flush=True)


@contextmanager
def silence() -> Iterator[None]:
    """Both sides print a line a round, to nowhere, the library's from C++."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def same_trees(ours: xgboost.Booster, theirs: xgboost.Booster) -> str:
    """Whether both are one model."""
    ours.set_attr(first_index=None)
    return "equal models" if ours.save_raw() == theirs.save_raw() else "models that differ"


def compare_training(folder: Path, content_type: str, title: str, read: Callable[[], xgboost.DMatrix]) -> None:
    """Prints both comparisons of one file: whole, and the rounds alone."""
    with silence():
        verdict = same_trees(our_fit(folder, content_type), library_fit(read()))
    measure(
        f"{title}, {TREES} trees of depth 6, {verdict}: reading and training",
        {"inbuilt": timed(lambda: our_fit(folder, content_type)), "library": timed(lambda: library_fit(read()))},
    )
    matrix = read()
    measure(
        "the rounds alone, on the same DMatrix",
        {"inbuilt": lambda: our_rounds(folder, content_type, matrix), "library": timed(lambda: library_fit(matrix))},
    )


def from_text(path: Path) -> xgboost.DMatrix:
    """`numpy.loadtxt` and a DMatrix."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return xgboost.DMatrix(table[:, 1:], table[:, 0])


def main() -> None:
    """Prints all comparisons; `--quick` has fewer rows."""
    some, many = (10_000, 100_000) if "--quick" in sys.argv else (50_000, 500_000)
    versions = {"xgboost": xgboost, "numpy": np, "pandas": pd, "scikit-learn": sklearn}
    print(", ".join(f"{name} {module.__version__}" for name, module in versions.items()))
    print(f"{len(os.sched_getaffinity(0))} cores, {ROUNDS} rounds in turn, medians (least to most)")
    logging.getLogger("inbuilt").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as name:
        sets = [Path(name, each, "train") for each in ("csv", "libsvm", "large")]
        for folder in sets:
            folder.mkdir(parents=True)
        path = sets[0] / "data.csv"
        dense(path, some)
        compare_training(path.parents[1], "text/csv", f"CSV of {some:,} x 30, numpy.loadtxt", lambda: from_text(path))
        lines = sets[1] / "data.libsvm"
        one_hot(lines, some)
        compare_training(
            lines.parents[1],
            "text/libsvm",
            f"LibSVM of {some:,} x 22 of 126, load_svmlight_file",
            lambda: xgboost.DMatrix(*load_svmlight_file(str(lines), zero_based=False)),
        )
        large = sets[2] / "data.csv"
        dense(large, many)
        for title, ours, theirs in (
            ("matrix ready", lambda: our_matrix(large.parents[1]), lambda: pandas_matrix(large)),
            (
                "first tree grown: only now all of it is sorted into bins on both sides",
                lambda: our_fit(large.parents[1], "text/csv", trees=1),
                lambda: library_fit(pandas_matrix(large), trees=1),
            ),
        ):
            sides = {"inbuilt": timed(ours), "pandas.read_csv, DMatrix": timed(theirs)}
            measure(f"CSV of {many:,} x 30, {title}", sides)


if __name__ == "__main__":
    main()
