"""LibSVM: lines of `label[:weight] [qid:7] index:value index:value ... # comment` to sparse batches.

One row a line, in any order of indices; what is not written is absent, what is written stays, a zero or nan too.
Lines that hold only a comment are passed over. The label may be absent in requests (guide, "Input/Output Interface"
of XGBoost); there a first token with a colon is a feature, in training files it is a label and its weight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from formats._libsvm import BAD_LINE, BLANK_LINE, GROUP, LABEL, WEIGHT, count, scan
from formats.batch import Batch, Columns, Expected
from formats.errors import FormatError, NotAcceptableError
from formats.foreign import BYTE_ORDER_MARK, SIGNATURE_BYTES, refuse_foreign
from formats.libsvm_faults import MOST_FEATURES, Rules, line_fault
from formats.lines import whole_lines

MEDIA_TYPES = ("text/libsvm", "text/x-libsvm", "libsvm")

_ROW = re.compile(rb"^[ \t\r]*[^# \t\r\n]", re.MULTILINE)  # where a line begins that is no comment and not blank
_MANY = 256  # parts of a batch that are put together, for those of a slow pipe hold a line each


def read(stream: BinaryIO, rows: int, expected: Expected) -> Iterator[Batch]:
    """Batches of exactly `rows` rows, the last one shorter, in memory that does not grow with the stream.

    The stream is read once, front to back: a file, a FIFO, a gzip stream. An empty one has no batches. Without
    `expected.width` each batch is as wide as its greatest index says. Raises FormatError with the line and the number
    of the token in it.
    """
    table = _Table(Rules(expected.first_index, expected.width, training=True))
    parts: list[_Rows] = []
    filled = joined = 0
    for lines in whole_lines(stream, "LibSVM", lambda: table.line):
        found, start = table.scan(lines), 0
        while start < len(found):
            part = found.part(start, start + rows - filled)
            parts.append(part)
            start, filled = start + len(part), filled + len(part)
            if len(parts) == joined + _MANY:
                parts[joined:] = [_together(parts[joined:])]
                joined += 1
            if filled == rows:
                yield table.batch(_together(parts))
                parts, filled, joined = [], 0, 0
    if parts:
        yield table.batch(_together(parts))


def decode(body: bytes, expected: Expected) -> Batch:
    """All rows of a request; labels and queries only if all rows have one.

    Raises FormatError as `read` does, and for a body without rows.
    """
    text = body if body.endswith(b"\n") else body + b"\n"
    refuse_foreign(text[:SIGNATURE_BYTES], "LibSVM")
    table = _Table(Rules(expected.first_index, expected.width, training=False))
    rows = table.scan(memoryview(text))
    if not len(rows):
        raise FormatError(
            "the body holds no rows; send one line of index:value for each row, or its label alone (0) for a row "
            "without features"
        )
    return table.batch(rows)


def encode(columns: Columns, wrapper: str, ids: Sequence[str] | None) -> NoReturn:
    """LibSVM is for rows of features. Raises NotAcceptableError."""
    raise NotAcceptableError("cannot answer in 'text/libsvm', which is for requests only; ask for text/csv")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows in a run, as the scan leaves them; see there. bounds: (n + 1,), of row i's entries; bounds[0] may be > 0."""

    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    groups: NDArray[np.int64]
    bounds: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> _Rows:
        """Rows start..stop-1, or fewer; views."""
        bounds = self.bounds[start : stop + 1]
        entries = slice(bounds[0] - self.bounds[0], bounds[-1] - self.bounds[0])
        rows = slice(start, stop)
        return _Rows(
            self.labels[rows],
            self.weights[rows],
            self.groups[rows],
            bounds,
            self.indices[entries],
            self.values[entries],
        )


def _together(parts: list[_Rows]) -> _Rows:
    """The rows of all parts in order, in arrays of their own."""
    bounds, entries = [np.zeros(1, np.int64)], 0
    for part in parts:
        bounds.append(part.bounds[1:] + (entries - part.bounds[0]))
        entries += len(part.indices)
    return _Rows(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.groups for part in parts]),
        np.concatenate(bounds),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


class _Table:
    """The place in the file, and what its rows have been found to have."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.line = 0  # 1-based number of the next line; 0 before the first piece
        self.kind = -1  # LABEL | WEIGHT | GROUP of the rows so far, -1 without rows
        self.ended = False  # a blank line was met

    def scan(self, lines: memoryview) -> _Rows:
        """All rows of the next lines."""
        position = 0
        if self.line == 0:
            self.line = 1
            position = len(BYTE_ORDER_MARK) if lines[:3] == BYTE_ORDER_MARK else 0
        n, m = (0, 0) if self.ended else count(lines)
        rows = _Rows(
            np.empty(n, np.float32),
            np.empty(n, np.float32),
            np.empty(n, np.int64),
            np.zeros(n + 1, np.int64),
            np.empty(m, np.int32),
            np.empty(m, np.float32),
        )
        filled = 0
        if not self.ended:
            rules, width = self.rules, MOST_FEATURES if self.rules.width is None else self.rules.width
            stop, position, read, filled, self.kind = scan(
                lines,
                position,
                rules.first_index,
                width,
                rules.training,
                self.kind,
                rows.labels,
                rows.weights,
                rows.groups,
                rows.bounds,
                rows.indices,
                rows.values,
            )
            self.line += read
            if stop == BAD_LINE:
                line = bytes(lines[position:]).partition(b"\n")[0]
                raise line_fault(line, self.line, rules, self.kind)
            self.ended = stop == BLANK_LINE
        if self.ended and _ROW.search(lines, position):
            raise FormatError(
                "expected a row, found a blank line before it; remove the line, or write a row without features as its "
                "label alone (0)",
                row=self.line,
            )
        return rows.part(0, filled)

    def batch(self, rows: _Rows) -> Batch:
        """The rows as other formats give them."""
        width = self.rules.width
        if width is None:
            width = int(rows.indices.max(initial=0)) + 1
        index_type = np.int32 if len(rows.indices) < 2**31 else np.int64
        features = sparse.csr_array(
            (rows.values, rows.indices.astype(index_type, copy=False), rows.bounds.astype(index_type)),
            shape=(len(rows), width),
        )
        features.has_canonical_format = True  # the scan sorted them, and refused duplicates
        return Batch(
            features,
            rows.labels if self.kind & LABEL else None,
            rows.weights if self.kind & WEIGHT else None,
            rows.groups if self.kind & GROUP else None,
        )
