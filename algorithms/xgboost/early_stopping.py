"""Early stopping: which round was the best, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import xgboost

from algorithms.report import log
from algorithms.xgboost.metrics import maximized

_SCORE, _ROUND = "best_score", "best_iteration"  # attributes of the booster, as the library names them


class EarlyStopping:
    """Watches one metric; what it knows is kept in the booster, so that a checkpoint holds it.

    patience: rounds without improvement before training stops
    metric:   of the validation channel
    best_round: None as long as the metric was no number, as auc is where all labels are the same
    """

    def __init__(self, patience: int, metric: str, booster: xgboost.Booster) -> None:
        self._patience = patience
        self._metric = metric
        self._maximize = maximized(metric)
        self._best = float(booster.attr(_SCORE) or math.nan)
        found = booster.attr(_ROUND)
        self.best_round = None if found is None else int(found)

    def update(self, number: int, values: Mapping[str, float], booster: xgboost.Booster) -> bool:
        """Takes in the metrics after a round, by `channel-metric`; true if training should stop."""
        value, best = values[f"validation-{self._metric}"], self._best
        better = value > best if self._maximize else value < best
        if better or (math.isnan(best) and not math.isnan(value)):
            self._best, self.best_round = value, number
            booster.set_attr(**{_SCORE: repr(value), _ROUND: str(number)})
        if self.best_round is None and number == 0:
            log.warning("validation-%s is not a number: there is no best round to stop at.", self._metric)
        return self.best_round is not None and number - self.best_round >= self._patience
