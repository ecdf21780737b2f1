"""A trained XGBoost model: one booster, or several that answer together."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from scipy import sparse

from algorithms.errors import UserError
from algorithms.xgboost import binary, pickled, structure, ubjson, upgrade
from algorithms.xgboost.older_releases import portable
from formats import Batch, Columns, FormatError
from formats._finite import first_not_finite
from formats.batch import Dense

FILE = "xgboost-model"
LONGEST = 200  # characters of the library's sentences, which may quote a whole model
VOTED = ("binary:hinge", "multi:softmax")  # objectives whose answers are classes: an average of them means nothing
_OTHERS = ("manifest.json",)


@dataclass(frozen=True)
class XGBoostModel:
    """boosters: one or more, of one objective and width. What several answer is averaged or, if classes, voted on."""

    boosters: tuple[xgboost.Booster, ...]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @cached_property
    def _learner(self) -> dict[str, Any]:
        learner: dict[str, Any] = json.loads(self.boosters[0].save_config())["learner"]
        return learner

    @cached_property
    def width(self) -> int:
        """Number of features of a row."""
        return int(self.boosters[0].num_features())

    @cached_property
    def objective(self) -> str:
        """What was optimised, such as `binary:logistic`."""
        return str(self._learner["objective"]["name"])

    @cached_property
    def classes(self) -> int:
        """`num_class`: 0 unless the objective is one of `multi:...`."""
        return int(self._learner["learner_model_param"]["num_class"])

    @cached_property
    def first_index(self) -> int:
        """What LibSVM calls the first feature, 0 or 1: what it was in the training data."""
        return int(self.boosters[0].attr("first_index") or 0)

    @property
    def _kind(self) -> str:
        """What the models of an ensemble have in common."""
        classes = f" of {self.classes} classes" if self.classes else ""
        return f"{self.objective}{classes}, {self.width} features from index {self.first_index} on"

    @cached_property
    def _plans(self) -> list[_Plan]:
        return [_Plan.of(booster) for booster in self.boosters]

    def predict(self, batch: Batch) -> Columns:
        """`score`: (n,) or, for `multi:softprob` and several targets, (n, m), float32, as `Booster.predict` answers.

        NaN is missing, and so is what a sparse row does not hold; a zero that it holds is a zero. Raises UserError for
        a row whose score is infinite or not a number.
        """
        if not len(batch):
            outputs = 0 if self.objective in VOTED else self.classes
            return {"score": np.empty((0, outputs) if outputs else 0, np.float32)}
        features = batch.features
        if not isinstance(features, np.ndarray):  # the library refuses csr_array; the arrays are shared, not copied
            features = sparse.csr_matrix((features.data, features.indices, features.indptr), features.shape)
        answers = [self._scores(*each, features) for each in zip(self.boosters, self._plans, strict=True)]
        score = answers[0]
        if len(answers) > 1:
            together = np.stack(answers)
            score = _most_voted(together) if self.objective in VOTED else together.mean(axis=0)
        numbers = score.reshape(-1)
        if (at := first_not_finite(numbers.view(np.uint32))) >= 0:
            raise UserError(
                f"the score of row {at * len(score) // len(numbers) + 1} is {numbers[at]}: the model has no finite "
                "answer to it. Please look for extreme values in it, and in the labels that the model was trained with."
            )
        return {"score": score}

    def _scores(self, booster: xgboost.Booster, plan: _Plan, features: Dense | sparse.csr_matrix) -> Dense:
        if plan.in_place:
            found = booster.inplace_predict(features, iteration_range=plan.rounds, validate_features=False)
        else:
            matrix = xgboost.DMatrix(features, nthread=1)
            with self._lock:  # `predict` shares a cache between threads
                found = booster.predict(matrix, iteration_range=plan.rounds, validate_features=False)
        return np.asarray(found, np.float32)

    def save(self, directory: Path) -> None:
        """Writes `xgboost-model` in UBJSON; several boosters as `xgboost-model-0`, `xgboost-model-1`, ..."""
        for i, booster in enumerate(self.boosters):
            name = FILE if len(self.boosters) == 1 else f"{FILE}-{i}"
            (directory / name).write_bytes(portable(bytes(booster.save_raw("ubj"))))

    @classmethod
    def load(cls, directory: Path) -> XGBoostModel:
        """Reads `xgboost-model`, ours or the hosted service's: UBJSON, JSON, the old binary format, a pickled Booster.

        Without one every file is taken for a model; several are an ensemble, in the order of their names. Raises
        UserError.
        """
        paths = _model_files(directory)
        model = cls(tuple(_booster(path) for path in paths))
        for path, booster in zip(paths, model.boosters, strict=True):
            if (found := booster.attr("first_index")) not in (None, "0", "1"):
                raise UserError(f"{path} is damaged: its attribute first_index must be 0 or 1, got '{found}'")
            one = cls((booster,))
            if one._kind != model._kind:
                raise UserError(
                    f"the models in {directory} must be of one kind to answer together: {paths[0].name} is "
                    f"{model._kind}, {path.name} is {one._kind}"
                )
        return model


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a booster answers.

    in_place: by `inplace_predict`, which is the faster one and shares nothing between threads. gblinear has none, and
              that of dart adds up in another order than `predict`.
    rounds:   up to the best iteration, where training stopped later; (0, 0) is all
    """

    in_place: bool
    rounds: tuple[int, int]

    @classmethod
    def of(cls, booster: xgboost.Booster) -> _Plan:
        found = json.loads(booster.save_config())["learner"]["gradient_booster"]
        kind = found["name"]
        best = _attribute(booster, upgrade.BEST, -1) + 1
        # XGBoost before 1.6 did not save how many trees make a round, and the library takes each for a round
        if kind != "gblinear" and found.get("gbtree", found)["gbtree_model_param"]["num_parallel_tree"] == "1":
            best = _attribute(booster, upgrade.LIMIT, best)
        cut = kind != "gblinear" and 0 < best < booster.num_boosted_rounds()
        return cls(kind == "gbtree", (0, best) if cut else (0, 0))


def _attribute(booster: xgboost.Booster, name: str, default: int) -> int:
    """A number that training left in the model."""
    text = booster.attr(name) or ""
    return int(text) if text.isdecimal() and len(text) < 10 else default


def _most_voted(answers: Dense) -> Dense:
    """(k, n) classes -> (n,): the class that most of the k boosters name, the smallest of those named equally often."""
    labels = np.unique(answers)
    votes = np.stack([(answers == label).sum(axis=0) for label in labels])
    voted: Dense = labels[votes.argmax(axis=0)]
    return voted


def _model_files(directory: Path) -> list[Path]:
    """The files named `xgboost-model...` or, without one, all but the manifest and hidden files."""
    files = sorted(path for path in directory.iterdir() if path.is_file()) if directory.is_dir() else []
    found = [path for path in files if path.name.startswith(FILE)]
    found = found or [path for path in files if path.name not in _OTHERS and not path.name.startswith(".")]
    if not found:
        raise UserError(f"no XGBoost model in {directory}: '{FILE}' is missing")
    return found


def _booster(path: Path) -> xgboost.Booster:
    """The booster in a file. Raises UserError if there is none that the library can read."""
    content = path.read_bytes()
    trees = None
    try:
        if pickled.is_pickle(content):
            found = pickled.read(content)
            content, trees = found.model, found.trees
        if binary.is_binary(content):
            content = binary.to_ubjson(content)
        document = _document(content)
        structure.check(document)
        if upgrade.mend(document):
            content = json.dumps(document).encode()
        # One thread, also to read the trees: a team of threads started before the server forks does not live on in its
        # workers, which are the parallelism. Silent: the library warns of models older than 1.6, which are welcome.
        with xgboost.config_context(nthread=1, verbosity=0):
            booster = xgboost.Booster()
            booster.load_model(bytearray(content))
            booster.set_param({"nthread": 1})
            booster.save_config()  # configured here, not by the first request
            booster.num_boosted_rounds()  # which fails for old models of no trees
            if trees:
                booster.set_attr(**{upgrade.LIMIT: str(trees)})
    except (FormatError, xgboost.core.XGBoostError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as an XGBoost model: {first_line(error)}") from None
    return booster


def _document(content: bytes) -> Any:
    """The model as Python objects, from UBJSON or JSON."""
    if content[:2] == b"{L":
        return ubjson.parse(content)
    if not content.startswith(b"{"):
        raise FormatError("it must be UBJSON, JSON, the old binary format or a pickled Booster")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not valid JSON: {error}") from None


def first_line(error: Exception) -> str:
    """What the library says, without the time, its source file and its stack."""
    if isinstance(error, UnicodeDecodeError):  # of a message that quotes bytes of the model
        return "its content is damaged"
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^\[\d+:\d+:\d+\] \S+:\d+: ", "", line)[:LONGEST]
