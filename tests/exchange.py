"""Rows with missing values as requests in every format, and the numbers in answers of every format."""

from __future__ import annotations

import json
import struct

import numpy as np
from scipy import sparse

from algorithms.algorithm import CSV, JSON, JSONLINES, LIBSVM, RECORDIO
from formats import record_pb2, recordio

ANSWERS = (CSV, JSON, JSONLINES, RECORDIO)


def requests(features: np.ndarray, first_index: int = 0) -> dict[str, tuple[str, bytes]]:
    """The rows (n, d) in each form of request: its name -> content type and body.

    NaN is a missing value: an empty cell, a null, or not there in sparse rows, which do hold zeros. Numbers are the
    shortest text that reads as the same float of the array's type. LibSVM calls the first feature `first_index`.
    """
    matrix = stored(features)
    dense = [{"features": [None if value != value else value for value in row]} for row in features.tolist()]
    parts = [matrix[[i]] for i in range(matrix.shape[0])]
    tensors = [{"keys": row.indices.tolist(), "shape": [matrix.shape[1]], "values": row.data.tolist()} for row in parts]
    thin = [{"data": {"features": tensor}} for tensor in tensors]
    return {
        "CSV": (CSV, csv(features)),
        "LibSVM": (LIBSVM, libsvm(matrix, first_index=first_index)),
        "JSON": (JSON, json.dumps({"instances": dense}).encode()),
        "JSON, sparse": (JSON, json.dumps({"instances": thin}).encode()),
        "JSON Lines": (JSONLINES, "\n".join(map(json.dumps, dense)).encode()),
        "JSON Lines, sparse": (JSONLINES, "\n".join(map(json.dumps, thin)).encode()),
        "RecordIO": (RECORDIO, recordio.encode_features(features)),
        "RecordIO, sparse": (RECORDIO, recordio.encode_features(matrix)),
    }


def stored(features: np.ndarray) -> sparse.csr_array:
    """The values that are not missing, zeros too."""
    known = ~np.isnan(features)
    bounds = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
    return sparse.csr_array((features[known], np.nonzero(known)[1], bounds), features.shape)


def csv(*columns: np.ndarray) -> bytes:
    """Columns, (n,) or (n, m), side by side; an empty cell for NaN."""
    rows = np.column_stack(columns).tolist()
    return "".join(",".join("" if x != x else repr(x) for x in row) + "\n" for row in rows).encode()


def libsvm(
    matrix: sparse.csr_array,
    labels: np.ndarray | None = None,
    queries: np.ndarray | None = None,
    *,
    first_index: int = 0,
) -> bytes:
    """A line for each row; a label, 0 if there are none, and a qid if there are any."""
    lines = []
    for i, (start, stop) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
        head = [repr(0.0 if labels is None else float(labels[i]))]
        head += [] if queries is None else [f"qid:{queries[i]}"]
        pairs = zip((matrix.indices[start:stop] + first_index).tolist(), matrix.data[start:stop].tolist(), strict=True)
        lines.append(" ".join([*head, *(f"{index}:{value!r}" for index, value in pairs)]))
    return "\n".join(lines).encode() + b"\n"


def numbers(body: bytes, content_type: str, wrapper: str = "predictions", name: str = "score") -> np.ndarray:
    """All numbers of an answer, (n,) or (n, m) one after another, each read as float32."""
    if content_type == CSV:
        return np.array([np.float32(cell) for cell in body.replace(b"\n", b",").split(b",")])
    if content_type == RECORDIO:
        return np.concatenate([np.array(r.label[name].float32_tensor.values, np.float32) for r in _records(body)])
    rows = json.loads(body)[wrapper] if content_type == JSON else map(json.loads, body.split(b"\n"))
    return np.concatenate([np.atleast_1d(np.array(row[name], np.float32)) for row in rows])


def _records(body: bytes) -> list[record_pb2.Record]:
    records, at = [], 0
    while at < len(body):
        magic, size = struct.unpack_from("<II", body, at)
        assert magic == 0xCED7230A
        records.append(record_pb2.Record.FromString(body[at + 8 : at + 8 + size]))
        at += 8 + size + -size % 4
    return records
