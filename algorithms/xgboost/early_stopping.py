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
    sliced:   whether the first rounds of a booster are the booster that it was after them. Not of dart, which scales
              earlier trees again, nor of a linear one: of these the best one so far is kept
    best:     that booster, of the job that was killed
    """

    def __init__(
        self, patience: int, metric: str, booster: xgboost.Booster, *, sliced: bool, best: bytes | None
    ) -> None:
        self._patience = patience
        self._metric = metric
        self._maximize = maximized(metric)
        self._sliced = sliced
        self._best = float(booster.attr(_SCORE) or math.nan)
        found = booster.attr(_ROUND)
        self.best_round = None if found is None else int(found)  # None as long as the metric was no number
        self.best = best
        self.values: dict[str, float] = {}  # all metrics after the best round, unless another job saw it

    def update(self, number: int, values: Mapping[str, float], booster: xgboost.Booster) -> bool:
        """Takes in the metrics after a round, by `channel-metric`; true if training should stop."""
        value, best = values[f"validation-{self._metric}"], self._best
        better = value > best if self._maximize else value < best
        if better or (math.isnan(best) and not math.isnan(value)):
            self._best, self.best_round, self.values = value, number, dict(values)
            booster.set_attr(**{_SCORE: repr(value), _ROUND: str(number)})
            self.best = None if self._sliced else bytes(booster.save_raw("ubj"))
        if self.best_round is None and number == 0:
            log.warning("validation-%s is not a number: there is no best round to stop at.", self._metric)
        return self.best_round is not None and number - self.best_round >= self._patience

    def cut(self, booster: xgboost.Booster) -> xgboost.Booster:
        """The booster as it was after the best round."""
        if self.best is not None:
            return xgboost.Booster(model_file=bytearray(self.best))
        best = booster[: (self.best_round or 0) + 1]
        best.set_attr(**booster.attributes())
        return best
