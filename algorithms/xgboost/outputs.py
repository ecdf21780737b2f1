"""What `SAGEMAKER_INFERENCE_OUTPUT` selects from a model's answers, by its objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algorithms.algorithm import Model
from algorithms.errors import UserError
from algorithms.xgboost.model import XGBoostModel
from formats import Batch, Columns
from formats.batch import Dense

OUTPUT = "SAGEMAKER_INFERENCE_OUTPUT"
ENSEMBLE = "SAGEMAKER_INFERENCE_ENSEMBLE"

_OF_CLASSES = ("predicted_label", "labels", "raw_score", "raw_scores")
_WITH_PROBABILITY = ("predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores")
_ALLOWED = {
    "binary:logistic": _WITH_PROBABILITY,
    "multi:softprob": _WITH_PROBABILITY,
    "binary:logitraw": _OF_CLASSES,
    "binary:hinge": _OF_CLASSES,
    "multi:softmax": _OF_CLASSES,
}
_OF_NUMBERS = ("predicted_score",)  # of every other objective


def adapted(model: XGBoostModel, variables: Mapping[str, str]) -> Model:
    """The model as the variables want it.

    `SAGEMAKER_INFERENCE_ENSEMBLE` other than `true`, its default: of several boosters only the first answers.
    `SAGEMAKER_INFERENCE_OUTPUT`: the columns to answer with instead of `score`, separated by commas.
    Raises UserError for an output that means nothing for the model's objective.
    """
    if variables.get(ENSEMBLE, "true").strip().lower() not in ("true", ""):
        model = XGBoostModel(model.boosters[:1])
    wanted = variables.get(OUTPUT, "").replace(" ", "").lower()
    if not wanted:
        return model
    names = tuple(wanted.split(","))
    allowed = _ALLOWED.get(model.objective, _OF_NUMBERS)
    wrong = [name for name in names if name not in allowed]
    if wrong:
        raise UserError(
            f"{OUTPUT} must be among {', '.join(allowed)} for a model of objective {model.objective}, got '{wrong[0]}'"
        )
    return SelectedOutputs(model, names)


@dataclass(frozen=True)
class SelectedOutputs:
    """A model that answers with the columns `names`, in their order.

    Of the score s of a row, or of its vector s of one probability for each class (multi:softprob):

    predicted_label: the class, int64: 1 if s > 0.5 (binary:logistic), 1 if s > 0 (binary:logitraw), the greatest
                     (multi:softprob), s itself (binary:hinge, multi:softmax)
    labels:          all classes, int64: [0, 1] or [0, ..., num_class - 1]
    probability:     of class 1 (binary:logistic), of the predicted class (multi:softprob)
    probabilities:   of each class: [1 - s, s] (binary:logistic), s (multi:softprob)
    raw_score:       s, or the greatest of the vector
    raw_scores:      the vector, or [1 - s, s], as the hosted container has it even where s is no probability
    predicted_score: s
    """

    model: XGBoostModel
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return self.model.width

    def predict(self, batch: Batch) -> Columns:
        """The selected columns: (n,), or (n, m) for labels, probabilities and raw_scores."""
        score: Dense = np.asarray(self.model.predict(batch)["score"], np.float32)
        return {name: self._column(name, score) for name in self.names}

    def save(self, directory: Path) -> None:
        """Writes the model, which does not depend on what is selected from its answers."""
        self.model.save(directory)

    def _column(self, name: str, score: Dense) -> NDArray[np.generic]:
        match name:
            case "predicted_label":
                return self._predicted_label(score)
            case "labels":
                return np.tile(np.arange(max(2, self.model.classes), dtype=np.int64), (len(score), 1))
            case "probability" | "raw_score":
                return score if score.ndim == 1 else score.max(axis=1)
            case "probabilities" | "raw_scores":
                return score if score.ndim == 2 else np.stack([1 - score, score], axis=1)
        return score  # predicted_score

    def _predicted_label(self, score: Dense) -> NDArray[np.int64]:
        match self.model.objective:
            case "multi:softprob":
                best: NDArray[np.int64] = score.argmax(axis=1).astype(np.int64, copy=False)
                return best
            case "binary:logistic":
                return (score > 0.5).astype(np.int64)
            case "binary:logitraw":
                return (score > 0).astype(np.int64)
        return score.astype(np.int64)
