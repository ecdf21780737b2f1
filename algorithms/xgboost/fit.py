"""Training: reads the channels, boosts, and gives the model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import xgboost

from algorithms.algorithm import LIBSVM
from algorithms.device import CPU, Device
from algorithms.errors import UserError
from algorithms.job import Job
from algorithms.machine import free_memory
from algorithms.report import log
from algorithms.xgboost.boosting import Boosting
from algorithms.xgboost.checks import RowCheck
from algorithms.xgboost.constraints import check_width, tree_method
from algorithms.xgboost.cross_validation import cross_validate
from algorithms.xgboost.data import Rows, agree, read
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.labels import label_rules
from algorithms.xgboost.matrices import IN_MEMORY, may_be_filed
from algorithms.xgboost.model import XGBoostModel, first_line
from algorithms.xgboost.on_device import place
from algorithms.xgboost.parameters import library_parameters, split_metrics
from formats import Expected

CHANNELS = ("train", "validation")


def fit(job: Job, hyperparameters: XGBoostHyperparameters, device: Device = CPU) -> XGBoostModel:
    """Trains on the channel `train`, watched on `validation`. Raises UserError for data that cannot be learned from."""
    parameters, notes = library_parameters(hyperparameters)
    for note in notes:
        log.info(note)
    _check(job, hyperparameters, parameters)
    if hyperparameters.early_stopping_rounds and not hyperparameters.kfold and "validation" not in job.channels:
        log.warning(
            "early_stopping_rounds is %d, but there is no channel 'validation' to watch: all %d rounds are run.",
            hyperparameters.early_stopping_rounds,
            hyperparameters.num_round,
        )
    with ExitStack() as stack:
        tables = gather(job, hyperparameters, parameters, stack)
        layout = agree(job.cluster, tables)
        if hyperparameters.objective.startswith("rank:") and not job.cluster.total(tables[0].grouped):
            log.warning("No row has a qid: all rows of a host are taken for the answers to one query.")
        check_width(hyperparameters, layout.width)
        filed = any(rows.filed for rows in tables)
        if note := place(hyperparameters, parameters, device, job.cluster, filed=filed):
            log.info(note)
        with _heard():
            if hyperparameters.kfold:
                boosters = cross_validate(job, hyperparameters, parameters, tables, layout)
            else:
                boosting = Boosting(job, hyperparameters, parameters, [rows.name for rows in tables])
                boosters = [job.cluster.run(lambda: boosting.run(tables, layout))]
    if any(rows.of_libsvm for rows in tables):
        for booster in boosters:
            booster.set_attr(first_index=str(layout.first_index))
    train = job.channels["train"]
    if train.sample is not None:
        train.sample = layout.applied(train.sample, tables[0].of_libsvm)
    return XGBoostModel(tuple(boosters))


def _check(job: Job, hyperparameters: XGBoostHyperparameters, parameters: Mapping[str, Any]) -> None:
    """Raises UserError for what this job cannot do. What needs one host would ignore the other hosts' rows, or fail."""
    if hyperparameters.process_type == "update":
        raise UserError(
            "hyperparameter 'process_type' must be default, got 'update': that changes the trees of a model, and a job "
            "begins without one."
        )
    asked, _ = split_metrics(hyperparameters)
    for name, value, needs_one in (
        ("_kfold", hyperparameters.kfold, hyperparameters.kfold is not None),
        ("tree_method", "exact", tree_method(hyperparameters) == "exact"),
        ("booster", "gblinear", hyperparameters.booster == "gblinear"),
        ("updater", ",".join(hyperparameters.updater or ()), "updater" in parameters),
        ("objective", "survival:cox", hyperparameters.objective == "survival:cox"),
        ("eval_metric", "cox-nloglik", "cox-nloglik" in asked),
    ):
        if needs_one and job.cluster.size > 1:
            raise UserError(
                f"hyperparameter '{name}' must not be {value} on several hosts, the job has {job.cluster.size}. "
                "Please train on one."
            )


def gather(
    job: Job, hyperparameters: XGBoostHyperparameters, parameters: Mapping[str, Any], stack: ExitStack
) -> list[Rows]:
    """The rows of the channels, the training channel first; they last as long as `stack`."""
    expected = Expected(None, label_columns=1, weight_columns=hyperparameters.csv_weights)
    room = IN_MEMORY * free_memory() if may_be_filed(parameters) else np.inf
    rules = label_rules(hyperparameters)
    tables: list[Rows] = []
    for channel in (job.channels[name] for name in CHANNELS if name in job.channels):
        rows = Rows(channel.name, channel.media_type == LIBSVM, room, job.paths.base)
        stack.callback(rows.close)
        check = RowCheck(channel.media_type, rules, max((table.width for table in tables), default=0))
        read(job, channel, rows, expected, check)
        log.info("%s matrix has %d rows", channel.name.capitalize(), rows.count)
        room -= rows.size
        tables.append(rows)
    return tables


@contextmanager
def _heard() -> Iterator[None]:
    """What the library warns of goes to the log, and of what it raises the first line: the rest is its own stack."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: log.warning("xgboost: %s", str(message).strip())
        try:
            yield
        except xgboost.core.XGBoostError as error:
            line = first_line(error)
            if "bad_alloc" in line:
                raise MemoryError("xgboost could not allocate what the rows and settings need") from error
            raise xgboost.core.XGBoostError(line) from error
