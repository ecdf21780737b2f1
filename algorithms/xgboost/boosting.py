"""The rounds of boosting: their metrics, early stopping and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.report import log
from algorithms.xgboost.checkpoint import Checkpoints, resume, taken_off
from algorithms.xgboost.constraints import tree_method
from algorithms.xgboost.data import Layout, Rows
from algorithms.xgboost.early_stopping import EarlyStopping
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.matrices import matrices
from algorithms.xgboost.metrics import OwnMetrics
from algorithms.xgboost.parameters import split_metrics, watched_metric

_OTHER_METHOD = {"hist": "approx", "approx": "hist", "exact": "hist"}


class Boosting:
    """One run of the rounds of boosting, on all hosts in step.

    alone: no part of a cross-validation, so that its rounds are told and kept in checkpoints
    """

    def __init__(
        self,
        job: Job,
        hyperparameters: XGBoostHyperparameters,
        parameters: Mapping[str, Any],
        channels: list[str],
        *,
        alone: bool = True,
    ) -> None:
        self._job = job
        self._cluster = job.cluster
        self._alone = alone
        self.values: dict[str, float] = {}  # the metrics of the model that is given
        self._hyperparameters = hyperparameters
        self._parameters = dict(parameters)
        self._channels = channels
        _, own = split_metrics(hyperparameters)
        self._own = OwnMetrics(tuple(own), hyperparameters.objective, hyperparameters.num_class or 2)
        self._checkpoints: Checkpoints | None = None
        wanted = np.array([alone and job.checkpoints is not None and _can_resume(hyperparameters)], np.int64)
        if job.cluster.broadcast(wanted)[0]:  # the leader has them in its folder, the others from it
            self._checkpoints = Checkpoints(job.checkpoints or Path(), hyperparameters.values())
            self._parameters["seed_per_iteration"] = True  # or a resumed job would draw other random numbers

    def run(self, tables: list[Rows], layout: Layout) -> xgboost.Booster:
        """The trained booster, after its best round if training stops early. Raises NothingLearned without a round."""
        matrices_ = matrices(self._cluster, tables, layout, self._parameters)
        start, content = 0, None
        if self._checkpoints:
            self._checkpoints.describe(self._cluster, tables, layout)
            start, content = resume(self._cluster, self._checkpoints)
        model = None if content is None else bytearray(content)
        booster = xgboost.Booster(self._parameters, matrices_, model_file=model)
        best = taken_off(booster)
        if start > self._hyperparameters.num_round:
            raise UserError(
                f"hyperparameter 'num_round' must be at least {start}, the rounds that the checkpoint has, got "
                f"{self._hyperparameters.num_round}. Please give this job a checkpoint folder of its own."
            )
        stopping = self._early_stopping(booster, best)
        began, finished, rounds = time.perf_counter(), start, self._hyperparameters.num_round
        for number in range(start, rounds):
            if self._cluster.total(self._job.stopped()):
                if self._checkpoints and self._cluster.is_leader and finished > start:
                    self._checkpoints.save(booster, number - 1, stopping, now=True)
                break
            self._update(booster, matrices_[0], number)
            finished = number + 1
            self.values = self._evaluate(booster, matrices_, number)
            if self._cluster.is_leader and self._alone:
                self._job.report.round(number, self.values)
                if 10 * finished // rounds > 10 * number // rounds:
                    self._job.report.progress(finished, rounds)
            if stopping is not None and stopping.update(number, self.values, booster):
                log.info("Early stop condition met: round %d was the best. Stopping training.", stopping.best_round)
                break
            if self._checkpoints and self._cluster.is_leader:
                self._checkpoints.save(booster, number, stopping)
        if self._alone:
            self._job.report.throughput((finished - start) * tables[0].count, time.perf_counter() - began)
        if not finished:
            raise NothingLearned
        if stopping is not None and stopping.best_round is not None and stopping.best_round + 1 < finished:
            self.values = stopping.values or self.values
            booster = stopping.cut(booster)
        if "device" in self._parameters:
            booster.set_param({"device": "cpu"})  # where models answer
        return booster

    def _update(self, booster: xgboost.Booster, train: Any, number: int) -> None:
        """One round. Where a job may be resumed, no random state lives longer: a tree updater is made anew for each.

        That is what a change of the tree method does, once the booster looks at it.
        """
        if self._checkpoints and "updater" not in self._parameters and self._parameters.get("booster") != "gblinear":
            method = tree_method(self._hyperparameters)
            for each in (_OTHER_METHOD[method], method):
                booster.set_param({"tree_method": each})
                booster.num_features()
        booster.update(train, number)

    def _evaluate(self, booster: xgboost.Booster, matrices_: list[Any], number: int) -> dict[str, float]:
        """The metrics of all channels by `channel-metric`, over all hosts."""
        watched = list(zip(matrices_, self._channels, strict=True))
        text = booster.eval_set(watched, number)
        values = {name: float(value) for name, _, value in (each.rpartition(":") for each in text.split("\t")[1:])}
        if self._own.names:
            for matrix, channel in watched:
                predictions = booster.predict(matrix)
                sums = self._cluster.all_reduce(self._own.sums(predictions, matrix.get_label()))
                values |= {f"{channel}-{name}": value for name, value in self._own.values(sums).items()}
        return values

    def _early_stopping(self, booster: xgboost.Booster, best: bytes | None) -> EarlyStopping | None:
        patience = self._hyperparameters.early_stopping_rounds
        if patience is None or "validation" not in self._channels:
            return None
        whole = self._hyperparameters.booster == "gbtree"
        return EarlyStopping(patience, watched_metric(self._hyperparameters), booster, sliced=whole, best=best)


def _can_resume(hyperparameters: XGBoostHyperparameters) -> bool:
    """False for what the library can only learn from its first round on: the position bias of clicks."""
    if hyperparameters.lambdarank_unbiased:
        log.warning("No checkpoints are written: with lambdarank_unbiased a job cannot go on from one.")
    return not hyperparameters.lambdarank_unbiased
