"""The evaluation metrics: their names, which way is better, where they apply, and those that the library lacks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.algorithm import Metric

Sums = NDArray[np.float64]

GUIDE = ("auc", "error", "logloss", "mae", "map", "merror", "mlogloss", "ndcg", "rmse")
MULTICLASS = frozenset({"merror", "mlogloss"})
CURVES = frozenset({"auc", "aucpr"})
RANKED = frozenset({"ndcg", "map", "pre"})
SURVIVAL = frozenset({"aft-nloglik", "interval-regression-accuracy"})
ELEMENTWISE = frozenset(
    {"rmse", "rmsle", "mae", "mape", "mphe", "logloss", "error", "poisson-nloglik", "gamma-nloglik"}
    | {"gamma-deviance", "tweedie-nloglik", "cox-nloglik"}
)
LIBRARY = MULTICLASS | CURVES | RANKED | SURVIVAL | ELEMENTWISE | {"quantile"}
SQUARES = frozenset({"mse", "r2"})  # ours, of numbers; the others of ours are of classes
TWO_CLASSES = frozenset({"f1_binary", "precision", "recall"})  # of class 1
CLASSES = TWO_CLASSES | {
    *("accuracy", "balanced_accuracy", "f1", "f1_macro"),
    *("precision_macro", "precision_micro", "recall_macro", "recall_micro"),
}
OWN = SQUARES | CLASSES
NAMES = LIBRARY | OWN
# interval-regression-accuracy is the share of intervals that were hit: greater is better, whatever its neighbours are
MAXIMIZE = CURVES | RANKED | CLASSES | {"r2", "interval-regression-accuracy"}

METRICS = tuple(
    Metric(channel, name, "maximize" if name in MAXIMIZE else "minimize")
    for channel in ("validation", "train")
    for name in (*GUIDE, *sorted(NAMES - set(GUIDE)))
)


def family(name: str) -> str:
    """The metric without its parameter: `ndcg` of `ndcg@5-`, `error` of `error@0.7`."""
    return name if name in NAMES else name.partition("@")[0].removesuffix("-")


def maximized(name: str) -> bool:
    """True where greater values of the metric (`ndcg@5-` too) are better."""
    return family(name) in MAXIMIZE


def spelling(name: str) -> str | None:
    """The name as the library prints it: `error` for `error@0.50`, `ndcg@5` for `ndcg@05`; None for no known metric.

    Parameters: `error@t`, a threshold; `ndcg@n`, `map@n`, `pre@n`, the first n rows of a query, and a trailing `-`
    for a query without relevant rows to count 0 and not 1; `tweedie-nloglik@rho`, 1 <= rho < 2.
    """
    if name in NAMES:
        return name
    if match := re.fullmatch(r"(ndcg|map|pre)(?:@0*([1-9]\d{0,8}))?(-?)", name):
        metric, rows, minus = match.groups()
        return metric + (f"@{rows}" if rows else "") + minus
    metric, _, text = name.partition("@")
    try:
        value = float(np.float32(text)) if re.fullmatch(r"-?[\d.]+(e-?\d+)?", text) else np.nan
    except ValueError:
        return None
    if metric == "error" and np.isfinite(value):
        return "error" if value == 0.5 else f"error@{value:g}"
    if metric == "tweedie-nloglik" and 1 <= value < 2:
        return f"tweedie-nloglik@{value:g}"
    return None


def misfit(name: str, objective: str, outputs: int = 1) -> str | None:
    """Why the metric cannot be applied, as a sentence; None where it can be.

    outputs: numbers that a row's prediction consists of, for an objective that is not `multi:`
    """
    metric, task = family(name), objective.partition(":")[0]
    multiclass, classification = task == "multi", task in ("multi", "binary") or objective == "reg:logistic"
    refusals: tuple[tuple[bool, str], ...] = (
        (metric in CURVES and not (classification or task == "rank"), "for classification and ranking problems"),
        (metric in CLASSES and not classification, "for classification problems"),
        (metric in MULTICLASS and not multiclass, "for multi-classification"),
        (metric in TWO_CLASSES and multiclass, "for binary classification"),
        (metric in ELEMENTWISE | SQUARES | RANKED and multiclass, "for problems other than multi-classification"),
        (metric in SURVIVAL and objective != "survival:aft", "for 'survival:aft' objective"),
        (metric == "quantile" and objective != "reg:quantileerror", "for 'reg:quantileerror' objective"),
        (metric != "quantile" and not multiclass and outputs > 1, "to one prediction a row"),
    )
    return next((f"Metric '{name}' can only be applied {to}." for refused, to in refusals if refused), None)


@dataclass(frozen=True, slots=True)
class OwnMetrics:
    """Metrics of ours from sums, so that hosts add them: the values are those of scikit-learn, unweighted.

    names:     of `OWN`, in the order in which `values` has them
    objective: says what the library's predictions are
    num_class: 2 unless `multi:`
    """

    names: tuple[str, ...]
    objective: str
    num_class: int = 2

    def sums(self, predictions: NDArray[np.float32], labels: NDArray[np.float32]) -> Sums:
        """What one host has seen: predictions as `Booster.predict` gives them, (n,) or (n, num_class); labels (n,).

        Length num_class ** 2 + 4: the confusion matrix, a row for each true class, then of the labels y and the
        predictions p: n, sum y, sum y ** 2, sum (y - p) ** 2. What no metric needs stays zero.
        """
        k = self.num_class
        sums = np.zeros(k * k + 4)
        if not CLASSES.isdisjoint(self.names):
            sums[: k * k] = np.bincount(labels.astype(np.intp) * k + self._classes(predictions), minlength=k * k)
        if not SQUARES.isdisjoint(self.names):
            y = labels.astype(np.float64)
            sums[k * k :] = len(y), y.sum(), y @ y, ((y - predictions) ** 2).sum()
        return sums

    def values(self, sums: Sums) -> dict[str, float]:
        """The metrics from the sums of all hosts; NaN for no rows."""
        k = self.num_class
        confusion = sums[: k * k].reshape(k, k)
        return {name: float(VALUES[name](sums[k * k :] if name in SQUARES else confusion)) for name in self.names}

    def _classes(self, predictions: NDArray[np.float32]) -> NDArray[np.intp]:
        if predictions.ndim == 2:
            most_likely: NDArray[np.intp] = predictions.argmax(axis=1)
            return most_likely
        if self.objective.startswith("multi:"):
            return predictions.astype(np.intp)
        return (predictions > (0 if self.objective == "binary:logitraw" else 0.5)).astype(np.intp)


def _share(part: Sums, whole: Sums) -> Sums:
    """Part / whole, 0 where there is nothing to divide by, as scikit-learn has it."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _present(confusion: Sums) -> NDArray[np.bool_]:
    """Classes that a label or a prediction has; the mean over classes is taken over these."""
    present: NDArray[np.bool_] = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return present


def _precision(confusion: Sums) -> Sums:
    return _share(confusion.diagonal().copy(), confusion.sum(axis=0))


def _recall(confusion: Sums) -> Sums:
    return _share(confusion.diagonal().copy(), confusion.sum(axis=1))


def _f1(confusion: Sums) -> Sums:
    return _share(2 * confusion.diagonal(), confusion.sum(axis=0) + confusion.sum(axis=1))


def _macro(score: Callable[[Sums], Sums]) -> Callable[[Sums], float]:
    return lambda confusion: _mean(score(confusion)[_present(confusion)])


def _binary(score: Callable[[Sums], Sums]) -> Callable[[Sums], float]:
    return lambda confusion: float(score(confusion)[1]) if confusion.sum() else np.nan


def _accuracy(confusion: Sums) -> float:
    return _mean_of(confusion.trace(), confusion.sum())


def _balanced_accuracy(confusion: Sums) -> float:
    return _mean(_recall(confusion)[confusion.sum(axis=1) > 0])  # of the classes that labels have


def _mse(squares: Sums) -> float:
    return _mean_of(squares[3], squares[0])


def _r2(squares: Sums) -> float:
    n, total, total_squares, error = map(float, squares)
    if n < 2:
        return np.nan
    spread = total_squares - total * total / n
    if spread <= total_squares * n * np.finfo(np.float64).eps:  # all labels are one number
        return float(error == 0)
    return 1 - error / spread


def _mean(values: Sums) -> float:
    return float(values.mean()) if len(values) else np.nan


def _mean_of(total: float, count: float) -> float:
    return float(total / count) if count else np.nan


VALUES: dict[str, Callable[[Sums], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _macro(_f1),  # the hosted container's f1 is f1_macro
    "f1_binary": _binary(_f1),
    "f1_macro": _macro(_f1),
    "precision": _binary(_precision),
    "precision_macro": _macro(_precision),
    "precision_micro": _accuracy,  # each row has one class: a false positive here is a false negative there
    "recall": _binary(_recall),
    "recall_macro": _macro(_recall),
    "recall_micro": _accuracy,
    "mse": _mse,
    "r2": _r2,
}
