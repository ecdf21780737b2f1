"""Cross-validation (`_kfold`): a model for each part of the rows, trained on the others, and what it says of its part.

The rows of both channels are one set, as in the hosted container. The models answer together when they are served.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.report import log
from algorithms.xgboost.boosting import Boosting
from algorithms.xgboost.data import Layout, Rows
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.model import XGBoostModel
from formats import Batch, csv
from formats.batch import concatenate

CHANNELS = ("train", "validation")
FILE = "predictions.csv"


def cross_validate(
    job: Job,
    hyperparameters: XGBoostHyperparameters,
    parameters: Mapping[str, Any],
    tables: list[Rows],
    layout: Layout,
) -> list[xgboost.Booster]:
    """A booster for each part of each repetition; `predictions.csv` has a line for each row, in their order.

    Its columns: the label, then for each repetition what the model that has not seen the row says of it. Raises
    UserError for fewer rows, or queries, than parts.
    """
    kfold, repetitions = hyperparameters.kfold or 0, hyperparameters.num_cv_round or 1
    if any(rows.filed for rows in tables):
        raise UserError(
            "the rows exceed the memory of the machine, and a cross-validation (_kfold) needs them in it. Please use a "
            "larger machine."
        )
    weighted = any(rows.weight is not None for rows in tables)
    every = concatenate([_weighted(each, weighted) for rows in tables for each in layout.batches(rows) if len(each)])
    for rows in tables:
        rows.release()
    random = np.random.default_rng(abs(hyperparameters.seed))
    classes = hyperparameters.objective.startswith(("binary:", "multi:"))
    boosters: list[xgboost.Booster] = []
    scores: list[dict[str, float]] = []
    columns = [np.asarray(every.labels)]
    for _ in range(repetitions):
        parts = split(every, kfold, classes, random)
        answers = []
        for part in range(kfold):
            boosting = Boosting(job, hyperparameters, parameters, list(CHANNELS), alone=False)
            sides = (every.take(parts != part), every.take(parts == part))
            kept = [_rows(name, side, job) for name, side in zip(CHANNELS, sides, strict=True)]
            with suppress(NothingLearned):
                boosters.append(boosting.run(kept, layout))
            if not boosters:
                raise NothingLearned
            if job.stopped():
                log.warning("Stopped after %d of %d models: they are kept.", len(scores), kfold * repetitions)
                return boosters[: len(scores)] or boosters  # the one after them is not complete
            answers.append(XGBoostModel((boosters[-1],)).predict(sides[1])["score"])
            scores.append(boosting.values)
            shown = ", ".join(f"{name}:{value:.5f}" for name, value in boosting.values.items())
            log.info("Model %d of %d: %s", len(boosters), kfold * repetitions, shown)
            job.report.progress(len(boosters), kfold * repetitions)
        order = np.argsort(np.argsort(parts, kind="stable"))
        columns.append(np.concatenate(answers)[order])
    job.report.round(
        hyperparameters.num_round, {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}
    )
    (job.paths.output / FILE).write_bytes(csv.encode({"rows": np.column_stack(columns)}, "", None) + b"\n")
    return boosters


def split(batch: Batch, kfold: int, classes: bool, random: np.random.Generator) -> NDArray[np.intp]:
    """The part, 0..kfold-1, that each row is in: sizes differ by one at most, and so, of classes, do their shares.

    The rows of a query are in one part.
    """
    n = len(batch)
    if batch.groups is not None:
        queries, owners = np.unique(batch.groups, return_inverse=True)
        _require(kfold, len(queries), "queries")
        return random.permutation(np.arange(len(queries)) % kfold)[owners]
    _require(kfold, n, "rows")
    order = random.permutation(n)
    if classes:
        order = order[np.argsort(np.asarray(batch.labels)[order], kind="stable")]
    parts = np.empty(n, np.intp)
    parts[order] = np.arange(n) % kfold
    return parts


def _weighted(batch: Batch, weighted: bool) -> Batch:
    """The rows with the weights of 1 that the rows of another channel make necessary."""
    if not weighted or batch.weights is not None:
        return batch
    return replace(batch, weights=np.ones(len(batch), np.float32))


def _require(kfold: int, found: int, what: str) -> None:
    if found < kfold:
        raise UserError(
            f"hyperparameter '_kfold' must be at most the number of {what}, got {kfold} for {found} {what}."
        )


def _rows(name: str, batch: Batch, job: Job) -> Rows:
    rows = Rows(name, False, np.inf, job.paths.base)
    rows.add(batch)
    return rows
