"""JSON requests and answers: `{"instances": [...]}` in, `{wrapper: [...]}` out (guide, "Common Data Formats").

An instance is `{"features": T}`, `{"data": {"features": T}}` or a bare row `[1, 2]`, where T is a row,
`{"values": [1, 2]}` or, sparse, `{"keys": [0, 7], "shape": [9], "values": [1, 2]}`. `configuration` and other keys
beside them are passed over. A number is a JSON number; true and false are 1 and 0, null is NaN (a missing value, which
an algorithm may refuse), text is refused even if it spells a number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy import sparse

from formats._json import scan
from formats.batch import Batch, Columns, Expected
from formats.errors import FormatError

MEDIA_TYPES = ("application/json",)

Number = int | float | bool | None
_KINDS = {dict: "an object", list: "an array", str: "text", int: "a number", float: "a number", bool: "true or false"}


class _Sparse(NamedTuple):
    keys: Sequence[Number]
    values: Sequence[Number]
    width: int


_Tensor = list[Number] | _Sparse


def read(stream: BinaryIO, rows: int, expected: Expected) -> Iterator[Batch]:
    """Batches of `rows` rows. A document cannot be cut, so the whole file is in memory: JSON Lines streams."""
    batch = decode(stream.read(), expected)
    for start in range(0, len(batch), rows):
        yield batch.rows(start, start + rows)


def decode(body: bytes, expected: Expected) -> Batch:
    """All instances of a request; FormatError names the 1-based instance, and the feature's position in it."""
    if (batch := plain(body, expected.width)) is not None:
        return batch
    if not body.strip():
        raise FormatError('the body is empty; expected {"instances": [...]}')
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise FormatError(explain(body, error, f"line {error.lineno} column {error.colno}")) from None
    if type(document) is not dict:
        raise FormatError(f'expected {{"instances": [...]}}, found {_kind(document)}')
    if "instances" not in document:
        found = ", ".join(f'"{key[:40]}"' for key in list(document)[:5]) or "no key"
        raise FormatError(f'expected the key "instances", found {found}')
    instances = document["instances"]
    if type(instances) is not list:
        raise FormatError(f'"instances" must be an array, found {_kind(instances)}')
    if not instances:
        raise FormatError('"instances" is empty; send at least one')
    return build(instances, expected)


def plain(body: bytes, width: int | None, *, lines: bool = False) -> Batch | None:
    """The instances of a document, or of lines, if all are written as dense rows of `width` numbers and nothing else.

    They are what `decode` makes of them otherwise, some five times as fast. None: it has to see to them.
    """
    if not width:
        return None
    features = np.empty((len(body) // (2 * width) + 1, width), np.float32)  # a number has two characters with its comma
    rows = scan(body, features, lines)
    return Batch(features[:rows]) if rows > 0 else None


def encode(columns: Columns, wrapper: str, ids: Sequence[str] | None) -> bytes:
    """`{wrapper: [{column: value, ...}, ...]}`; ids have no place in it. See `objects` for the numbers."""
    return orjson.dumps({wrapper: objects(columns)}, option=orjson.OPT_SERIALIZE_NUMPY)


def objects(columns: Columns) -> list[dict[str, Any]]:
    """One object a row, keys in the columns' order, for `orjson.dumps` with OPT_SERIALIZE_NUMPY.

    That option writes a float32 as the shortest text that reads back to the same float32. ValueError for NaN and
    infinity, which JSON cannot say (orjson would write null), and for columns of unequal length.
    """
    for name, column in columns.items():
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise ValueError(f"column '{name}' must be finite to be written as JSON")
    arrays = [np.ascontiguousarray(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*arrays, strict=True)]


def build(instances: Sequence[Any], expected: Expected, first_row: int = 1) -> Batch:
    """A batch of parsed instances, the first of which is row `first_row`: CSR if any of them is sparse."""
    tensors = [_tensor(instance, row, expected.width) for row, instance in enumerate(instances, first_row)]
    width = expected.width
    if width is None:
        width = _width(tensors[0])
    rule = f"expected {width} features" + ("" if expected.width is not None else f" as in row {first_row}")
    for row, tensor in enumerate(tensors, first_row):
        if _width(tensor) != width:
            raise FormatError(f"{rule}, found {_width(tensor)}", row=row)
    if width == 0:
        raise FormatError("expected at least 1 feature, found 0", row=first_row)
    with np.errstate(over="ignore"):  # beyond float32 is infinity; whether that is allowed is the algorithm's business
        dense = [tensor for tensor in tensors if isinstance(tensor, list)]
        if len(dense) < len(tensors):
            return Batch(_csr(tensors, width, first_row))
        features = np.empty((len(dense), width), np.float32)
        for i, values in enumerate(dense):
            features[i] = _numbers(values, first_row + i)
        return Batch(features)


def explain(body: bytes, error: orjson.JSONDecodeError, place: str) -> str:
    """What is wrong with a document that orjson refused, in a sentence."""
    if "not valid UTF-8" in error.msg:
        try:
            body.decode()
        except UnicodeDecodeError as invalid:
            return f"not valid UTF-8 at byte {invalid.start + 1}; JSON must be sent as UTF-8"
    hint = ""
    if error.doc[error.pos :].startswith(("NaN", "Infinity")):
        hint = "; NaN and Infinity are not JSON, write null for a missing value"
    return f"not valid JSON at {place}: {error.msg}{hint}"


def _tensor(found: Any, row: int, width: int | None) -> _Tensor:
    """The features of an instance, whichever way they are spelled; their numbers are not looked at yet."""
    if type(found) is dict and "features" not in found and "data" in found:
        found = found["data"]
        if type(found) is dict and "features" not in found:
            name = f'"{next(iter(found))[:40]}"' if found else "nothing"
            raise FormatError(f'the field in "data" must be "features", found {name}', row=row)
    if type(found) is dict and "features" in found:
        found = found["features"]
    elif type(found) is dict:
        keys = ", ".join(f'"{key[:40]}"' for key in list(found)[:5]) or "no key"
        raise FormatError(f'expected the key "features" or "data", found {keys}', row=row)
    if type(found) is list:
        return cast("list[Number]", found)
    if type(found) is not dict:
        raise FormatError(f"expected features as an array of numbers, found {_kind(found)}", row=row)
    return _spelled_out(found, row, width)


def _spelled_out(tensor: dict[str, Any], row: int, width: int | None) -> _Tensor:
    """`{"values": [...]}` or `{"keys": [...], "shape": [n], "values": [...]}`."""
    values: Any = tensor.get("values")
    keys: Any = tensor.get("keys")
    shape: Any = tensor.get("shape")
    for name, value in (("values", values), ("keys", keys), ("shape", shape)):
        if type(value) is not list and (value is not None or name == "values"):
            found = "nothing" if name not in tensor else _kind(value)
            raise FormatError(f'expected "{name}" as an array of numbers, found {found}', row=row)
    if shape and (len(shape) != 1 or type(shape[0]) is not int or not 1 <= shape[0] < 2**31):
        raise FormatError(f'"shape" must be one whole number in [1, 2147483647], got {_shown(shape)}', row=row)
    # As in the protobuf record, empty keys beside values are no keys: the row is dense.
    if keys is None or (not keys and values):
        if shape and shape[0] != len(values):
            raise FormatError(f'"shape" says {shape[0]} features, "values" has {len(values)}', row=row)
        return cast("list[Number]", values)
    if len(keys) != len(values):
        raise FormatError(f'"keys" and "values" must be of one length, got {len(keys)} and {len(values)}', row=row)
    if shape:
        width = shape[0]
    if width is None:
        raise FormatError('sparse features need "shape": [number of features]', row=row)
    return _Sparse(keys, values, width)


def _csr(tensors: list[_Tensor], width: int, first_row: int) -> sparse.csr_array:
    """Rows in order with sorted keys. All values of a dense row are stored: its zeros are known, not missing."""
    rows = [tensor if isinstance(tensor, _Sparse) else _Sparse(range(width), tensor, width) for tensor in tensors]
    numbers = [_numbers(row.values, i) for i, row in enumerate(rows, first_row)]
    values = np.concatenate(numbers, dtype=np.float32, casting="unsafe")
    keys = np.concatenate([_keys(row.keys, i, width) for i, row in enumerate(rows, first_row)])
    starts = np.cumsum([0, *(len(row.keys) for row in rows)])
    owners = np.repeat(np.arange(len(rows)), np.diff(starts))
    order = np.lexsort((keys, owners))
    keys = keys[order]
    twice = np.flatnonzero((np.diff(keys) == 0) & (np.diff(owners) == 0))
    if twice.size:
        raise FormatError(
            f"key {keys[twice[0]]} must be given once, found twice", row=first_row + int(owners[twice[0]])
        )
    matrix = sparse.csr_array((values[order], keys.astype(np.int32), starts.astype(np.int32)), (len(rows), width))
    matrix.has_canonical_format = True
    return matrix


def _numbers(values: Sequence[Number], row: int) -> NDArray[np.generic]:
    """float32-ready numbers of a row.

    `struct.pack` is both the fastest way from a list to memory and a strict one: it takes numbers and nothing else,
    where `np.array(list, np.float32)` would read text. Whole numbers are packed as such: three times as fast.
    """
    if values and type(values[0]) is int:
        try:
            return np.frombuffer(struct.pack(f"{len(values)}q", *values), np.int64)
        except struct.error:
            pass
    try:
        packed = struct.pack(f"{len(values)}d", *values)
    except struct.error:
        for column, value in enumerate(values, 1):
            if value is not None and not isinstance(value, int | float):
                problem = f"expected a number, found {_kind(value)} {_shown(value)}"
                raise FormatError(problem, row=row, column=column) from None
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.frombuffer(packed, np.float64)


def _keys(keys: Sequence[Number], row: int, width: int) -> NDArray[np.int64]:
    """Keys of a sparse row, each within 0..width-1. `3.0` is a whole number: JSON has one kind of number."""
    try:
        whole = np.frombuffer(struct.pack(f"{len(keys)}q", *keys), np.int64)
        if whole.size == 0 or (whole.min() >= 0 and whole.max() < width):
            return whole
    except struct.error:
        pass
    for column, key in enumerate(keys, 1):
        if type(key) not in (int, float) or key != key // 1:  # type: ignore[operator]
            raise FormatError(f"a key must be a whole number, got {_shown(key)}", row=row, column=column)
        if not 0 <= key < width:
            problem = f"a key must be in 0..{width - 1} for {width} features, got {_shown(key)}"
            raise FormatError(problem, row=row, column=column)
    return np.array(keys, np.int64)


def _width(tensor: _Tensor) -> int:
    return tensor.width if isinstance(tensor, _Sparse) else len(tensor)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 40 else f"{text[:37]}..."
