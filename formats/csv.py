"""CSV: lines of comma separated numbers to batches, and columns to lines (guide, "Common Data Formats").

There is no header and one row a line: its label and its weight, where there are such columns, then its features.
Blanks and quotes around numbers, True and False, a byte order mark and `\\r\\n` are accepted; an empty cell is NaN,
and whether that may be is the algorithm's to say. What is refused is explained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import orjson

from formats._csv import BAD_CELL, BAD_LENGTH, BLANK_LINE, scan
from formats.batch import Batch, Columns, Dense, Expected
from formats.csv_faults import cell_fault, count_cells
from formats.errors import FormatError
from formats.foreign import BLANKS, BYTE_ORDER_MARK, SIGNATURE_BYTES, refuse_foreign
from formats.layout import layout
from formats.lines import whole_lines

MEDIA_TYPES = ("text/csv", "csv")


def read(stream: BinaryIO, rows: int, expected: Expected) -> Iterator[Batch]:
    """Batches of exactly `rows` rows, the last one shorter, in memory that does not grow with the stream.

    The stream is read once, front to back: a file, a FIFO, a gzip stream. An empty one has no batches.
    Raises FormatError with the line and, where a cell is at fault, its column.
    """
    table = _Table(expected)
    for lines in whole_lines(stream, "CSV", lambda: table.line):
        position = table.begin(lines)
        while position < len(lines):
            position = table.fill(lines, position, rows)
            if table.filled == rows:
                yield table.take()
    if table.filled:
        yield table.take()


def decode(body: bytes, expected: Expected) -> Batch:
    """All rows of a request.

    Raises FormatError as `read` does, and for a body without rows.
    """
    text = body if body.endswith(b"\n") else body + b"\n"
    refuse_foreign(text[:SIGNATURE_BYTES], "CSV")
    lines = memoryview(text)
    table = _Table(expected)
    position = table.begin(lines)
    # c cells take c bytes at least, so no body claims much more memory than four times its size. The row more is for
    # a line that is too short, which has to be looked at.
    table.fill(lines, position, min(text.count(b"\n"), len(text) // table.layout.columns + 1))
    if not table.filled:
        raise FormatError("the body holds no rows; send one line of comma separated numbers for each row")
    return table.take()


def encode(columns: Columns, wrapper: str, ids: Sequence[str] | None) -> bytes:
    """One line a row: a cell of each column, m cells of a single column of shape (n, m); no final newline.

    Floats are the shortest text that reads as the same float32, always with a point or an exponent; truth values are
    True and False. Beside other columns one of shape (n, m) is a single cell, quoted: `"[0.1, 0.9]"`, as the hosted
    containers write it. CSV has no place for `wrapper` and `ids`.
    Raises ValueError for NaN and infinity.
    """
    if all(column.dtype == np.float32 and column.ndim == 1 for column in columns.values()):
        table = np.empty((len(next(iter(columns.values()))), len(columns)), np.float32)
        for i, column in enumerate(columns.values()):
            table[:, i] = column
        columns = {" and ".join(columns): table}  # one text is written faster than several
    cells = [_cells(name, np.asarray(column)) for name, column in columns.items()]
    if len(columns) > 1:
        for i, column in enumerate(columns.values()):
            if column.ndim > 1:
                cells[i] = [b'"[' + text.replace(b",", b", ") + b']"' for text in cells[i]]
    return b"\n".join(map(b",".join, zip(*cells, strict=True)))


def _cells(name: str, column: np.ndarray) -> list[bytes]:
    """The text of each row of a column."""
    if not len(column):
        return []
    if column.dtype.kind == "f":
        if column.dtype != np.float32:
            with np.errstate(over="ignore"):  # what overflows is infinity, and refused
                column = column.astype(np.float32)
        if not np.isfinite(column).all():
            raise ValueError(f"{name} must be finite to be written as CSV, got NaN or infinity")
    elif column.dtype.kind not in "iub":
        raise ValueError(f"{name} must hold numbers to be written as CSV, got {column.dtype}")
    rows = np.ascontiguousarray(column.reshape(len(column), -1), column.dtype.newbyteorder("="))
    text = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    if column.dtype.kind == "b":
        text = text.replace(b"true", b"True").replace(b"false", b"False")
    return text.split(b"],[")


class _Table:
    """Rows in the making: the batch that is being filled, and its place in the file."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.row = 0  # lines before the batch
        self.filled = 0  # rows of the batch so far
        self.labels: Dense = np.empty(0, np.float32)
        self.features: Dense = np.empty((0, 0), np.float32)
        self.layout = layout(expected, 1)  # the first line says
        self.begun = self.ended = False

    def begin(self, lines: memoryview) -> int:
        """Looks at the first lines of the file for what no other line says; returns where the rows begin."""
        if self.begun:
            return 0
        self.begun = True
        start = len(BYTE_ORDER_MARK) if lines[:3] == BYTE_ORDER_MARK else 0
        first = _line(lines, start)
        self.ended = not first.strip(BLANKS)
        if not self.ended:
            self.layout = layout(self.expected, count_cells(first))
        return start

    def fill(self, lines: memoryview, position: int, rows: int) -> int:
        """Reads lines into a batch of `rows` rows until it is full or they are used up; returns the next position."""
        if not self.ended:
            if not self.filled:
                # The scan takes a weight for one more feature; `take` tells them apart.
                self.features = np.empty((rows, self.layout.weights + self.layout.features), np.float32)
                self.labels = np.empty(rows * self.layout.labels, np.float32)
            stop, position, self.filled, cell = scan(lines, position, self.labels, self.features, self.filled)
            if stop == BAD_LENGTH:
                found = count_cells(_line(lines, position))
                raise FormatError(f"expected {self.layout.wanted}, found {found}", row=self.line)
            if stop == BAD_CELL:
                raise cell_fault(_line(lines, position), cell - position, self.line)
            self.ended = stop == BLANK_LINE
        if self.ended:
            if bytes(lines[position:]).strip(BLANKS):
                raise FormatError("expected numbers, found a blank line between rows; remove it", row=self.line)
            position = len(lines)
        return position

    @property
    def line(self) -> int:
        """The 1-based number of the line after those that were read."""
        return self.row + self.filled + 1

    def take(self) -> Batch:
        """The rows so far."""
        features, weights = self.features[: self.filled], None
        if self.layout.weights:
            weights, features = features[:, 0].copy(), np.ascontiguousarray(features[:, 1:])
        batch = Batch(features, self.labels[: self.filled] if self.layout.labels else None, weights)
        self.row += self.filled
        self.filled = 0
        return batch


def _line(lines: memoryview, position: int) -> bytes:
    """The line that begins at `position`, without its end."""
    return bytes(lines[position:]).partition(b"\n")[0].removesuffix(b"\r")
