"""JSON Lines: one instance of the JSON format a line, one object of the answer a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, BinaryIO

import orjson

from formats import json
from formats.batch import Batch, Columns, Expected
from formats.errors import FormatError

# The guide's name (the SDK sends it), then the spellings of other clients and tools.
MEDIA_TYPES = ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")

_BLOCK = 1 << 18  # bytes read at once; of a FIFO what is there


def read(stream: BinaryIO, rows: int, expected: Expected) -> Iterator[Batch]:
    """Batches of `rows` rows; holds no more lines than a batch has. A file without lines has no batches."""
    instances = _instances(_lines(stream))
    first_row = 1
    while chunk := list(islice(instances, rows)):
        batch = json.build(chunk, expected, first_row)
        yield batch
        expected = replace(expected, width=batch.width)
        first_row += len(batch)


def decode(body: bytes, expected: Expected) -> Batch:
    """All lines of a request; FormatError names the 1-based line, and the feature's position in it."""
    instances = list(_instances(body.split(b"\n")))
    if not instances:
        raise FormatError('the body is empty; expected a line {"features": [...]} for each row')
    return json.build(instances, expected)


def encode(columns: Columns, wrapper: str, ids: Sequence[str] | None) -> bytes:
    """A line for each row, as `json.encode` writes its objects, without the wrapper and without a final newline.

    Batch transform with AssembleWith=Line ends each body with a newline, so one of ours would be a blank line.
    """
    return b"\n".join(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in json.objects(columns))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The stream's lines, without their ends. Iterating over a stream that is not buffered asks for byte after byte."""
    rest = b""
    while block := stream.read(_BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _instances(lines: Iterable[bytes]) -> Iterator[Any]:
    """Parsed lines. A blank line between rows is refused: batch transform would lose a record. At the end it is not."""
    blank = None
    for row, line in enumerate(lines, 1):
        if not line.strip():
            blank = blank or row
            continue
        if blank is not None:
            raise FormatError("expected an instance, found a blank line; remove it", row=blank)
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise FormatError(json.explain(line, error, f"character {error.colno}"), row=row) from None
