"""RecordIO-protobuf, written: answers of a server, and training data as the SageMaker Python SDK writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from formats.batch import Columns

MAGIC = b"\x0a\x23\xd7\xce"
LENGTH = 0x1FFFFFFF  # of a frame's second word: the payload's bytes; the three bits above number the part
_FLOAT32 = 2  # fields of Value
_TENSORS = {np.dtype(np.float32): _FLOAT32, np.dtype(np.float64): 3, np.dtype(np.int64): 7}


def encode(columns: Columns, wrapper: str, ids: Sequence[str] | None) -> bytes:
    """An answer: for row i a Record without features, with label[name] = columns[name][i] in float32, and its uid.

    columns: each (n,) or (n, m); `wrapper` is JSON's. ids: n strings; an empty one is left out. Raises
    ValueError for NaN and infinity. Source: guide,
    "Common Data Formats for Inference".
    """
    rows = len(next(iter(columns.values())))
    if rows == 0:
        return b""
    for name, column in columns.items():
        if not np.isfinite(column).all():
            raise ValueError(f"column '{name}' must be finite to be written as RecordIO")
    parts: list[NDArray[np.uint8]] = []  # (rows, m) bytes each, side by side; what is the same in all rows is (m,)
    for name, column in columns.items():
        values = np.ascontiguousarray(column, np.float32).reshape(rows, -1).view(np.uint8)
        entry = _entry(2, name, _FLOAT32, _field(1, bytes(values.shape[1])))
        parts += [np.frombuffer(entry, np.uint8)[: -values.shape[1]], values]
    size = sum(part.shape[-1] for part in parts)
    if not ids:
        around = np.frombuffer(frame(bytes(size)), np.uint8)
        parts = [around[:8], *parts, around[8 + size :]]
    labels = np.concatenate([np.broadcast_to(part, (rows, part.shape[-1])) for part in parts], axis=1)
    if not ids:
        return labels.tobytes()
    return b"".join(
        frame(row.tobytes() + (_field(3, uid.encode()) if uid else b"")) for row, uid in zip(labels, ids, strict=True)
    )


def encode_features(features: NDArray[np.generic] | sparse.sparray, labels: NDArray[np.generic] | None = None) -> bytes:
    """Training data, the same bytes as the SDK's `write_numpy_to_dense_tensor` and `write_spmatrix_to_sparse_tensor`.

    features: (n, d) ndarray or SciPy matrix; labels: (n,). float32 and float64 keep their type, int64 becomes int32.
    Raises ValueError for another dtype or shape and for integers beyond int32.
    """
    kind = _kind("features", features, 2)
    rows = features.shape[0]
    label_kind = 0 if labels is None else _kind("labels", labels, 1)
    if labels is not None and len(labels) != rows:
        raise ValueError(f"labels must be as many as the {rows} rows of features, got {len(labels)}")
    ends = (
        [b""] * rows
        if labels is None
        else [_entry(2, "values", label_kind, _values(labels[i : i + 1])) for i in range(rows)]
    )
    if not sparse.issparse(features):
        return b"".join(frame(_entry(1, "values", kind, _values(features[i])) + ends[i]) for i in range(rows))
    csr = sparse.csr_array(features)
    shape = _field(3, _varint(csr.shape[1]))
    frames = []
    for i in range(rows):
        row = slice(csr.indptr[i], csr.indptr[i + 1])
        keys = _field(2, b"".join(map(_varint, csr.indices[row].tolist())))
        tensor = _values(csr.data[row]) + keys + shape if row.start < row.stop else shape
        frames.append(frame(_entry(1, "values", kind, tensor) + ends[i]))
    return b"".join(frames)


def _kind(name: str, array: NDArray[np.generic] | sparse.sparray, dimensions: int) -> int:
    """The field of Value that holds this array's type."""
    if array.ndim != dimensions or 0 in array.shape[1:]:
        raise ValueError(f"{name} must have {dimensions} dimensions and a column at least, got shape {array.shape}")
    if array.dtype not in _TENSORS:
        raise ValueError(f"{name} must be float32, float64 or int64, got {array.dtype}; convert with astype")
    return _TENSORS[array.dtype]


def _values(row: NDArray[np.generic]) -> bytes:
    """Field 1 of a tensor: packed values; nothing for no values."""
    if row.dtype.kind == "f":
        return _field(1, row.tobytes())
    limits = np.iinfo(np.int32)
    if not (limits.min <= row.min(initial=0) and row.max(initial=0) <= limits.max):
        raise ValueError(f"integers must fit in int32, got {max(row.tolist(), key=abs)}; convert them to float64")
    return _field(1, b"".join(_varint(value % 2**64) for value in row.tolist()))


def frame(payload: bytes) -> bytes:
    """One whole frame. Raises ValueError for a payload whose length does not fit in its 29 bits."""
    if len(payload) > LENGTH:
        raise ValueError(f"a record must have at most {LENGTH} bytes, got {len(payload)}")
    return b"".join((MAGIC, struct.pack("<I", len(payload)), payload, bytes(-len(payload) % 4)))


def _entry(number: int, key: str, kind: int, tensor: bytes) -> bytes:
    """An entry of the map `number` of Record, whose Value has this tensor."""
    return _field(number, _field(1, key.encode()) + _field(2, _field(kind, tensor)))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)
