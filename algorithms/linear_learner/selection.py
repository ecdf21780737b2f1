"""Which of the models is best, at which threshold, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from algorithms.algorithm import Metric
from algorithms.cluster import Cluster
from algorithms.linear_learner.calibration import ScoreSample
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.loss import Loss
from algorithms.linear_learner.metrics import MulticlassSums, best_threshold, binary_scores
from algorithms.regression import RegressionSums
from formats.batch import Dense

LOSSES = ("mse", "absolute_loss", "rmse", "multiclass_log_loss")  # and the objective; other metrics are scores


def metric(channel: str, name: str) -> Metric:
    """A metric as the log calls it."""
    return Metric(channel, name, "minimize" if name in LOSSES or name.endswith("_objective") else "maximize")


def objective_name(loss: Loss, *, weighted: bool) -> str:
    """What the log calls the mean loss, or that of rows whose classes have weights."""
    before, cross_entropy, after = loss.objective.partition("cross_entropy")
    if not weighted:
        return loss.objective
    return f"{before}weighted_{cross_entropy}{after}" if cross_entropy else f"weighted_{loss.objective}"


@dataclass(frozen=True)
class Candidate:
    """What the criterion says of a model at its best: the greater, the better; margin: the least that is labelled 1."""

    value: float
    margin: float = 0.0


class Assessment:
    """What the rows of a channel say of m models; first each host adds its rows, then `of_all_hosts` adds the hosts.

    loss: of raw labels. class_weights: (classes,) what a row of each class counts in the objective, or None.
    metrics: whether the metrics of multiclass models and regressors are wanted; sample: whether the scores are, of
    which a binary classifier's metrics and threshold are made.
    """

    def __init__(
        self,
        h: LinearLearnerHyperparameters,
        loss: Loss,
        class_weights: NDArray[np.float32] | None,
        models: int,
        *,
        metrics: bool = True,
        sample: bool = True,
    ) -> None:
        self._h, self._loss, self._class_weights = h, loss, class_weights
        self._objective, self._rows = np.zeros(models), 0
        self._sums: list[MulticlassSums | RegressionSums] = []
        self._sample: ScoreSample | None = None
        if h.predictor_type == "binary_classifier":
            if sample:
                wanted = h.num_calibration_samples
                self._sample = ScoreSample(models, None if wanted == "auto" else wanted)
        elif metrics and h.predictor_type == "multiclass_classifier":
            self._sums = [MulticlassSums(h.num_classes, h.accuracy_top_k, h.f_beta) for _ in range(models)]
        elif metrics:
            self._sums = [RegressionSums() for _ in range(models)]

    def add(self, margins: Dense, labels: NDArray[np.float32]) -> None:
        """Margins (n, m), or of several classes (n, m * C), and labels (n,)."""
        n, m = len(labels), len(self._objective)
        scores = margins.reshape(n, m, -1) if self._h.predictor_type == "multiclass_classifier" else margins
        with np.errstate(all="ignore"):  # models that diverged are left out later
            values = self._loss.values(scores, labels)
            if self._class_weights is not None:
                values = values * self._class_weights[labels.astype(np.intp)][:, None]
            self._objective += values.sum(axis=0, dtype=np.float64)
            self._rows += n
            if self._sample is not None:
                self._sample.add(margins, labels)
            for i, sums in enumerate(self._sums):
                sums.add(np.ascontiguousarray(scores[:, i]), labels)

    def of_all_hosts(self, cluster: Cluster) -> None:
        """Adds what the other hosts have seen."""
        total = cluster.all_reduce(np.append(self._objective, self._rows))
        self._objective, self._rows = total[:-1], int(total[-1])
        for sums in self._sums:
            sums.array = cluster.all_reduce(sums.array)
        if self._sample is not None:
            self._sample.gather(cluster)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self._rows

    @property
    def objectives(self) -> NDArray[np.float64]:
        """The mean losses, (m,)."""
        return self._objective / max(self._rows, 1)

    def candidates(self) -> list[Candidate]:
        """Each model at its best threshold by the criterion; of other kinds than binary classifiers, by its loss."""
        h = self._h
        if self._sample is None or h.criterion == "loss_function":
            return [Candidate(-value) for value in self.objectives.tolist()]
        return [self._calibrated(i) for i in range(len(self._objective))]

    def _calibrated(self, i: int) -> Candidate:
        assert self._sample is not None  # noqa: S101 - the caller looked
        h, scores = self._h, self._sample.scores(i)
        if not np.isfinite(scores).all():
            return Candidate(-np.inf)
        margin, value = best_threshold(
            scores,
            self._sample.labels,
            h.criterion,
            target_recall=h.target_recall,
            target_precision=h.target_precision,
            beta=h.f_beta,
        )
        return Candidate(value, margin)

    def metrics(self, i: int, margin: float) -> dict[str, float]:
        """The metrics of model i by name; label 1 of a binary classifier is a score of at least `margin`."""
        if self._sample is not None:
            return binary_scores(self._sample.scores(i), self._sample.labels, margin, self._h.f_beta)
        return self._sums[i].scores() if self._sums else {}


def as_threshold(loss: str, margin: float) -> float:
    """The score that belongs to a margin: a probability, but the margin itself with `hinge_loss`."""
    return margin if loss == "hinge_loss" else float(expit(np.float64(margin)))
