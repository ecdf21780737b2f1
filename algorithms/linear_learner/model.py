"""A trained linear model: weights on raw features, a bias, and how an answer is made of their sum."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from algorithms.device import CPU, PIECE, Device, roomy
from algorithms.errors import UserError
from algorithms.linear_learner import archive
from algorithms.linear_learner.archive import Archive, Operator
from formats import Batch, Columns
from formats._finite import first_not_finite
from formats.batch import Dense

FILE = "model_algo-1"
TOO_LARGE = "the values are too large: weighted sums of them are beyond float32. Please scale the data."
Predictor = Literal["binary_classifier", "multiclass_classifier", "regressor"]


@dataclass(frozen=True)
class LinearModel:
    """Scores of a row x are made of its margins, weights x + bias.

    weights:   (C, d) float32, on features as the client sends them; C is 1 unless the model is of several classes
    bias:      (C,) float32
    loss:      what it was trained with, by the guide's name; `hinge_loss` answers margins, not probabilities
    threshold: the least score of a row that a binary classifier labels 1; 0 to 1, or with `hinge_loss` any number
    device:    where margins of dense rows are computed; the arrays are on the host wherever the model was trained
    """

    weights: Dense
    bias: Dense
    predictor_type: Predictor
    loss: str
    threshold: float = 0.5
    device: Device = CPU

    @property
    def width(self) -> int:
        """Number of features `d`."""
        return int(self.weights.shape[1])

    @cached_property
    def _columns(self) -> Dense:
        """The weights as (d, C), in the order in which a sparse product reads them."""
        return np.ascontiguousarray(self.weights.T)

    @cached_property
    def _on_device(self) -> Any:
        """The same in the device's memory."""
        return self.device.put(self._columns)

    @cached_property
    def boundary(self) -> np.float32:
        """The least margin labelled 1, so that labels do not depend on the rounding of scores close to 0 and 1.

        Of the float32 numbers the least that is not below it, which tells float32 margins apart as it would itself.
        """
        exact = self.threshold
        if self.loss != "hinge_loss":
            # beyond 54 log 2 a score is 1 in float64, too
            exact = float(logit(np.float64(exact))) if exact < 1 else 54 * math.log(2)
        rounded = np.float32(exact)
        return rounded if rounded >= np.float64(exact) else np.nextafter(rounded, np.float32(np.inf))

    def margins(self, features: Dense | sparse.csr_array) -> Dense:
        """(n, C) float32: features weights' + bias. Raises UserError where float32 cannot hold it."""
        with np.errstate(over="ignore", invalid="ignore"):
            dense = isinstance(features, np.ndarray)
            if dense and self.device.gpus and len(features):
                margins: Dense = self.device.answers(features, lambda X: X @ self._on_device, len(self.bias))
            else:
                margins = features @ (self.weights.T if dense else self._columns)
            margins += self.bias
        if first_not_finite(margins.reshape(-1).view(np.uint32)) >= 0:
            raise UserError(TOO_LARGE)
        return margins

    def predict(self, batch: Batch) -> Columns:
        """`score`: (n,) float32, or (n, C) probabilities of the classes; classifiers give `predicted_label`, too.

        A binary score is the probability of label 1, with `hinge_loss` the margin; a regressor's is the prediction.
        Raises UserError for rows whose margins float32 cannot hold.
        """
        margins = self.margins(batch.features)
        if self.predictor_type == "multiclass_classifier":
            return {"score": softmax(margins), "predicted_label": margins.argmax(axis=1).astype(np.float32)}
        margin = margins.reshape(-1)
        if self.predictor_type == "regressor":
            return {"score": margin}
        score = margin if self.loss == "hinge_loss" else expit(margin)
        return {"score": score, "predicted_label": (margin >= self.boundary).astype(np.float32)}

    def self_test(self, batch: Batch) -> Columns:
        """The scores: the label of a row next to the boundary is another where a device rounds otherwise."""
        return {"score": self.predict(batch)["score"]}

    def save(self, directory: Path) -> None:
        """Writes `model_algo-1`: a ZIP that MXNet's `Module.load('mx-mod', 0)` opens once it is unpacked."""
        described: dict[str, object] = {"predictor_type": self.predictor_type, "loss": self.loss}
        if self.predictor_type == "binary_classifier":
            described["threshold"] = float(self.threshold)
        operator = _operator(self.predictor_type, self.loss)
        archive.write(directory / FILE, Archive(self.weights, self.bias, operator, described))

    @classmethod
    def load(cls, directory: Path) -> LinearModel:
        """Reads `model_algo-1`, ours or one of files that MXNet wrote. Raises UserError."""
        path = directory / FILE
        found = archive.read(path)
        predictor_type, loss = _kind(path, found)
        classes = len(found.weights)
        if (classes == 1) == (predictor_type == "multiclass_classifier"):
            rule = "of 2 classes or more" if classes == 1 else "of one output"
            raise UserError(f"{path} is not a linear model: a {predictor_type} must be {rule}, got {classes}")
        return cls(found.weights, found.bias, predictor_type, loss, _threshold(path, found, loss))


def placed(model: LinearModel, device: Device) -> LinearModel:
    """The model that answers dense rows from the device, if that has room for it."""
    return replace(model, device=roomy(device, 4 * (model.weights.size + PIECE), "The model"))


def softmax(margins: Dense) -> Dense:
    """Probabilities (n, C) float32; the greatest margin is taken away first, so that no exponential overflows."""
    with np.errstate(over="ignore"):  # of a difference between two opposite giants, whose exponential is 0
        scores: Dense = margins - margins.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _operator(predictor_type: Predictor, loss: str) -> Operator:
    """What makes a score of a margin in MXNet: a sigmoid, a softmax or nothing."""
    if predictor_type == "multiclass_classifier":
        return "SoftmaxOutput"
    if predictor_type == "binary_classifier" and loss != "hinge_loss":
        return "LogisticRegressionOutput"
    return "LinearRegressionOutput"


def _kind(path: Path, found: Archive) -> tuple[Predictor, str]:
    """Predictor type and loss, as the archive describes them or, where it does not, as its operator implies."""
    implied: dict[Operator, Predictor] = {
        "SoftmaxOutput": "multiclass_classifier",
        "LogisticRegressionOutput": "binary_classifier",
        "LinearRegressionOutput": "regressor",
    }
    predictor_type = found.described.get("predictor_type", implied[found.operator])
    if predictor_type not in get_args(Predictor):
        rule = f"predictor_type must be one of {', '.join(get_args(Predictor))}"
        raise UserError(f"{path} is not a linear model: {rule}, got {str(predictor_type)[:100]!r}")
    if predictor_type == "binary_classifier":
        usual = "hinge_loss" if found.operator == "LinearRegressionOutput" else "logistic"
    else:
        usual = "softmax_loss" if predictor_type == "multiclass_classifier" else "squared_loss"
    loss = found.described.get("loss", usual)
    if not isinstance(loss, str) or _operator(predictor_type, loss) != found.operator:
        raise UserError(
            f"{path} is not a linear model: a {predictor_type} with the loss {str(loss)[:100]!r} must not end with "
            f"{found.operator}"
        )
    return predictor_type, loss


def _threshold(path: Path, found: Archive, loss: str) -> float:
    """The threshold, the middle if none is given. Raises UserError unless it is a score that the model can answer."""
    threshold = found.described.get("threshold", 0.0 if loss == "hinge_loss" else 0.5)
    great = np.finfo(np.float32).max if loss == "hinge_loss" else 1.0
    least = -great if loss == "hinge_loss" else 0.0
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not least <= threshold <= great:
        rule = f"threshold must be a number, {least:g} <= threshold <= {great:g}"
        raise UserError(f"{path} is not a linear model: {rule}, got {str(threshold)[:100]!r}")
    return float(threshold)
