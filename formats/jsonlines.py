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
    lines, first_row, blank = _lines(stream), 1, None
    while chunk := list(islice(lines, rows)):
        batch = None if blank else json.plain(b"\n".join(chunk), expected.width, lines=True)
        if batch is None or len(batch) < len(chunk):  # the last line is blank
            instances, blank = _parsed(chunk, first_row, blank)
            if not instances:
                continue
            batch = json.build(instances, expected, first_row)
        yield batch
        expected = replace(expected, width=batch.width)
        first_row += len(chunk)


def decode(body: bytes, expected: Expected) -> Batch:
    """All lines of a request; FormatError names the 1-based line, and the feature's position in it."""
    if (batch := json.plain(body, expected.width, lines=True)) is not None:
        return batch
    instances, _ = _parsed(body.split(b"\n"))
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


def _parsed(lines: Iterable[bytes], first_row: int = 1, blank: int | None = None) -> tuple[list[Any], int | None]:
    """Parsed lines, and the first blank one, of these or before.

    A blank line between rows is refused: batch transform would lose a record. At the end it is not.
    """
    instances = []
    for row, line in enumerate(lines, first_row):
        if not line.strip():
            blank = blank or row
            continue
        if blank is not None:
            raise FormatError("expected an instance, found a blank line; remove it", row=blank)
        try:
            instances.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise FormatError(json.explain(line, error, f"character {error.colno}"), row=row) from None
    return instances, blank
