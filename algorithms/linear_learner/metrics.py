"""How good answers are, and which threshold makes the best of them: counts that hosts can add, and exact searches.

Guide, "Linear Learner": `binary_classifier_model_selection_criteria` and the metrics of "Tuning a Linear Learner
Model". Definitions are scikit-learn's with `zero_division=0`; macro means go over the classes that occur in labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]
Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]

CHUNK = 1 << 20  # elements of (rows, classes) looked at together: 4 MB of scores stay near the processor
SLACK = 1e-12  # sums of weights are rounded: a recall of 0.8 must not miss the target 0.8 by its last bit


@dataclass(frozen=True)
class _Cuts:
    """Every way to cut rows in two by their scores: `above` (c,) rows lie above a cut, from none to all n.

    scores (n,) descend; true (c,) and called (c,) are the weights of the positive rows and of all rows above a cut.
    They are summed from the top, so that the precision of few rows is not a difference of large numbers.
    """

    scores: Doubles
    above: Counts
    true: Doubles
    called: Doubles

    @classmethod
    def of(cls, scores: Floats, labels: Floats, weights: Floats | None) -> _Cuts:
        """Scores (n,), labels (n,) in {0, 1}, weights (n,). ValueError: no row, or a score that is not finite."""
        if not len(scores):
            raise ValueError("scores must be of one row at least, got none")
        descending, positive, weight = _descending(scores, labels, weights)
        inside = np.flatnonzero(descending[1:] != descending[:-1])
        above = np.concatenate([[0], inside + 1, [len(descending)]])
        true = _from_the_top(np.cumsum(positive), above)
        called = above.astype(np.float64) if weight is None else _from_the_top(np.cumsum(weight), above)
        return cls(descending, above, true, called)

    @property
    def recall(self) -> Doubles:
        return _ratio(self.true, self.true[-1])

    @property
    def precision(self) -> Doubles:
        return _ratio(self.true, self.called)

    @property
    def accuracy(self) -> Doubles:
        return _ratio((self.called[-1] - self.true[-1]) + 2 * self.true - self.called, self.called[-1])

    def f(self, beta: float) -> Doubles:
        """(1 + b^2) P R / (b^2 P + R), in counts: defined wherever one positive is called or there."""
        return _ratio((1 + beta**2) * self.true, beta**2 * self.true[-1] + self.called)

    @property
    def area(self) -> float:
        """Area under the ROC curve by trapezia, so that ties count half; 0.5 where a class is absent."""
        false = self.called - self.true
        if not (self.true[-1] > 0 and false[-1] > 0):
            return 0.5
        return float(np.sum(np.diff(false) * (self.true[1:] + self.true[:-1])) / (2 * self.true[-1] * false[-1]))

    def thresholds(self, cuts: Counts) -> Doubles:
        """The score midway between the rows on either side of each cut, half a unit outside at the ends, (len(cuts),).

        Strictly above the row below and no higher than the row above, also where doubles leave no room between.
        """
        place, n = self.above[cuts], len(self.scores)
        first, last = self.scores[0], self.scores[-1]
        upper = np.where(place == 0, max(first + 1, np.nextafter(first, np.inf)), self.scores[np.maximum(place - 1, 0)])
        lower = np.where(place == n, last - 1, self.scores[np.minimum(place, n - 1)])
        middle = upper / 2 + lower / 2
        return np.where(middle > lower, middle, upper)


def _descending(scores: Floats, labels: Floats, weights: Floats | None) -> tuple[Doubles, NDArray[Any], Doubles | None]:
    """Scores from the greatest, and in that order the positive rows' weights (or 1) and all rows' (or None), (n,) each.

    A float32 leaves the last 29 bits of a double 0. The label is put in the last one, so that the rows need no
    indirect sort: np.sort is vectorised, and nothing has to be gathered. Rows of one score may end in any order.
    """
    if weights is None and scores.dtype == np.float32:
        keys = scores.astype(np.float64)
        bits = keys.view(np.int64)
        np.bitwise_or(bits, labels > 0, out=bits)
        keys.sort()
        _check_finite(keys)
        positive: NDArray[Any] = (bits & 1)[::-1]
        bits &= ~1
        return keys[::-1], positive, None
    order = np.argsort(scores)[::-1]
    ordered = scores[order].astype(np.float64)
    _check_finite(ordered)
    positive = labels[order] > 0
    if weights is None:
        return ordered, positive, None
    weight = weights[order].astype(np.float64)
    return ordered, weight * positive, weight


def _check_finite(ordered: Doubles) -> None:
    """NaN sorts beyond infinity, so that the two ends tell."""
    for end in (ordered[0], ordered[-1]):
        if not np.isfinite(end):
            raise ValueError(f"scores must be finite, got {end}")


def _from_the_top(sums: NDArray[Any], above: Counts) -> Doubles:
    """Cumulative sums (n,) at cuts (c,), of which the first is above all rows."""
    at = np.zeros(len(above))
    at[1:] = sums[above[1:] - 1]
    return at


def _ratio(part: Doubles, whole: Doubles | float) -> Doubles:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=np.asarray(whole) > 0)


def best_threshold(
    scores: Floats,
    labels: Floats,
    criterion: str,
    *,
    target_recall: float = 0.8,
    target_precision: float = 0.8,
    beta: float = 1.0,
    weights: Floats | None = None,
) -> tuple[float, float]:
    """The threshold of raw scores (n,) that serves the criterion best, and the criterion's value there.

    Label 1 is score >= threshold, compared in float64. Labels (n,) are 0 or 1, weights (n,) count rows. Exact: all
    cuts between distinct scores are tried. Of thresholds with one value the nearest to 0 is taken, of -t and t, t.
    `recall_at_target_precision` beyond reach: the greatest precision there is, and its recall - 1 as value, so that
    any model which reaches the target is better. `loss_function` needs no threshold: 0, and a value of 0.
    ValueError: unknown criterion, no row, a score that is not finite.
    """
    if criterion == "loss_function":
        return 0.0, 0.0
    cuts = _Cuts.of(scores, labels, weights)
    lost = 0.0
    if criterion == "accuracy":
        values = best = cuts.accuracy
    elif criterion == "f_beta":
        values = best = cuts.f(beta)
    elif criterion == "precision_at_target_recall":
        values = best = np.where(cuts.recall >= target_recall - SLACK, cuts.precision, 0)
    elif criterion == "recall_at_target_precision":
        values, precision = cuts.recall, cuts.precision
        reached = precision >= target_precision - SLACK
        best = np.where(reached, values, -1) if reached.any() else precision
        lost = 0.0 if reached.any() else 1.0
    else:
        raise ValueError(f"criterion must be one of the guide's, got {criterion!r}")
    ties = np.flatnonzero(best == best.max())
    thresholds = cuts.thresholds(ties)
    nearest = int(np.argmin(np.abs(thresholds)))
    return float(thresholds[nearest]), float(values[ties[nearest]]) - lost


def binary_scores(
    scores: Floats, labels: Floats, threshold: float, beta: float, weights: Floats | None = None
) -> dict[str, float]:
    """What `#quality_metric` tells of raw scores (n,) and labels (n,) in {0, 1}; 0 where undefined, the area 0.5."""
    cuts = _Cuts.of(scores, labels, weights)
    cut = int(np.searchsorted(cuts.above, np.count_nonzero(cuts.scores >= threshold)))
    return {
        "binary_classification_accuracy": float(cuts.accuracy[cut]),
        f"binary_f_{beta:.3f}": float(cuts.f(beta)[cut]),
        "precision": float(cuts.precision[cut]),
        "recall": float(cuts.recall[cut]),
        "roc_auc_score": cuts.area,
    }


class MulticlassSums:
    """Sums over rows from which a multiclass model's metrics follow; hosts add `array` (4 + 3 classes,) float64.

    In it: rows, rows whose class is among the top k, gains, log losses; then for each class its rows, the rows called
    so, and the rows rightly called so. There is no confusion matrix, so that a million classes take 24 MB.
    """

    def __init__(self, classes: int, top_k: int, beta: float = 1.0) -> None:
        self.classes, self.top_k, self.beta = classes, top_k, beta
        self.array: Doubles = np.zeros(4 + 3 * classes)

    def add(self, scores: Floats, labels: Floats) -> None:
        """Raw scores (n, classes), finite, and labels (n,), class numbers."""
        rows = max(1, CHUNK // self.classes)
        for start in range(0, len(scores), rows):
            self._add(scores[start : start + rows], labels[start : start + rows].astype(np.int64))

    def _add(self, scores: Floats, labels: Counts) -> None:
        called = np.argmax(scores, axis=1)
        row = np.arange(len(scores))
        greatest, own = scores[row, called], scores[row, labels]
        # rank of the own class, from 1; of equal scores the first class leads, as in argmax
        rank = 1 + np.count_nonzero(scores > own[:, None], axis=1)
        for tied in np.flatnonzero(np.count_nonzero(scores == own[:, None], axis=1) > 1):
            rank[tied] += np.count_nonzero(scores[tied, : labels[tied]] == own[tied])
        # -log softmax = log sum exp(s - max) + (max - own); the sum is at least 1
        with np.errstate(over="ignore"):  # float32 differences of large scores: exp(-inf) is 0, and right
            exponentials = np.exp(scores - greatest[:, None])
        loss = np.log(exponentials.sum(axis=1, dtype=np.float64)) + (greatest.astype(np.float64) - own)
        gain = 1 / np.log2(1 + rank)
        self.array[:4] += np.array([len(scores), np.count_nonzero(rank <= self.top_k), gain.sum(), loss.sum()])
        there, told, right = self.array[4:].reshape(3, self.classes)
        np.add.at(there, labels, 1.0)
        np.add.at(told, called, 1.0)
        np.add.at(right, labels[called == labels], 1.0)

    def scores(self) -> dict[str, float]:
        """What `#quality_metric` tells, in its order; all 0 without a row."""
        rows, top, gain, loss = self.array[:4]
        n = max(float(rows), 1.0)
        there, told, right = self.array[4:].reshape(3, self.classes)
        occurs = there > 0
        there, told, right = there[occurs], told[occurs], right[occurs]
        kinds = max(len(there), 1)
        recall = float(_ratio(right, there).sum() / kinds)
        square = self.beta**2
        return {
            "multiclass_accuracy": float(right.sum() / n),
            f"multiclass_top_k_accuracy_{self.top_k}": float(top / n),
            "dcg": float(gain / n),
            "macro_recall": recall,
            "macro_precision": float(_ratio(right, told).sum() / kinds),
            f"macro_f_{self.beta:.3f}": float(_ratio((1 + square) * right, square * there + told).sum() / kinds),
            "multiclass_balanced_accuracy": recall,
            "multiclass_log_loss": float(loss / n),
        }
