"""The losses: what the scores of many models cost, and the slopes of these costs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from algorithms.linear_learner import _sums

Floats = NDArray[np.float32]

LARGEST_EXPONENT = 80.0  # exp(80) and 1 + exp(80) are finite float32, and equal
SHORT = 32  # classes, at most, that are gone through one by one: NumPy's reductions of short rows are many times slower


@dataclass(frozen=True)
class Loss:
    """A loss by the guide's name, with the hyperparameters that belong to it.

    `scores` are linear outputs, float32, of `n` rows and `m` models: `(n, m)`, and `(n, m, C)` with the classes of
    `softmax_loss`. `labels` are `(n,)` float32: 0 or 1 for `logistic` and `hinge_loss`, numbers of classes for
    `softmax_loss`, else targets. The loss of NaN is NaN; no warning is given.
    """

    name: str
    margin: float = 1.0
    quantile: float = 0.5
    insensitivity: float = 0.01
    delta: float = 1.0

    @property
    def objective(self) -> str:
        """The name under which the mean loss is logged, as the hosted service logs it."""
        return OBJECTIVES.get(self.name, f"{self.name}_objective")

    @property
    def code(self) -> int:
        """What the kernel for dense rows calls the loss; it has no `softmax_loss`."""
        return _sums.LOSSES[self.name]

    @property
    def parameter(self) -> float:
        """The hyperparameter that belongs to the loss, 0 if none does."""
        if "insensitive" in self.name:
            return self.insensitivity
        return {"hinge_loss": self.margin, "quantile_loss": self.quantile, "huber_loss": self.delta}.get(self.name, 0.0)

    def values(self, scores: Floats, labels: Floats) -> Floats:
        """The losses, `(n, m)`."""
        return self.with_slopes(scores, labels)[0]

    def with_slopes(self, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """The losses, `(n, m)`, and their derivatives by the scores, of the scores' shape.

        Where a loss has a kink the slope is one of its subgradients.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return FUNCTIONS[self.name](self, scores, labels)

    def scaled(self, factor: float) -> "Loss":
        """The same loss for targets and scores that have been divided by `factor`, up to `in_units`."""
        return replace(self, insensitivity=self.insensitivity / factor, delta=self.delta / factor)

    def in_units(self, factor: float) -> float:
        """What the loss of targets divided by `factor` is multiplied by to be the loss of the targets."""
        return float(factor ** POWERS.get(self.name, 0))


def logistic(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """-log p(label) = log(1 + exp(z)); z is the score, turned for label 1; slope 1 / (1 + exp(-z))."""
    away = away_from(labels)
    z = scores * away
    odds = np.minimum(z, LARGEST_EXPONENT)  # of the other label
    np.exp(odds, out=odds)
    values: Floats = np.log1p(odds)
    np.maximum(values, z, out=values)  # beyond the largest exponent log(1 + exp(z)) is z
    slopes = odds
    slopes /= odds + 1
    slopes *= away
    return values, slopes


def hinge(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """What a score lacks to be `margin` away from 0 on its label's side."""
    away = away_from(labels)
    values = scores * away
    values += loss.margin
    slopes = (values > 0) * away
    np.maximum(values, 0, out=values)
    return values, slopes


def squared(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """The square of the error."""
    return square(scores - labels[:, None])


def absolute(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """The size of the error."""
    return size(scores - labels[:, None])


def insensitive_squared(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """The square of the error, less `insensitivity`."""
    return square(insensitive(scores - labels[:, None], loss.insensitivity))


def insensitive_absolute(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """The size of the error, less `insensitivity`."""
    return size(insensitive(scores - labels[:, None], loss.insensitivity))


def pinball(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Least where the target is below the score with probability `quantile`, as in the guide of 2018.

    An error e = score - target costs (1 - quantile) e above 0 and -quantile e below (Koenker and Bassett 1978).
    """
    errors = scores - labels[:, None]
    slopes = (errors > 0).astype(np.float32)
    slopes -= loss.quantile
    errors *= slopes
    return errors, slopes


def huber(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Half the squared error up to `delta`, then a line (Huber 1964): s (e - s / 2), s being the slope."""
    errors = scores - labels[:, None]
    slopes: Floats = np.clip(errors, -loss.delta, loss.delta)
    errors -= slopes * 0.5
    errors *= slopes
    return errors, slopes


def softmax(loss: Loss, scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """-log p(label) with p = exp(score) / sum of exp(scores); the slopes are p, less 1 at the label."""
    n, m, classes = scores.shape
    p = scores - largest(scores)[:, :, None]
    at = np.arange(0, p.size, classes).reshape(n, m) + labels.astype(np.intp)[:, None]
    flat = p.reshape(-1)
    true = flat[at]
    np.exp(p, out=p)
    sums = (p.reshape(-1, classes) @ np.ones(classes, np.float32)).reshape(n, m)  # BLAS sums short rows fast
    values = np.log(sums)
    values -= true
    p *= (1 / sums)[:, :, None]
    flat[at] -= 1
    return values, p


def largest(scores: Floats) -> Floats:
    """The largest score of each row and model, `(n, m)`."""
    classes = scores.shape[2]
    if classes > SHORT:
        return np.asarray(scores.max(axis=2))
    tops = scores[:, :, 0].copy()
    for number in range(1, classes):
        np.maximum(tops, scores[:, :, number], out=tops)
    return tops


def away_from(labels: Floats) -> Floats:
    """1 for label 0 and -1 for label 1, `(n, 1)`: the direction in which the loss of a score grows."""
    return (1 - 2 * labels)[:, None]


def insensitive(errors: Floats, insensitivity: float) -> Floats:
    """Errors moved towards 0 by `insensitivity`, those that are smaller to 0."""
    errors -= np.clip(errors, -insensitivity, insensitivity)
    return errors


def square(errors: Floats) -> tuple[Floats, Floats]:
    """The squares of errors and their slopes."""
    values = errors * errors
    errors *= 2
    return values, errors


def size(errors: Floats) -> tuple[Floats, Floats]:
    """The sizes of errors and their slopes."""
    return np.abs(errors), np.sign(errors)


FUNCTIONS: dict[str, Callable[[Loss, Floats, Floats], tuple[Floats, Floats]]] = {
    "logistic": logistic,
    "hinge_loss": hinge,
    "squared_loss": squared,
    "absolute_loss": absolute,
    "eps_insensitive_squared_loss": insensitive_squared,
    "eps_insensitive_absolute_loss": insensitive_absolute,
    "quantile_loss": pinball,
    "huber_loss": huber,
    "softmax_loss": softmax,
}

OBJECTIVES = {
    "logistic": "binary_classification_cross_entropy_objective",
    "squared_loss": "mse_objective",
    "softmax_loss": "multiclass_cross_entropy_objective",
}  # the others have the names of their losses

POWERS = {
    "squared_loss": 2,
    "absolute_loss": 1,
    "eps_insensitive_squared_loss": 2,
    "eps_insensitive_absolute_loss": 1,
    "quantile_loss": 1,
    "huber_loss": 2,
}  # of a target's unit in the unit of the loss; labels of classes have no unit
