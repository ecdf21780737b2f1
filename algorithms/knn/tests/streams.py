"""Rows in memory as jobs of one host or several, quick enough to train a thousand times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from algorithms.channel import SAMPLE_ROWS, Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job
from algorithms.knn import algorithm
from algorithms.report import Report
from formats import Batch, Expected

ALONE = Cluster()


class Stream(Channel):
    """A channel whose rows are in memory: no file, no thread."""

    def __init__(self, features: Any, labels: np.ndarray | None, *, name: str, replicated: bool) -> None:
        config, report = ChannelConfig(name, replicated=replicated), Report("algo-1", "AWS/KNN", None)
        super().__init__(config, Path(), "text/csv", report, lambda: False, allows_missing=False)
        self._batch = Batch(features, labels)

    @contextmanager
    def epoch(self, rows: int, expected: Expected, check: object = None) -> Iterator[Iterator[Batch]]:
        del expected, check
        n = len(self._batch)
        self.sample = self._batch.rows(0, SAMPLE_ROWS) if n else None
        yield (self._batch.rows(start, min(start + rows, n)) for start in range(0, n, rows))


def job(
    features: Any,
    labels: np.ndarray | None = None,
    *,
    cluster: Cluster = ALONE,
    replicated: bool = False,
) -> Job:
    """A job on these rows (n, d); each row's label is its number unless they are given."""
    kept = features.astype(np.float32) if sparse.issparse(features) else np.ascontiguousarray(features, np.float32)
    numbers = np.arange(features.shape[0]) if labels is None else labels
    train = Stream(kept, np.asarray(numbers, np.float32), name="train", replicated=replicated)
    report = Report(f"algo-{cluster.rank + 1}", "AWS/KNN", None)
    return Job({"train": train}, cluster, report, lambda: False)


def settings(**given: object) -> Any:
    """Hyperparameters as a client sends them, for the nearest row of all unless more is asked for."""
    return algorithm.hyperparameters.parse(
        {"k": "1", "predictor_type": "regressor", "sample_size": "100000"}
        | {name: str(value) for name, value in given.items()}
    )


def train(features: Any, labels: np.ndarray | None = None, **given: object) -> Any:
    """The model of one host that has these rows; each row's label is its number unless they are given."""
    return algorithm.fit(job(features, labels), settings(**given))


def predicted(model: Any, queries: Any) -> np.ndarray:
    """The answers (n,) to rows."""
    [answer] = model.predict(batch_of(queries)).values()
    return answer


def neighbours(model: Any, queries: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a verbose answer adds: distances (n, k) and the neighbours' labels (n, k)."""
    assert algorithm.verbose is not None
    answers = algorithm.verbose(model).predict(batch_of(queries))
    assert list(answers) == ["predicted_label", "distances", "labels"]
    return answers["distances"], answers["labels"]


def batch_of(queries: Any) -> Batch:
    return Batch(queries if sparse.issparse(queries) else np.ascontiguousarray(queries, np.float32))
