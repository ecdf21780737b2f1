"""RecordIO-protobuf, read: dmlc's frames around the Record messages of proto/record.proto.

A frame is the magic, 3 bits of part and 29 of length, the payload, and zeros up to a multiple of four bytes.
Frames are told apart by their lengths only: the SDK's writer leaves the magic unescaped inside payloads. dmlc's writer
instead cuts a payload where it holds the magic, drops it there, and numbers the parts 1 (first), 2 (middle), 3 (last).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from formats import _recordio
from formats.batch import Batch, Expected, concatenate
from formats.errors import FormatError
from formats.recordio_writer import LENGTH, MAGIC, encode, encode_features, frame

__all__ = ["MEDIA_TYPES", "decode", "encode", "encode_features", "read"]

MEDIA_TYPES = ("application/x-recordio-protobuf", "recordio-protobuf")

_BLOCK = 1 << 20  # bytes read at once: reused and small enough to stay in the CPU's cache until they are copied out
_TABLE = 4096  # most records looked at together
_ROOM = 1 << 26  # most floats reserved for a batch before its rows have arrived

# What `_recordio.scan` notes of a record; see `Record` there.
_FIELDS = "begin end values keys width sparse label label_end labels uid uid_end"
_RECORD = np.dtype([(name, np.int64) for name in _FIELDS.split()])


class _Fault(IntEnum):  # the numbers of _recordio.pyx
    FINE, BAD_MAGIC, MULTIPART, MALFORMED, EMPTY, NO_VALUES, NO_TENSOR = range(7)
    NOT_NUMBERS, HUGE_SHAPE, UNEQUAL, MISSHAPEN, LABEL_SIZE, KEY = range(7, 13)


_PROBLEMS = {
    _Fault.BAD_MAGIC: "expected a RecordIO frame, which begins with the bytes 0a 23 d7 ce, found {found}. "
    "Please verify that the data is RecordIO-protobuf",
    _Fault.MALFORMED: "expected a Record message, found bytes that protobuf cannot parse; the record is cut short or "
    "damaged, write it again",
    _Fault.EMPTY: "expected features under the key 'values', found none; leave out records without features",
    _Fault.NO_VALUES: "expected features under the key 'values', found the key '{found}'; rename it to 'values'",
    _Fault.NO_TENSOR: "expected a float32, float64 or int32 tensor as features, found an empty value; "
    "write the values in one",
    _Fault.NOT_NUMBERS: "expected a float32, float64 or int32 tensor as features, found bytes; write them as numbers",
    _Fault.HUGE_SHAPE: "expected a shape whose product is below 2**63, found a greater one; "
    "write the number of features",
    _Fault.UNEQUAL: "expected as many keys as values in a sparse tensor, found {keys} and {values}; "
    "write one key for each value",
    _Fault.MISSHAPEN: "expected the {width} values that the shape announces, found {values}; "
    "a sparse tensor needs keys, a dense one needs no shape",
    _Fault.LABEL_SIZE: 'expected one number as label, found {labels}; write one value under label["values"]',
    _Fault.KEY: "expected keys below the number of features, {width}, found key {found}; keys count from 0",
}


def read(stream: BinaryIO, rows: int, expected: Expected) -> Iterator[Batch]:
    """Batches of exactly `rows` records, the last one shorter; nothing from an empty stream.

    The stream needs `readinto`, is read once, front to back, and may be a FIFO. Memory: a batch and a block (1 MiB, or
    up to twice the longest record). Raises FormatError with the record's 1-based number.
    """
    shared = _Shared(expected.width)
    parts: list[Batch] = []
    room: NDArray[np.float32] | None = None
    count = 0
    for data, records, row in _pieces(stream, _BLOCK):
        width = shared.check(records, row)
        start = 0
        while start < len(records):
            if not parts:
                room = np.empty((rows, width), np.float32) if rows * width <= _ROOM else None
            some = records[start : start + rows - count]
            parts.append(_batch(data, some, row + start, shared, None if room is None else room[count:]))
            start, count = start + len(some), count + len(some)
            if count == rows:
                yield _together(parts, room)
                parts, room, count = [], None, 0
    if parts:
        yield _together(parts, room)


def decode(body: bytes, expected: Expected) -> Batch:
    """All records of a request: frames, or one bare Record as batch transform's SingleRecord sends it.

    Raises FormatError, also for a body without records.
    """
    if not body:
        raise FormatError("the body holds no records; send at least one")
    if body[:4] != MAGIC:
        framed = frame(body[:LENGTH])
        _, _, fault = _recordio.scan(framed, np.empty(1, _RECORD), True)
        if len(body) > LENGTH or fault in (_Fault.MALFORMED, _Fault.EMPTY):
            raise _refusal(_Fault.BAD_MAGIC, 1, found=body[:4].hex(" "))
        body = framed
    shared = _Shared(expected.width)
    parts = []
    for data, records, row in _pieces(io.BytesIO(body), len(body) + 1):
        shared.check(records, row)
        parts.append(_batch(data, records, row, shared))
    return concatenate(parts)


@dataclass(slots=True)
class _Shared:
    """What all records of a file have in common. The first record says it, `expected` only the width."""

    expected: int | None
    width: int | None = None
    labelled: bool = False
    named: bool = False

    def check(self, records: NDArray[np.void], row: int) -> int:
        """The records' width. Raises FormatError for the first one that differs; `row` is the number of records[0]."""
        widths, labelled = records["width"], records["label"] >= 0
        if self.expected is not None:
            widths[widths < 0] = self.expected
        if self.width is None:
            self.width = int(widths[0]) if self.expected is None else self.expected
            self.labelled, self.named = bool(labelled[0]), bool(records["uid"][0] >= 0)
        wrong = (widths != self.width) | (widths < 0) | (labelled != self.labelled)
        if wrong.any():
            i = int(wrong.argmax())
            if widths[i] < 0:
                problem = "expected a shape in a sparse tensor, found none; write the number of features as its shape"
            elif widths[i] != self.width:
                problem = f"expected {self.width} features, found {widths[i]}; give all records the same number"
            elif self.labelled:
                problem = "expected a label as in the records before, found none; give all records a label or none"
            else:
                problem = "expected no label as in the records before, found one; give all records a label or none"
            raise FormatError(problem, row=row + i)
        return self.width


def _pieces(stream: BinaryIO, size: int) -> Iterator[tuple[memoryview, NDArray[np.void], int]]:
    """Runs of whole records: their bytes, their table, the number of the first one. Each is valid until the next."""
    block = memoryview(bytearray(size))
    records = np.empty(min(_TABLE, size // 8 + 1), _RECORD)
    row, stop, last = 1, 0, False
    while not last:
        held = stop
        # What is there is scanned at once, for a FIFO may be slow; but bytes that await the rest of their record are
        # not scanned again before they have doubled.
        while not last and stop < min(len(block), max(1, 2 * held)):
            count = cast(io.BufferedIOBase, stream).readinto(block[stop:])
            last = not count
            stop += count
        start, more = 0, True
        while more:
            count, used, fault = _recordio.scan(block[start:stop], records, last)
            if count:
                yield block[start:stop], records[:count], row
            row, start, more = row + count, start + used, count == len(records)
            if fault == _Fault.MULTIPART:
                joined = _join(block, start, stop, last, row)
                start, more = (start, False) if joined is None else (joined, True)
            elif fault:
                raise _fault(_Fault(fault), block[start:stop], records, count, used, row)
        tail = block[start:stop]
        if len(tail) == len(block):  # a record longer than the block, which grows only as its bytes arrive
            block = memoryview(bytearray(2 * len(block)))
        block[: len(tail)] = tail
        stop = len(tail)
    if stop:
        raise _truncated(block[:stop], row)


def _join(block: memoryview, start: int, stop: int, last: bool, row: int) -> int | None:
    """Writes the parts from `start` as one frame that ends where they do; its start, or None if some are missing."""
    parts: list[bytes] = []
    at, number = start, 0
    while number != 3:
        if at + 8 > stop:
            return None
        magic, word = struct.unpack_from("<4sI", block, at)
        number, length = word >> 29, word & LENGTH
        if magic != MAGIC:
            raise _refusal(_Fault.BAD_MAGIC, row, found=magic.hex(" "))
        if number not in ((2, 3) if parts else (1,)):
            wanted = "part 2 or 3 of a record in parts" if parts else "a whole record or part 1 of one"
            raise FormatError(f"expected {wanted}, found part {number}; write the record again", row=row)
        end = at + 8 + (length + 3 & ~3)
        if (at + 8 + length if last else end) > stop:
            return None
        parts.append(bytes(block[at + 8 : at + 8 + length]))
        at = end
    payload = MAGIC.join(parts)
    if len(payload) > LENGTH:
        raise FormatError(f"expected a record of at most {LENGTH} bytes, found {len(payload)}; split it", row=row)
    # A part's header is longer than the magic that replaces it, so the joined frame has room where the parts were.
    joined = frame(payload) if at <= stop else frame(payload)[: 8 + len(payload)]
    end = min(at, stop)
    block[end - len(joined) : end] = joined
    return end - len(joined)


def _together(parts: list[Batch], room: NDArray[np.float32] | None) -> Batch:
    """One batch of all parts, whose dense features lie in `room` one after the other."""
    if room is None or any(part.is_sparse for part in parts):
        return concatenate(parts)
    rest = concatenate([replace(part, features=part.features[:, :0]) for part in parts])
    return replace(rest, features=room[: len(rest)])


def _batch(
    data: memoryview, records: NDArray[np.void], row: int, shared: _Shared, room: NDArray[np.float32] | None = None
) -> Batch:
    """The rows of checked records; dense features are stored at the beginning of `room`."""
    n, width = len(records), cast(int, shared.width)
    features: NDArray[np.float32] | sparse.csr_array
    if records["sparse"].any():
        features = _csr(data, records, row, width)
    else:
        features = np.empty((n, width), np.float32) if room is None else room[:n]
        _fill(data, records["begin"], records["end"], features, row)
    labels = np.empty(n, np.float32) if shared.labelled else None
    if labels is not None:
        _fill(data, records["label"], records["label_end"], labels[:, np.newaxis], row)
    return Batch(features, labels, ids=_uids(data, records, row) if shared.named else None)


def _csr(data: memoryview, records: NDArray[np.void], row: int, width: int) -> sparse.csr_array:
    n, size = len(records), int(records["values"].sum())
    values, keys, starts = np.empty(size, np.float32), np.empty(size, np.int64), np.empty(n + 1, np.int64)
    bad, fault, key, increasing = _recordio.fill_sparse(data, records, values, keys, starts)
    if bad < n:
        raise _refusal(_Fault(fault), row + bad, width=width, found=key % 2**64)
    size = int(starts[n])
    index = np.int32 if max(width, size) <= np.iinfo(np.int32).max else np.int64
    matrix = sparse.csr_array((values[:size], keys[:size].astype(index), starts.astype(index)), shape=(n, width))
    if not increasing:
        matrix.sort_indices()
        for i in np.flatnonzero(matrix.indices[1:] == matrix.indices[:-1]):
            first, second = np.searchsorted(matrix.indptr, (i, i + 1), side="right")
            if first == second:
                problem = f"expected each key once in a record, found key {matrix.indices[i]} twice; add up its values"
                raise FormatError(problem, row=row + int(first) - 1)
    matrix.has_canonical_format = True
    return matrix


def _uids(data: memoryview, records: NDArray[np.void], row: int) -> list[str]:
    """The uid of each record, empty where it has none."""
    uids = []
    for i, (start, end) in enumerate(zip(records["uid"].tolist(), records["uid_end"].tolist(), strict=True)):
        try:
            uids.append(str(data[start:end], "utf-8") if start >= 0 else "")
        except UnicodeDecodeError:
            raise FormatError("expected a uid in UTF-8, found other bytes; write it as text", row=row + i) from None
    return uids


def _fill(
    data: memoryview, begin: NDArray[np.int64], end: NDArray[np.int64], values: NDArray[np.float32], row: int
) -> None:
    filled = _recordio.fill_dense(data, begin, end, values)
    if filled < len(values):
        raise _refusal(_Fault.MALFORMED, row + filled)


def _refusal(fault: _Fault, row: int, **found: object) -> FormatError:
    return FormatError(_PROBLEMS[fault].format(**found), row=row)


def _fault(fault: _Fault, data: memoryview, records: NDArray[np.void], count: int, used: int, row: int) -> FormatError:
    """The sentence for what `scan` found in the record behind the first `count`, whose frame begins at `used`."""
    if fault == _Fault.BAD_MAGIC:
        return _refusal(fault, row, found=bytes(data[used : used + 4]).hex(" "))
    facts = {name: int(records[name][count]) for name in ("values", "keys", "width", "labels", "begin", "end")}
    name = str(data[facts["begin"] : facts["end"]], "utf-8", "replace") if fault == _Fault.NO_VALUES else ""
    return _refusal(fault, row, found=name, **facts)


def _truncated(rest: memoryview, row: int) -> FormatError:
    found = f"{len(rest)} of the 8 bytes of a frame's header"
    if len(rest) >= 8:
        word = struct.unpack_from("<I", rest, 4)[0]
        found = f"{len(rest) - 8} of its {word & LENGTH} bytes" if word <= LENGTH else "only its first parts"
    return FormatError(f"the data ends inside this record: found {found}; write or send it again, whole", row=row)
