"""Parquet: files as pyarrow and pandas write them, against the arrays they were written from; and what is refused."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet as arrow_parquet

import formats
from formats import parquet
from formats.batch import Batch, Expected
from formats.errors import FormatError, NotAcceptableError

NAN = float("nan")
DAMAGED = (
    "the Parquet data cannot be read: it is damaged, encrypted or compressed in an unusual way; "
    "write it again, uncompressed or with snappy, gzip or zstd"
)


class Unrewindable(io.RawIOBase):
    """A stream that gives a few bytes at a time and cannot go back, as a pipe."""

    def __init__(self, body: bytes) -> None:
        self.rest = io.BytesIO(body)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        return self.rest.readinto(memoryview(target)[:100])


class OnlyRead:
    """A stream without `seekable`."""

    def __init__(self, body: bytes) -> None:
        self.read = io.BytesIO(body).read


class Counted(io.BytesIO):
    """Notes how many bytes were read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


STREAMS: list[Callable[[bytes], Any]] = [
    io.BytesIO,
    Unrewindable,
    OnlyRead,
    lambda body: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(body))),
]


def written(columns: dict[str, Any] | pyarrow.Table, **options: Any) -> bytes:
    body = io.BytesIO()
    table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
    arrow_parquet.write_table(table, body, **options)
    return body.getvalue()


def refusal(body: bytes, expected: Expected) -> str:
    """What is said of it, the same for a file and for a request."""
    with pytest.raises(FormatError) as file:
        list(parquet.read(io.BytesIO(body), 10, expected))
    with pytest.raises(FormatError) as request:
        parquet.decode(body, expected)
    assert str(file.value) == str(request.value)
    assert file.value.row is None
    return str(file.value)


def check(batch: Batch, features: Any, labels: Any = None, weights: Any = None) -> None:
    assert batch.features.dtype == np.float32
    assert batch.features.flags.c_contiguous
    np.testing.assert_array_equal(batch.features, np.array(features, np.float32))
    for found, wanted in ((batch.labels, labels), (batch.weights, weights)):
        assert (found is None) == (wanted is None)
        if wanted is not None:
            assert found.dtype == np.float32
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(found, np.array(wanted, np.float32))


COLUMNS = {"y": [1, 0, 1], "w": [0.5, 2.0, 1.0], "b": [10.0, None, 30.0], "a": [True, False, None]}


@pytest.mark.parametrize("width", [None, "right"])
@pytest.mark.parametrize(
    ("labels", "weights", "wanted"),
    [
        (0, 0, ([[1, 0.5, 10, 1], [0, 2, NAN, 0], [1, 1, 30, NAN]],)),
        (1, 0, ([[0.5, 10, 1], [2, NAN, 0], [1, 30, NAN]], [1, 0, 1])),
        (1, 1, ([[10, 1], [NAN, 0], [30, NAN]], [1, 0, 1], [0.5, 2, 1])),
        (0, 1, ([[0.5, 10, 1], [2, NAN, 0], [1, 30, NAN]], None, [1, 0, 1])),
    ],
)
def test_label_then_weight_then_features_in_the_order_of_the_file(
    width: str | None, labels: int, weights: int, wanted: tuple[Any, ...]
) -> None:
    expected = Expected(4 - labels - weights if width else None, labels, weights)
    check(parquet.decode(written(COLUMNS), expected), *wanted)
    (batch,) = parquet.read(io.BytesIO(written(COLUMNS)), 10, expected)
    check(batch, *wanted)


def test_the_label_is_optional_where_the_width_tells() -> None:
    body = written({"a": [1], "b": [2], "c": [3]})
    check(parquet.decode(body, Expected(3, None)), [[1, 2, 3]])
    check(parquet.decode(body, Expected(2, None)), [[2, 3]], [1])
    check(parquet.decode(body, Expected(None, None)), [[1, 2, 3]])


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        *(([1, None, 100], f"{sign}int{bits}", [1, NAN, 100]) for sign in ("", "u") for bits in (8, 16, 32, 64)),
        ([-1.5, None, 2], "float16", [-1.5, NAN, 2]),
        ([-1.5, None, NAN, float("-inf"), -0.0], "float32", [-1.5, NAN, NAN, float("-inf"), -0.0]),
        ([0.1, None, 1e39, -1e39, 1e-50], "float64", [0.1, NAN, float("inf"), float("-inf"), 0]),
        ([True, None, False], "bool", [1, NAN, 0]),
        ([None, None], "null", [NAN, NAN]),
        # 2**24 + 1 is the first whole number that is no float32
        ([2**24 + 1, 2**24 + 3, 2**63 - 1], "int64", [2**24, 2**24 + 4, 2**63]),
        # the nearest float32 is above, that of the nearest double is below, as for the same digits in CSV
        ([2**60 + 2**36 + 1], "int64", [2**60]),
    ],
)
def test_every_kind_of_number(values: list[Any], kind: str, wanted: list[float]) -> None:
    column = pyarrow.array(values, kind)
    check(parquet.decode(written({"x": column}), Expected()), [[value] for value in wanted])
    check(parquet.decode(written({"x": column, "label": column}), Expected(1, 1)), [[v] for v in wanted], wanted)


def test_decimals() -> None:
    values = [Decimal("1.10"), None, Decimal("-12345.67")]
    columns = {f"d{bits}": pyarrow.array(values, getattr(pyarrow, f"decimal{bits}")(9, 2)) for bits in (32, 64, 128)}
    wanted = np.array([1.1, NAN, -12345.67], np.float32)
    check(parquet.decode(written(columns), Expected(3)), np.stack([wanted] * 3, axis=1))


@pytest.mark.parametrize(
    "options", [{"compression": kind} for kind in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")]
)
@pytest.mark.parametrize("dictionary", [True, False])
def test_compressed_and_dictionary_encoded(options: dict[str, Any], dictionary: bool) -> None:
    X = np.random.default_rng(3).integers(0, 5, (500, 3)).astype(np.float64)
    table = {f"f{i}": X[:, i] for i in range(3)}
    body = written(table, use_dictionary=dictionary, write_page_checksum=True, data_page_version="2.0", **options)
    check(parquet.decode(body, Expected(3)), X)


def test_categories_that_are_numbers() -> None:
    column = pyarrow.array([7, 8, None, 7]).dictionary_encode()
    check(parquet.decode(written({"x": column}), Expected(1)), [[7], [8], [NAN], [7]])


@pytest.mark.parametrize("make", STREAMS)
@pytest.mark.parametrize("rows", [1, 7, 10, 64, 100, 101, 1000])
@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_batches_are_exact_whatever_the_row_groups(
    make: Callable[[bytes], Any], rows: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_LEAST_ROWS", piece)
    monkeypatch.setattr(parquet, "_PIECE", piece)
    X = np.random.default_rng(4).random((101, 4))
    body = written({f"f{i}": X[:, i] for i in range(4)}, row_group_size=13)
    found = list(parquet.read(make(body), rows, Expected(2, 1, 1)))
    assert [len(batch) for batch in found[:-1]] == [rows] * (len(found) - 1)
    assert len(found) == -(-101 // rows)
    for i, batch in enumerate(found):
        part = X[i * rows : (i + 1) * rows]
        check(batch, part[:, 2:], part[:, 0], part[:, 1])


def test_fifo(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    X = np.random.default_rng(5).random((3000, 5))
    body = written({f"f{i}": X[:, i] for i in range(5)})
    writer = threading.Thread(target=lambda: path.write_bytes(body))
    writer.start()
    with open(path, "rb", buffering=0) as stream:
        found = list(parquet.read(stream, 1000, Expected(4, 1)))
    writer.join()
    assert [len(batch) for batch in found] == [1000] * 3
    np.testing.assert_array_equal(np.concatenate([batch.features for batch in found]), X[:, 1:].astype(np.float32))


def test_a_file_is_read_as_it_is_needed_and_left_open() -> None:
    X = np.random.default_rng(6).random((50_000, 4))
    stream = Counted(written({f"f{i}": X[:, i] for i in range(4)}, row_group_size=1000))
    found = parquet.read(stream, 500, Expected(4))
    check(next(found), X[:500])
    size = len(stream.getvalue())
    assert stream.count < size / 5  # a row group of fifty, and the table of contents
    assert sum(map(len, found)) == 49_500
    assert stream.count < 1.5 * size
    del found
    assert not stream.closed


@pytest.mark.parametrize("name", ["__index_level_0__", "customer"])
def test_the_index_of_pandas_is_no_data(name: str) -> None:
    """pandas stores an index as a column that the schema's metadata names; a range it only describes there."""
    table = pyarrow.table({"y": [1, 0], "x": [0.5, None]})
    described = [{"kind": "range", "name": None, "start": 0, "stop": 2, "step": 1}]
    body = written(table.replace_schema_metadata({"pandas": json.dumps({"index_columns": described})}))
    check(parquet.decode(body, Expected(1, 1)), [[0.5], [NAN]], [1, 0])
    table = table.append_column(name, pyarrow.array(["first", "second"]))
    body = written(table.replace_schema_metadata({"pandas": json.dumps({"index_columns": [name]})}))
    check(parquet.decode(body, Expected(1, 1)), [[0.5], [NAN]], [1, 0])


@pytest.mark.parametrize("metadata", [b"{", b"\xff", b"{}", b"[]", b"null", b'{"index_columns": 1}'])
def test_an_index_is_known_by_its_name_where_pandas_says_nothing(metadata: bytes) -> None:
    table = pyarrow.table({"__index_level_0__": ["a"], "y": [1], "x": [2]}).replace_schema_metadata(
        {"pandas": metadata}
    )
    check(parquet.decode(written(table), Expected(1, 1)), [[2]], [1])


def test_columns_of_one_name_are_two_columns() -> None:
    table = pyarrow.table([[1], [2], [3]], names=["x", "x", "y"])
    check(parquet.decode(written(table), Expected(3)), [[1, 2, 3]])


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (["Paris"], "string"),
        (pyarrow.array(["Paris"]).dictionary_encode(), "string"),
        (pyarrow.array(["1"], "large_string"), "large_string"),
        ([b"1"], "binary"),
        ([date(2018, 6, 5)], "date32[day]"),
        (pyarrow.array([1], pyarrow.timestamp("us")), "timestamp[us]"),
        (pyarrow.array([1], pyarrow.duration("s")), "duration[s]"),
        ([[1.0, 2.0]], "list"),
        ([{"lat": 1.0, "long": 2.0}], "struct"),
    ],
)
def test_columns_must_hold_numbers(column: Any, found: str) -> None:
    body = written({"y": [1], "a": [2], "city": column})
    sentence = f"column 3: 'city' must hold numbers, got {found}; encode it as numbers or leave it out"
    assert refusal(body, Expected(2, 1)) == sentence
    assert refusal(body, Expected()) == sentence
    body = written({"city": column, "y": [1]})
    assert refusal(body, Expected(1, 1)).startswith("column 1: 'city' must hold numbers, got ")


def test_a_long_or_odd_name_is_shortened() -> None:
    body = written({"a\n" * 50: ["x"]})
    assert refusal(body, Expected()).startswith("column 1: '" + r"a\n" * 20 + "' must hold numbers, got string;")


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (Expected(4), "expected 4 columns, found 3"),
        (Expected(9, 1, 1), "expected 11 columns (1 label, 1 weight and 9 features), found 3"),
        (Expected(1, 1), "expected 2 columns (1 label and 1 feature), found 3"),
        (Expected(1, None), "expected 1 column, or 2 with a label, found 3"),
    ],
)
def test_the_number_of_columns_must_be_right(expected: Expected, sentence: str) -> None:
    assert refusal(written({"a": [1], "b": [2], "c": [3]}), expected) == sentence


def test_there_must_be_features() -> None:
    assert refusal(written({"y": [1]}), Expected(None, 1)) == "expected 2 columns (1 label and 1 feature), found 1"
    assert refusal(written({}), Expected()) == "expected 1 column, found 0"


@pytest.mark.parametrize("body", [b"", written({"y": pyarrow.array([], "int64"), "x": pyarrow.array([], "double")})])
@pytest.mark.parametrize("make", STREAMS)
def test_no_rows(body: bytes, make: Callable[[bytes], Any]) -> None:
    assert list(parquet.read(make(body), 10, Expected(1, 1))) == []
    with pytest.raises(FormatError) as refused:
        parquet.decode(body, Expected(1, 1))
    assert str(refused.value) == "the body holds no rows; send a Parquet file with at least one row"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"1,2,3\n4,5,6\n", "'1,2,'"),
        (b"1", "'1'"),
        (gzip.compress(b"1"), r"'\x1f\x8b\x08\x00'"),
        (b"PARE0000PARE", "'PARE'"),
    ],
)
def test_other_files(body: bytes, found: str) -> None:
    assert refusal(body, Expected()) == (
        f"expected a Parquet file, which begins with the bytes 'PAR1', found {found}. "
        "Please verify that the data is Parquet"
    )


def test_cut_short() -> None:
    body = written(COLUMNS)
    for size in (4, 5, len(body) // 2, len(body) - 1):
        assert refusal(body[:size], Expected()) == (
            "the Parquet file is cut short: it must end in the bytes 'PAR1', too; write or send it again, whole"
        )
    assert refusal(b"PAR1PAR1", Expected()) == DAMAGED
    assert refusal(body[:50] + body[-4:], Expected()) == DAMAGED


def test_bytes_that_changed_are_an_error_or_do_not_matter() -> None:
    """Whatever was done to them: a FormatError in our words, or as many rows as before."""
    random = np.random.default_rng(7)
    bodies = [
        written({**COLUMNS, "n": [1, 2, None]}, write_page_checksum=checksum, compression=compression)
        for checksum, compression in ((True, "snappy"), (False, "none"))
    ]
    readers: list[Callable[[bytes], Batch]] = [
        lambda body: parquet.decode(body, Expected(5)),
        lambda body: next(parquet.read(io.BytesIO(body), 9, Expected(5))),
    ]
    refused = []
    for i in range(400):
        body = bytearray(bodies[i % 2])
        for _ in range(random.integers(1, 4)):
            body[random.integers(4, len(body) - 4)] = random.integers(256)
        for reader in readers:
            try:
                assert len(reader(bytes(body))) == 3
            except FormatError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert not any("Arrow" in sentence for sentence in refused)


def test_page_checksums_are_verified() -> None:
    values = np.arange(1000, dtype=np.float32)
    body = written({"x": values}, write_page_checksum=True, compression="none", use_dictionary=False)
    at = body.index(values[500:510].tobytes())
    assert refusal(body[:at] + b"\x01" + body[at + 1 :], Expected()) == DAMAGED


def test_a_request_is_no_larger_than_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of one value takes the same few bytes for any number of rows."""
    body = written({"a": np.zeros(1000), "b": np.zeros(1000)})
    monkeypatch.setattr(parquet, "_MOST_VALUES", 2000)
    assert len(parquet.decode(body, Expected(2))) == 1000
    monkeypatch.setattr(parquet, "_MOST_VALUES", 1999)
    with pytest.raises(FormatError) as refused:
        parquet.decode(body, Expected(2))
    limit = "expected at most 1999 values in a request, found 1000 rows of 2 columns; send fewer rows at once"
    assert str(refused.value) == limit


def test_a_failing_disk_is_not_the_fault_of_the_data() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() < 1000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output error"):
        next(parquet.read(Failing(written({"x": np.arange(5000)})), 10, Expected()))


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images come without it, for its size; None in `sys.modules` is how Python marks a module as not there."""
    body = written({"x": [1]})
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert refusal(body, Expected()) == (
        "Parquet needs pyarrow, which is not installed here: install inbuilt[parquet], build the image with "
        "EXTRAS=parquet, or convert the data to CSV"
    )


def test_formats_are_imported_without_pyarrow() -> None:
    program = "import formats, sys; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(formats.__file__).parents[1])


def test_found_by_its_media_types() -> None:
    body = written({"y": [1], "x": [2]})
    for content_type in ("application/x-parquet", "parquet"):
        check(formats.decode(body, content_type, Expected(1, 1)), [[2]], [1])
    check(formats.decode(body, "application/x-parquet; label_size=0", Expected(2, 1)), [[1, 2]])


def test_no_answer_is_parquet() -> None:
    with pytest.raises(NotAcceptableError, match=r"^cannot answer in 'application/x-parquet', which is"):
        parquet.encode({"score": np.zeros(1, np.float32)}, "predictions", None)
