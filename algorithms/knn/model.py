"""A trained k-NN model: the index, the labels of its rows, and what to do with those of the nearest ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.errors import UserError
from algorithms.knn import index as faiss_index
from algorithms.knn._vote import vote
from algorithms.knn.index import TOO_LARGE
from algorithms.knn.projection import GENERATOR, PIECE, Projection
from algorithms.knn.search import FlatSearch, ListSearch, search
from formats import Batch, Columns
from formats.batch import Dense

FILE, LABELS, DESCRIPTION = "model_algo-1", "model_algo-1.labels", "model_algo-1.json"
Predictor = Literal["classifier", "regressor"]
Ties = Literal["nearest", "farthest"]


@dataclass(frozen=True)
class KNNModel:
    """search: the index of m rows; labels: (m,) float32, theirs; k: at most m; width: number of features of a query.

    Queries are projected, then, if `normalize`, brought to length 1, then padded with zeros to the index's rows.
    ties: which row's label wins of those with equal votes
    """

    search: FlatSearch | ListSearch
    labels: NDArray[np.float32]
    k: int
    predictor_type: Predictor
    width: int
    projection: Projection | None
    normalize: bool
    ties: Ties

    def predict(self, batch: Batch) -> Columns:
        """The majority or the mean of the labels of the k nearest rows. Raises UserError for rows beyond float32."""
        X = batch.features
        rows = max(1, PIECE // self.k)  # searched at once, or the distances of many neighbours would fill the memory
        if X.shape[0] <= rows:
            return {"predicted_label": self.labelled(X)[0]}
        parts = [self.labelled(X[start : start + rows])[0] for start in range(0, X.shape[0], rows)]
        return {"predicted_label": np.concatenate(parts)}

    def self_test(self, batch: Batch) -> Columns:
        """Distances to the nearest rows, which stay when `k`, `predictor_type` or `ties` are edited."""
        rows = prepared(batch.features, self.projection, self.normalize, self.search.width)
        return {"distances": self.search(rows, min(10, len(self.labels)))[0]}

    def labelled(self, X: Dense | sparse.csr_array) -> tuple[NDArray[np.float32], Dense, NDArray[np.int64]]:
        """The answers (n,) to X (n, width); distances (n, k) and numbers (n, k) of the nearest rows, nearest first.

        Distances ascend: L2 squared, as faiss gives it; cosine: 1 - similarity; inner product: its negative.
        """
        if isinstance(X, np.ndarray):
            return self._labelled(X)
        rows = max(1, PIECE // X.shape[1])  # made dense at once
        parts = [self._labelled(X[start : start + rows]) for start in range(0, max(1, X.shape[0]), rows)]
        answers, distances, numbers = zip(*parts, strict=True)
        return np.concatenate(answers), np.concatenate(distances), np.concatenate(numbers)

    def _labelled(self, X: Dense | sparse.csr_array) -> tuple[NDArray[np.float32], Dense, NDArray[np.int64]]:
        distances, numbers = self.search(prepared(X, self.projection, self.normalize, self.search.width), self.k)
        answers = np.empty(len(numbers), np.float32)
        classifier, farthest = self.predictor_type == "classifier", self.ties == "farthest"
        if vote(self.labels, numbers, distances, classifier, farthest, answers) >= 0:
            raise UserError(TOO_LARGE)
        return answers, distances, numbers

    def save(self, directory: Path) -> None:
        """Writes the index as faiss does, the labels as packed float32, and the rest as JSON."""
        faiss_index.write(self.search.index, directory / FILE)
        (directory / LABELS).write_bytes(self.labels.astype("<f4", copy=False).tobytes())
        p = self.projection
        reduction = p and {
            "type": p.kind, "seed": p.seed, "target_dim": p.target, "input_dim": p.width, "generator": GENERATOR
        }  # fmt: skip
        description = {
            "k": self.k,
            "predictor_type": self.predictor_type,
            "dimension_reduction": reduction,
            "normalize": self.normalize,
            "ties": self.ties,
            "version": "1.0",
            "feature_dim": self.width,
        }
        (directory / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> KNNModel:
        """Reads the three files, ours or the hosted service's. Raises UserError."""
        for name in (FILE, LABELS, DESCRIPTION):
            if not (directory / name).is_file():
                raise UserError(f"no k-NN model in {directory}: '{name}' is missing")
        index = faiss_index.read(directory / FILE)
        path = directory / LABELS
        if (size := path.stat().st_size) != 4 * index.ntotal:
            raise UserError(
                f"{path} must have 4 bytes for each of the {index.ntotal} rows of the index, {4 * index.ntotal}, "
                f"got {size}"
            )
        labels = np.fromfile(path, "<f4").astype(np.float32, copy=False)
        if not np.isfinite(labels).all():
            raise UserError(f"{path} must have finite labels; it is damaged")
        return _described(_Description(directory / DESCRIPTION), search(index), labels)


@dataclass(frozen=True)
class VerboseKNNModel:
    """The model that answers `verbose=true`: with the neighbours, too."""

    model: KNNModel

    @property
    def width(self) -> int:
        """Number of features of a query."""
        return self.model.width

    def predict(self, batch: Batch) -> Columns:
        """`predicted_label` (n,), and of the nearest rows `distances` (n, k), ascending, and `labels` (n, k)."""
        answers, distances, numbers = self.model.labelled(batch.features)
        if self.model.normalize:
            distances = np.maximum(1 + distances, 0)  # 1 - similarity, of which rounding leaves less than nothing
        return {"predicted_label": answers, "distances": distances, "labels": self.model.labels[numbers]}

    def save(self, directory: Path) -> None:
        """Writes the model; its answers are no part of it."""
        self.model.save(directory)


def prepared(X: Dense | sparse.csr_array, projection: Projection | None, normalize: bool, width: int = 0) -> Dense:
    """Rows of features as the index has them: projected, brought to length 1, padded with zeros to `width`."""
    if projection is not None:
        X = projection(X)
    elif not isinstance(X, np.ndarray):
        X = X.toarray()
    if normalize:
        lengths = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64))
        X = X / np.where(lengths > 0, lengths, 1).astype(np.float32)[:, None]
    if X.shape[1] < width:
        wide = np.zeros((len(X), width), np.float32)
        wide[:, : X.shape[1]] = X
        return wide
    return np.ascontiguousarray(X)


class _Description:
    """The JSON file of a model, field by field."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.fields = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} must be a JSON object: {error}") from None
        if not isinstance(self.fields, dict):
            raise UserError(f"{path} must be a JSON object, got {type(self.fields).__name__}")

    def integer(self, name: str, low: int, high: int, rule: str, fields: dict[str, Any] | None = None) -> int:
        value = (self.fields if fields is None else fields).get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(name, rule, value)
        return value

    def wrong(self, name: str, rule: str, value: Any) -> UserError:
        return UserError(f"{self.path}: {name} must be {rule}, got {json.dumps(value)}")


def _described(description: _Description, searched: FlatSearch | ListSearch, labels: NDArray[np.float32]) -> KNNModel:
    fields, m, d = description.fields, searched.index.ntotal, searched.index.d
    k = description.integer("k", 1, m, f"an integer in [1, {m}], of the rows in the index")
    predictor_type = fields.get("predictor_type")
    if predictor_type not in get_args(Predictor):
        raise description.wrong("predictor_type", f"one of {', '.join(get_args(Predictor))}", predictor_type)
    normalize = fields.get("normalize", False)
    if not isinstance(normalize, bool):
        raise description.wrong("normalize", "true or false", normalize)
    projection = _projection(description, d)
    width = d if projection is None else projection.width
    if "feature_dim" in fields:
        low, high = (1, d) if projection is None else (width, width)
        width = description.integer("feature_dim", low, high, f"an integer in [{low}, {high}], as the index has {d}")
    ties = fields.get("ties", "farthest")  # of the hosted service, as its published accuracies say
    if ties not in get_args(Ties):
        raise description.wrong("ties", f"one of {', '.join(get_args(Ties))}", ties)
    return KNNModel(searched, labels, k, predictor_type, width, projection, normalize, ties)


def _projection(description: _Description, d: int) -> Projection | None:
    reduction = description.fields.get("dimension_reduction")
    if not reduction or (isinstance(reduction, dict) and reduction.get("type", reduction) is None):
        return None
    if not isinstance(reduction, dict):
        raise description.wrong("dimension_reduction", "null or a JSON object", reduction)
    kind, generator = reduction.get("type"), reduction.get("generator")
    if generator is None:
        raise UserError(
            f"{description.path} was written by the hosted service, whose random projections are not public, and so a "
            "model with dimension reduction can be served there only. Please train it again with this container."
        )
    if generator != GENERATOR:
        raise description.wrong("generator", f"{GENERATOR}, or served by the version that wrote it", generator)
    if kind not in ("sign", "fjlt"):
        raise description.wrong("type", "one of sign, fjlt", kind)
    seed = description.integer("seed", 0, 2**32 - 1, "an integer in [0, 4294967295]", reduction)
    width = description.integer("input_dim", 1, 2**31 - 1, "an integer >= 1", reduction)
    target = description.integer("target_dim", 1, d, f"an integer in [1, {d}], as the index has {d}", reduction)
    projection = Projection(kind, seed, width, target)
    projection.draw()  # once, for all workers that the server forks
    return projection
