"""The rows of an algorithm's example, in every format."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy import sparse

import algorithms
from algorithms.algorithm import CSV, JSON, JSONLINES, LIBSVM, RECORDIO
from formats import recordio

__all__ = ["CSV", "JSON", "JSONLINES", "LIBSVM", "RECORDIO", "encoded", "encoded_sparse", "example"]


def example(name: str) -> ModuleType:
    """`algorithms/<name>/tests/example.py`: HYPERPARAMETERS, ALL_METRICS, rows(n, seed) -> features, labels.

    If need be: REPORTED, the `channel:name` of the metrics that a job with ALL_METRICS reports, where those are not all
    that are declared; LEARNS_WHILE_READING = False for an algorithm that must have read all rows first;
    PASSES_AFTER_TRAINING, how often it reads the channel again when its epochs are over. For the tests of the images:
    real() -> Real (see tests/images/sets.py), a job on real rows and how good its model must be; HOSTS_TOLERANCE, how
    far apart the answers of one host's model and of several hosts' may be, beside the greatest; HOSTS_HYPERPARAMETERS,
    where that wants others.
    """
    path = Path(algorithms.__file__).parent / name / "tests" / "example.py"
    spec = importlib.util.spec_from_file_location(f"example_of_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def encoded(features: np.ndarray, content_type: str, labels: np.ndarray | None = None) -> bytes:
    """The rows as a file or request of this content type; labels first in CSV and LibSVM, in `label` in RecordIO.

    LibSVM has all values, zeros too, and counts from 0.
    """
    if content_type == RECORDIO:
        return recordio.encode_features(features, labels)
    if content_type == CSV:
        table = features if labels is None else np.column_stack([labels, features])
        return "".join(",".join(map(str, row.tolist())) + "\n" for row in table).encode()
    if content_type == LIBSVM:
        entries = [" ".join(f"{i}:{value}" for i, value in enumerate(row.tolist())) for row in features]
        first = ["" if labels is None else f"{label} " for label in (entries if labels is None else labels.tolist())]
        return "".join(f"{label}{row}\n" for label, row in zip(first, entries, strict=True)).encode()
    records = [{"features": [None if value != value else value for value in row.tolist()]} for row in features]
    if content_type == JSON:
        return json.dumps({"instances": records}).encode()
    return "\n".join(map(json.dumps, records)).encode()


def encoded_sparse(features: np.ndarray, content_type: str) -> bytes:
    """The same rows as sparse records, without their zeros: RecordIO, JSON, JSON Lines or LibSVM."""
    matrix = sparse.csr_array(features)
    if content_type == RECORDIO:
        return recordio.encode_features(matrix)
    rows = [matrix[[i]] for i in range(matrix.shape[0])]
    if content_type == LIBSVM:
        lines = [["0", *(f"{i}:{value}" for i, value in zip(row.indices, row.data, strict=True))] for row in rows]
        return "\n".join(map(" ".join, lines)).encode()
    tensors = [{"keys": row.indices.tolist(), "shape": [matrix.shape[1]], "values": row.data.tolist()} for row in rows]
    records = [{"data": {"features": tensor}} for tensor in tensors]
    if content_type == JSON:
        return json.dumps({"instances": records}).encode()
    return "\n".join(map(json.dumps, records)).encode()
