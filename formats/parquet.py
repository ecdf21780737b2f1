"""Parquet, read by pyarrow: columns of numbers to batches. It is here for XGBoost and comes with the `parquet` extra.

The first column is the label, where there is one, then comes the weight, where there is one; the others are features in
the order of the file, whatever their names. Null is NaN; other values are rounded as the same number in CSV is. Columns
that pandas wrote for its index are no data, and passed over.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from formats.batch import Batch, Columns, Expected
from formats.errors import FormatError, NotAcceptableError
from formats.layout import Layout, layout

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

MEDIA_TYPES = ("application/x-parquet", "parquet")

_MAGIC = b"PAR1"
_PIECE = 1 << 20  # floats that are filled column by column: what stays in the cache until the last column is there
_LEAST_ROWS = 4096  # of a piece, so that a wide table does not make for many small ones
_COLUMN_BUFFER = 1 << 16  # bytes read ahead of each column; without it a whole row group is in memory
_MOST_VALUES = 1 << 26  # in a request: a few bytes of Parquet can stand for any number of equal values
_LONGEST_NAME = 40  # characters of a column's name that an error shows


def read(stream: BinaryIO, rows: int, expected: Expected) -> Iterator[Batch]:
    """Batches of exactly `rows` rows, the last one shorter; nothing from an empty stream or a table without rows.

    The table of contents is at the end of a Parquet file. So a file is read out of order, in memory for a batch and a
    page of each column; what cannot be rewound, a FIFO or a gzip stream, is taken into memory whole, as it is.
    Raises FormatError, which names the column at fault.
    """
    source = _source(stream)
    if source.size():
        yield from _Table(source, expected).batches(rows, use_threads=True)


def decode(body: bytes, expected: Expected) -> Batch:
    """All rows of a request, which is a whole Parquet file of at most 2**26 values.

    Raises FormatError as `read` does, and for a body without rows.
    """
    if body:
        table = _Table(_arrow().BufferReader(body), expected)
        rows, columns = table.rows, table.layout.columns
        if rows * columns > _MOST_VALUES:
            limit = f"expected at most {_MOST_VALUES} values in a request, found {rows} rows of {columns} columns"
            raise FormatError(f"{limit}; send fewer rows at once")
        for batch in table.batches(max(1, rows), use_threads=False):
            return batch
    raise FormatError("the body holds no rows; send a Parquet file with at least one row")


def encode(columns: Columns, wrapper: str, ids: Sequence[str] | None) -> bytes:
    """Parquet is for rows of features. Raises NotAcceptableError."""
    raise NotAcceptableError("cannot answer in 'application/x-parquet', which is for requests only; ask for text/csv")


class _Table:
    """The table in a Parquet file, whose columns are those that are expected, and numbers."""

    def __init__(self, source: Any, expected: Expected) -> None:
        self._file = _opened(source)
        self.rows: int = self._file.metadata.num_rows
        with _arrow_faults():
            schema = self._file.schema_arrow
        index = _index_columns(schema)
        self._positions = [i for i, name in enumerate(schema.names) if name not in index]
        self.layout: Layout = layout(expected, len(self._positions))
        if len(self._positions) != self.layout.columns:
            raise FormatError(f"expected {self.layout.wanted}, found {len(self._positions)}")
        for position in self._positions:
            _require_numbers(schema.field(position), position + 1)

    def batches(self, rows: int, *, use_threads: bool) -> Iterator[Batch]:
        """All rows, in batches of `rows`; nothing where there are none."""
        filled = taken = 0
        for piece in self._pieces(min(rows, max(_LEAST_ROWS, _PIECE // self.layout.columns)), use_threads):
            start = 0
            while start < piece.num_rows:
                if not filled:
                    batch = self._room(min(rows, self.rows - taken))
                part = piece.slice(start, len(batch) - filled)
                self._fill(batch.rows(filled, filled + part.num_rows), part)
                start, filled, taken = start + part.num_rows, filled + part.num_rows, taken + part.num_rows
                if filled == len(batch):
                    yield batch
                    filled = 0
        if taken < self.rows:
            raise _damaged()

    def _pieces(self, rows: int, use_threads: bool) -> Iterator[Any]:
        """The file's record batches, never more rows than the table of contents promises."""
        left = self.rows
        with _arrow_faults():
            for piece in self._file.iter_batches(rows, use_threads=use_threads):
                left -= piece.num_rows
                if left < 0:
                    raise _damaged()
                yield piece

    def _room(self, rows: int) -> Batch:
        return Batch(
            np.empty((rows, self.layout.features), np.float32),
            np.empty(rows, np.float32) if self.layout.labels else None,
            np.empty(rows, np.float32) if self.layout.weights else None,
        )

    def _fill(self, batch: Batch, part: Any) -> None:
        """Writes the columns of a record batch into a batch of as many rows."""
        targets = [array for array in (batch.labels, batch.weights) if array is not None]
        with _arrow_faults():
            for target, position in zip([*targets, *batch.features.T], self._positions, strict=True):
                target[:] = _float32(part.column(position))


def _float32(column: Any) -> Any:
    """The (n,) float32 values, without a copy where they are such already; as in CSV, all are doubles first."""
    arrow = _arrow()
    if not arrow.types.is_floating(column.type):
        column = column.cast(arrow.float64(), safe=False)
    return column.cast(arrow.float32(), safe=False).to_numpy(zero_copy_only=False)


def _require_numbers(field: Any, number: int) -> None:
    """Raises FormatError for the column with this 1-based number. One of nothing but nulls may have no type."""
    types = _arrow().types
    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    is_number = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    if not any(check(kind) for check in is_number):
        found = str(kind).partition("<")[0]  # of a nested type, without what is in it
        problem = f"{field.name[:_LONGEST_NAME]!r} must hold numbers, got {found}"
        raise FormatError(f"{problem}; encode it as numbers or leave it out", column=number)


def _index_columns(schema: Any) -> set[str]:
    """The names of the columns that hold the index of a pandas DataFrame."""
    try:
        named = [name for name in schema.pandas_metadata["index_columns"] if isinstance(name, str)]  # not a range
    except (KeyError, TypeError, ValueError):  # not written by pandas
        named = []
    return {name for name in schema.names if name in named or name.startswith("__index_level_")}


def _source(stream: BinaryIO) -> Any:
    """The stream as a file of Arrow's: itself if it can be rewound at no cost, else all that it holds.

    A gzip stream says that it can be, but begins anew each time.
    """
    arrow = _arrow()
    if not isinstance(stream, gzip.GzipFile) and hasattr(stream, "seekable") and stream.seekable():
        return arrow.PythonFile(stream, mode="r")
    return arrow.BufferReader(stream.read())


def _opened(source: Any) -> ParquetFile:
    head, tail = source.read_at(len(_MAGIC), 0), source.read_at(len(_MAGIC), max(0, source.size() - len(_MAGIC)))
    if head != _MAGIC:
        problem = f"expected a Parquet file, which begins with the bytes 'PAR1', found {str(head)[1:]}"
        raise FormatError(f"{problem}. Please verify that the data is Parquet")
    if tail != _MAGIC or source.size() == len(_MAGIC):
        raise FormatError(
            "the Parquet file is cut short: it must end in the bytes 'PAR1', too; write or send it again, whole"
        )
    with _arrow_faults():
        return _arrow().parquet.ParquetFile(
            source,
            pre_buffer=False,  # it would keep what was read
            buffer_size=_COLUMN_BUFFER,
            page_checksum_verification=True,
        )


def _arrow() -> Any:
    """The package pyarrow, imported here because it is large and optional."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise FormatError(
            "Parquet needs pyarrow, which is not installed here: install inbuilt[parquet], build the image with "
            "EXTRAS=parquet, or convert the data to CSV"
        ) from None
    return pyarrow


@contextmanager
def _arrow_faults() -> Iterator[None]:
    """Turns what pyarrow raises for damaged bytes into FormatError; what the machine has done is left alone."""
    try:
        yield
    except (_arrow().ArrowException, OSError, ValueError) as error:
        if isinstance(error, FormatError | MemoryError) or getattr(error, "errno", None):
            raise
        raise _damaged() from error


def _damaged() -> FormatError:
    return FormatError(
        "the Parquet data cannot be read: it is damaged, encrypted or compressed in an unusual way; "
        "write it again, uncompressed or with snappy, gzip or zstd"
    )
