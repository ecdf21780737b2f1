"""The rows of an algorithm's example, in every format."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy import sparse

import algorithms
from formats import recordio

CSV, JSON, JSONLINES, RECORDIO = (
    "text/csv",
    "application/json",
    "application/jsonlines",
    "application/x-recordio-protobuf",
)


def example(name: str) -> ModuleType:
    """`algorithms/<name>/tests/example.py`: HYPERPARAMETERS and rows(n, seed) -> features, labels."""
    path = Path(algorithms.__file__).parent / name / "tests" / "example.py"
    spec = importlib.util.spec_from_file_location(f"example_of_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def encoded(features: np.ndarray, content_type: str, labels: np.ndarray | None = None) -> bytes:
    """The rows as a file or request of this content type; labels first in CSV, in `label` in RecordIO."""
    if content_type == RECORDIO:
        return recordio.encode_features(features, labels)
    if content_type == CSV:
        table = features if labels is None else np.column_stack([labels, features])
        return "".join(",".join(map(str, row.tolist())) + "\n" for row in table).encode()
    records = [{"features": row.tolist()} for row in features]
    if content_type == JSON:
        return json.dumps({"instances": records}).encode()
    return "\n".join(map(json.dumps, records)).encode()


def encoded_sparse(features: np.ndarray, content_type: str) -> bytes:
    """The same rows as sparse records: RecordIO, JSON or JSON Lines."""
    matrix = sparse.csr_array(features)
    if content_type == RECORDIO:
        return recordio.encode_features(matrix)
    rows = [matrix[[i]] for i in range(matrix.shape[0])]
    tensors = [{"keys": row.indices.tolist(), "shape": [matrix.shape[1]], "values": row.data.tolist()} for row in rows]
    records = [{"data": {"features": tensor}} for tensor in tensors]
    if content_type == JSON:
        return json.dumps({"instances": records}).encode()
    return "\n".join(map(json.dumps, records)).encode()
