"""CSV, byte for byte: golden files, a slow reader of the same rules as oracle, and the answers we write."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from formats import csv, lines
from formats.batch import Batch, Expected
from formats.errors import FormatError
from tests.wire.slow_text import NUMBER, TRUTH, Trickle

HERE = Path(__file__).parent
BLANKS = b" \t\r"


class OnlyRead:
    """A stream without `readinto`."""

    def __init__(self, body: bytes) -> None:
        self.read = io.BytesIO(body).read


STREAMS: list[Callable[[bytes], Any]] = [
    io.BytesIO,
    Trickle,
    OnlyRead,
    lambda body: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(body))),
]


def cases(folder: str) -> list[Any]:
    files = sorted((HERE / folder / "csv").glob("*.csv"))
    assert files
    return [
        pytest.param(file.read_bytes(), json.loads(file.with_suffix(".json").read_text("utf-8")), id=file.stem)
        for file in files
    ]


def expected_of(case: dict[str, Any]) -> Expected:
    return Expected(case.get("width"), case.get("label_columns", 0))


def batches(stream: Any, rows: int, expected: Expected) -> list[Batch]:
    """All batches; the first rows are kept as they are yielded, so that a reused buffer would show."""
    return list(csv.read(stream, rows, expected))


def check(batch: Batch, features: list[list[float]], labels: list[float] | None) -> None:
    assert batch.features.dtype == np.float32
    assert batch.features.flags.c_contiguous
    np.testing.assert_array_equal(batch.features, np.array(features, np.float32))
    np.testing.assert_array_equal(np.signbit(batch.features) & ~np.isnan(batch.features), signs(features))
    assert (batch.labels is None) == (labels is None)
    if labels is not None:
        assert batch.labels is not None
        assert batch.labels.dtype == np.float32
        np.testing.assert_array_equal(batch.labels, np.array(labels, np.float32))


def signs(rows: list[list[float]]) -> Any:
    array = np.array(rows)
    return np.signbit(array) & ~np.isnan(array)


@pytest.mark.parametrize(("body", "case"), cases("valid"))
def test_valid(body: bytes, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected, features, labels = expected_of(case), case["features"], case.get("labels")
    check(csv.decode(body, expected), features, labels)
    for buffer in (16, lines._BUFFER_BYTES):
        monkeypatch.setattr(lines, "_BUFFER_BYTES", buffer)
        for stream in STREAMS:
            for rows in (1, 2, 1000):
                found = batches(stream(body), rows, expected)
                assert [len(batch) for batch in found[:-1]] == [rows] * (len(found) - 1)
                assert 1 <= len(found[-1]) <= rows
                for i, batch in enumerate(found):
                    part = slice(i * rows, (i + 1) * rows)
                    check(batch, features[part], None if labels is None else labels[part])
                assert sum(map(len, found)) == len(features)


@pytest.mark.parametrize(("body", "case"), cases("invalid"))
def test_invalid(body: bytes, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError) as refused:
        csv.decode(body, expected_of(case))
    assert str(refused.value) == case["error"]
    for buffer in (16, lines._BUFFER_BYTES):
        monkeypatch.setattr(lines, "_BUFFER_BYTES", buffer)
        for stream in (io.BytesIO, Trickle):
            for rows in (1, 1000):
                with pytest.raises(FormatError) as refused:
                    batches(stream(body), rows, expected_of(case))
                assert str(refused.value) == case["error"]


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n", b" ", b"\n\n \t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_no_rows(body: bytes) -> None:
    for expected in (Expected(), Expected(3, 1)):
        with pytest.raises(FormatError) as refused:
            csv.decode(body, expected)
        assert str(refused.value) == "the body holds no rows; send one line of comma separated numbers for each row"
        assert batches(io.BytesIO(body), 5, expected) == []
        assert batches(Trickle(body), 5, expected) == []


def test_line_longer_than_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BUFFER_BYTES", 16)
    X = np.arange(6000, dtype=np.float32).reshape(3, 2000)
    found = batches(Trickle(csv.encode({"x": X}, "", None)), 2, Expected(2000))
    np.testing.assert_array_equal(np.concatenate([batch.features for batch in found]), X)


def test_line_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BUFFER_BYTES", 1 << 19)
    monkeypatch.setattr(lines, "_LONGEST_LINE", 1 << 20)
    assert len(batches(io.BytesIO(b"1,2\n" + b" " * 1_000_000 + b"3,4"), 9, Expected())[0]) == 2
    with pytest.raises(FormatError) as refused:
        batches(io.BytesIO(b"1,2\n" + b" " * 2_100_000 + b"3,4"), 9, Expected())
    text = "row 2: expected lines of less than 1 MiB, found a longer one; write one row a line"
    assert str(refused.value) == text


def test_memory_is_bounded_by_the_size_of_a_request() -> None:
    with pytest.raises(FormatError, match="row 2: expected numbers, found a blank line"):
        csv.decode(b"," * 1_000_000 + b"\n" * 1_000_000 + b"1", Expected())  # 4 TB if each newline made a row


def test_fifo(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    X = np.random.default_rng(0).standard_normal((20_000, 10)).astype(np.float32)
    writer = threading.Thread(target=lambda: path.write_bytes(csv.encode({"x": X}, "", None)))
    writer.start()
    with open(path, "rb", buffering=0) as stream:
        found = batches(stream, 3000, Expected(9, None))
    writer.join()
    assert [len(batch) for batch in found] == [3000] * 6 + [2000]
    np.testing.assert_array_equal(np.concatenate([batch.features for batch in found]), X[:, 1:])
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in found]), X[:, 0])


@pytest.mark.parametrize("form", ["%g", "%.6f", "%.17g", "%.3e", "%d"])
def test_against_numpy(form: str) -> None:
    text = io.StringIO()
    np.savetxt(text, np.random.default_rng(1).standard_normal((300, 7)) * 1000, fmt=form, delimiter=",")
    with np.errstate(over="ignore"):
        oracle = np.loadtxt(io.StringIO(text.getvalue()), delimiter=",").astype(np.float32)
    np.testing.assert_array_equal(csv.decode(text.getvalue().encode(), Expected()).features, oracle)


def oracle_value(text: str) -> np.float32:
    """The rule of this format: the nearest double, and its nearest float32."""
    with np.errstate(over="ignore"):
        return np.float32(float(text))


def check_numbers(texts: list[str]) -> None:
    found = csv.decode(",".join(texts).encode(), Expected(len(texts))).features[0]
    wanted = np.array([oracle_value(text) for text in texts])
    assert (found.view(np.uint32) == wanted.view(np.uint32)).all(), texts


doubles = st.floats(allow_nan=False, allow_infinity=False)
singles = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(doubles, singles, st.floats(-1e6, 1e6)), min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
def test_values_of_every_length(numbers: list[tuple[float, float, float]]) -> None:
    for double, single, plain in numbers:
        value = np.float32(single)
        with np.errstate(over="ignore"):
            middle = (float(value) + float(np.nextafter(value, np.float32(np.inf)))) / 2
        around = [middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf)]
        texts = [
            repr(double),
            f"{double:.17g}",
            f"{double:.25e}",
            str(value),
            f"{value:g}",
            f"{plain:.6f}",
            repr(plain),
        ]
        texts += [form % x for x in around if np.isfinite(x) for form in ("%r", "%.17g", "%.18g", "%.19g", "%.30f")]
        check_numbers([text.replace("np.float64(", "").replace(")", "") for text in texts])


@given(st.lists(st.from_regex(r"\A[+-]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?\Z"), min_size=1))
@settings(max_examples=300, deadline=None)
@example(["9007199254740993", "9007199254740992", "9007199254740993.0", "18446744073709551616", "9999999999999999999"])
@example(["1e22", "1e23", "1e-22", "1e-23", "123456789e22", "3.4028235e38", "3.4028235677973366e38", "3.40282357e38"])
def test_values_of_every_form(texts: list[str]) -> None:
    check_numbers(texts)


def test_values_around_the_middle_of_two_float32() -> None:
    """19 digits cannot be told from the middle in double arithmetic, where the scan has to fall back."""
    rng = np.random.default_rng(2)
    low = np.exp(rng.uniform(-60, 60, 4000)).astype(np.float32)
    middles = (low.astype(np.float64) + np.nextafter(low, np.float32(np.inf)).astype(np.float64)) / 2
    for step in range(-3, 4):
        shifted = (middles.view(np.int64) + step).view(np.float64)
        for form in ("%.17g", "%.18g", "%.19g", "%.20g"):
            check_numbers([form % value for value in shifted])


class RefusedError(Exception):
    """What the slow reader throws: the line and, for a cell, its column."""


def slow_cell(cell: bytes) -> float:
    text = cell.strip(b" \t")
    if text[:1] == b'"':
        if len(text) < 2 or text[-1:] != b'"':
            raise ValueError
        text = text[1:-1].strip(b" \t")
    if not text:
        return float("nan")
    if text in TRUTH:
        return TRUTH[text]
    if not NUMBER.fullmatch(text):
        raise ValueError
    return float(oracle_value(text.decode("ascii")))


def slow_read(body: bytes, width: int | None) -> list[list[float]]:
    """The rules of `formats/csv.py` without a label, in plain Python."""
    lines = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    while lines and not lines[-1].strip(BLANKS):
        lines.pop()
    rows: list[list[float]] = []
    for i, line in enumerate(lines, 1):
        if not line.strip(BLANKS):
            raise RefusedError(i, None)
        cells = re.findall(rb'((?:[^,"]|"[^"]*(?:"|\Z))*)(?:,|\Z)', line.removesuffix(b"\r"))
        cells = cells if line.removesuffix(b"\r")[-1:] == b"," else cells[:-1]
        width = width or len(cells)
        row = []
        for j, cell in enumerate(cells[:width], 1):
            try:
                row.append(slow_cell(cell))
            except ValueError:
                raise RefusedError(i, j) from None
        if len(cells) != width:
            raise RefusedError(i, None)
        rows.append(row)
    return rows


PIECES = [
    *(
        b"1",
        b"0",
        b"9.5",
        b"-2",
        b".5e3",
        b"1e",
        b"12345678.9",
        b"99999999999999999999",
        b"e",
        b".",
        b"+",
        b"-",
        b"inf",
    ),
    *(
        b"nan",
        b"True",
        b"FALSE",
        b"tru",
        b",",
        b",",
        b",",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b'"',
        b'"',
        b" ",
        b"\t",
        b"\0",
    ),
    *(b"\xff", b"\xef\xbb\xbf", b"{", b"_", b";", b"infinity", b"0x1", b'"7"', b",1", b",2\n"),
]


@given(
    st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)),
    st.sampled_from([None, 1, 2, 3]),
    st.integers(1, 4),
)
@settings(max_examples=1500, deadline=None)
def test_any_bytes_against_the_slow_reader(body: bytes, width: int | None, rows: int) -> None:
    readers: list[Callable[[], list[Batch]]] = [
        lambda: [csv.decode(body, Expected(width))],
        lambda: batches(io.BytesIO(body), rows, Expected(width)),
        lambda: batches(Trickle(body), rows, Expected(width)),
    ]
    try:
        wanted, fault = slow_read(body, width), None
    except RefusedError as refused:
        wanted, fault = [], refused.args
    for reader in readers:
        found = outcome(reader)
        if isinstance(found, list):
            assert fault is None
            np.testing.assert_array_equal(found, wanted)
        elif fault is not None:
            foreign = "does not look like CSV" in found.problem and found.column is None
            assert foreign or (found.row, found.column) == fault
        else:
            assert found.problem.startswith("the body holds no rows")
            assert wanted == []


def outcome(reader: Callable[[], list[Batch]]) -> list[list[float]] | FormatError:
    try:
        return [row for batch in reader() for row in batch.features.tolist()]
    except FormatError as refused:
        return refused


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"closest_cluster": [1.0, 2.0], "distance_to_cluster": [3.0, 0.27046]}, b"1.0,3.0\n2.0,0.27046"),
        ({"projections": [[1.0, -2.5], [0.0, 1e-10]]}, b"1.0,-2.5\n0.0,1e-10"),
        ({"score": [0.1], "all": [[1e20, 16777216.0, -0.0]]}, b'0.1,"[1e+20, 16777216.0, -0.0]"'),
        ({"label": np.array([1, 0]), "of": np.array([[0, 1], [0, 1]])}, b'1,"[0, 1]"\n0,"[0, 1]"'),
        ({"label": np.array([3, -4]), "hit": np.array([True, False])}, b"3,True\n-4,False"),
        ({"score": np.array([0.1, 1.0])[::-1]}, b"1.0\n0.1"),
        ({"score": np.array([0.1], ">f8"), "half": np.array([0.5], np.float16)}, b"0.1,0.5"),
        ({"score": np.empty(0, np.float32)}, b""),
    ],
)
def test_encode(columns: dict[str, Any], text: bytes) -> None:
    arrays = {name: x if isinstance(x, np.ndarray) else np.array(x, np.float32) for name, x in columns.items()}
    assert csv.encode(arrays, "predictions", ["a", "b"]) == text


@given(st.lists(singles, min_size=1, max_size=50))
@settings(max_examples=200, deadline=None)
def test_encoded_floats_are_shortest_and_come_back(values: list[float]) -> None:
    column = np.array(values, np.float32)
    lines = csv.encode({"x": column}, "", None).split(b"\n")
    np.testing.assert_array_equal(csv.decode(b"\n".join(lines), Expected(1)).features[:, 0], column)
    for line, value in zip(lines, column, strict=True):
        assert {b".", b"e"} & {line[i : i + 1] for i in range(len(line))}
        digits = re.sub(r"e.*|[-.]", "", line.decode()).strip("0")
        assert len(digits) == len(
            np.format_float_scientific(value, trim="-").split("e")[0].strip("-").replace(".", "").strip("0")
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_encode_refuses_what_no_reader_wants(value: float) -> None:
    with pytest.raises(ValueError, match=r"^score must be finite to be written as CSV, got NaN or infinity$"):
        csv.encode({"score": np.array([1.0, value])}, "", None)
    with pytest.raises(ValueError, match=r"^name must hold numbers to be written as CSV, got <U1$"):
        csv.encode({"name": np.array(["a"])}, "", None)


@pytest.mark.parametrize(
    ("body", "expected", "features", "labels", "weights"),
    [
        (b"1,0.5,7,8\n0,2,9,10", Expected(2, 1, 1), [[7, 8], [9, 10]], [1, 0], [0.5, 2]),
        (b"1,0.5,7,8\n0,2,9,10", Expected(None, 1, 1), [[7, 8], [9, 10]], [1, 0], [0.5, 2]),
        (b"1,0.5,7", Expected(1, 1, 1), [[7]], [1], [0.5]),
        (b'\xef\xbb\xbf 1 ,"0.5",True\r\n0, 1e0 ,\r\n', Expected(1, 1, 1), [[1], [float("nan")]], [1, 0], [0.5, 1]),
        # what may not be is for `require_finite` to say
        (b"1,,7\n,-2,8", Expected(1, 1, 1), [[7], [8]], [1, float("nan")], [float("nan"), -2]),
        # without a label the weight comes first; a label that is optional tells itself by the width
        (b"0.5,7,8", Expected(2, 0, 1), [[7, 8]], None, [0.5]),
        (b"0.5,7,8", Expected(2, None, 1), [[7, 8]], None, [0.5]),
        (b"1,0.5,7,8", Expected(2, None, 1), [[7, 8]], [1], [0.5]),
        (b"0.5,7,8", Expected(None, None, 1), [[7, 8]], None, [0.5]),
    ],
)
def test_weights(
    body: bytes,
    expected: Expected,
    features: list[list[float]],
    labels: list[float] | None,
    weights: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check_weighted(batch: Batch, part: slice) -> None:
        check(batch, features[part], None if labels is None else labels[part])
        assert batch.weights is not None
        assert batch.weights.dtype == np.float32
        assert batch.weights.flags.c_contiguous
        np.testing.assert_array_equal(batch.weights, np.array(weights[part], np.float32))

    check_weighted(csv.decode(body, expected), slice(None))
    monkeypatch.setattr(lines, "_BUFFER_BYTES", 16)
    for stream in STREAMS:
        for rows in (1, 2, 1000):
            found = batches(stream(body), rows, expected)
            assert sum(map(len, found)) == len(features)
            for i, batch in enumerate(found):
                check_weighted(batch, slice(i * rows, (i + 1) * rows))


def test_no_weights_but_where_they_are_asked_for() -> None:
    assert csv.decode(b"1,2,3", Expected(2, 1)).weights is None


@pytest.mark.parametrize(
    ("body", "expected", "error"),
    [
        (
            b"1,1,1,2,3,4,5,6,7,8",
            Expected(9, 1, 1),
            "row 1: expected 11 columns (1 label, 1 weight and 9 features), found 10",
        ),
        (b"1,1,5\n1,5", Expected(1, 1, 1), "row 2: expected 3 columns (1 label, 1 weight and 1 feature), found 2"),
        (
            b"1,1,5\n1,1,5,6",
            Expected(None, 1, 1),
            "row 2: expected 3 columns (1 label, 1 weight and 1 feature), found 4",
        ),
        (b"1,1", Expected(None, 1, 1), "row 1: expected 3 columns (1 label, 1 weight and 1 feature), found 2"),
        (b"1", Expected(None, 0, 1), "row 1: expected 2 columns (1 weight and 1 feature), found 1"),
        (
            b"1,2",
            Expected(2, None, 1),
            "row 1: expected 3 columns (1 weight and 2 features), or 4 with a label, found 2",
        ),
        (b"1,1,5\n0,heavy,5", Expected(1, 1, 1), "row 2, column 2: expected a number, found 'heavy'"),
        (b"1,1,5\n0,1,five", Expected(1, 1, 1), "row 2, column 3: expected a number, found 'five'"),
    ],
)
def test_weights_that_cannot_be_read(body: bytes, expected: Expected, error: str) -> None:
    for reader in (lambda: csv.decode(body, expected), lambda: batches(Trickle(body), 1, expected)):
        with pytest.raises(FormatError) as refused:
            reader()
        assert str(refused.value) == error


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"3:0.5\n", "3:0.5"),
        (b"1 qid:3 1:0.5 2:1\n", "1 qid:3 1:0.5 2:1"),
        (b"1:0.25 2:-1\r\n", "1:0.25 2:-1"),
        (b"-1:2 1:.5 2:1\n", "-1:2 1:.5 2:1"),
        (b"1\t3:1\n", "1\\t3:1"),
    ],
)
def test_libsvm_sent_as_csv(body: bytes, found: str) -> None:
    with pytest.raises(FormatError) as refused:
        csv.decode(body, Expected(8))
    hint = f"expected a number, found '{found}': this looks like LibSVM; set the content type to text/libsvm"
    assert str(refused.value) == f"row 1, column 1: {hint}"


@pytest.mark.parametrize("cell", [b"12:30:00", b"2018-01-01 12:30", b"a:1", b"3:x"])
def test_not_all_with_a_colon_is_libsvm(cell: bytes) -> None:
    with pytest.raises(FormatError) as refused:
        csv.decode(b"1," + cell + b",2\n", Expected())
    assert "LibSVM" not in str(refused.value)


@pytest.mark.parametrize(("delimiter", "name"), [(b";", "semicolon"), (b"\t", "tab")])
def test_another_delimiter(delimiter: bytes, name: str) -> None:
    with pytest.raises(FormatError, match=rf"^row 2, column 2: the delimiter must be a comma, found a {name}: "):
        csv.decode(b"1,2\n1,2" + delimiter + b"3\n", Expected())
