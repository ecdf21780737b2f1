"""LibSVM, byte for byte: rows to be read off by hand, then a slow reader of the same rules, and scikit-learn's."""

from __future__ import annotations

import gzip
import io
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

import formats
from formats import libsvm, lines
from formats.batch import Batch, Expected, concatenate
from formats.errors import FormatError, NotAcceptableError
from tests.wire.slow_text import NUMBER, TRUTH, Trickle

NAN = float("nan")
ANYTHING = Expected()
BLANKS = b" \t\r"
Row = tuple[float | None, float | None, int | None, dict[int, float]]  # label, weight, qid, entries


STREAMS: list[Callable[[bytes], Any]] = [
    io.BytesIO,
    Trickle,
    lambda body: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(body))),
]


def rows_of(batches: list[Batch]) -> list[Row]:
    """What the batches hold; each is checked to be what `Batch` promises."""
    rows: list[Row] = []
    for batch in batches:
        matrix = batch.features
        assert not isinstance(matrix, np.ndarray)
        assert (matrix.data.dtype, matrix.indices.dtype, matrix.indptr.dtype) == (np.float32, np.int32, np.int32)
        assert matrix.has_canonical_format
        matrix.check_format()
        for array, kind in ((batch.labels, np.float32), (batch.weights, np.float32), (batch.groups, np.int64)):
            assert array is None or (array.dtype == kind and array.shape == (len(batch),))
        for i in range(len(batch)):
            start, stop = matrix.indptr[i : i + 2]
            assert (np.diff(matrix.indices[start:stop]) > 0).all()
            entries = dict(zip(matrix.indices[start:stop].tolist(), matrix.data[start:stop].tolist(), strict=True))
            rows.append(
                (
                    None if batch.labels is None else float(batch.labels[i]),
                    None if batch.weights is None else float(batch.weights[i]),
                    None if batch.groups is None else int(batch.groups[i]),
                    entries,
                )
            )
    return rows


def read(body: bytes, expected: Expected = ANYTHING, rows: int = 100) -> list[Batch]:
    return list(libsvm.read(io.BytesIO(body), rows, expected))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"1 0:0.5 3:2\n0 1:-1e2\n", [(1, None, None, {0: 0.5, 3: 2}), (0, None, None, {1: -100})]),
        (b"1 0:0.5 3:2\r\n0\t 1:-1e2 \t", [(1, None, None, {0: 0.5, 3: 2}), (0, None, None, {1: -100})]),
        (b"\xef\xbb\xbf 1 2:3\n\n \r\n", [(1, None, None, {2: 3})]),
        (b"-1.5 7:1 2:0 5:nan\n", [(-1.5, None, None, {2: 0, 5: NAN, 7: 1})]),
        (b"1 0:inf 1:-infinity 2:True\n", [(1, None, None, {0: np.inf, 1: -np.inf, 2: 1})]),
        (b"1:2 0:1\n0:0.25 1:1", [(1, 2, None, {0: 1}), (0, 0.25, None, {1: 1})]),
        (b"1 qid:7 0:1\n0 qid:0", [(1, None, 7, {0: 1}), (0, None, 0, {})]),
        (b"1:3 qid:9223372036854775807 0:1", [(1, 3, 2**63 - 1, {0: 1})]),
        (b"# by hand\n1 0:1#x 1:2\n  # more\n0 1:2 # ,\r\n#", [(1, None, None, {0: 1}), (0, None, None, {1: 2})]),
        (b"1\n0", [(1, None, None, {}), (0, None, None, {})]),
        (b"nan 0000000000000000000000012:1", [(NAN, None, None, {12: 1})]),
        (b"1 0:1\n\n# the end\n\n", [(1, None, None, {0: 1})]),
        (b"1 2147483646:1", [(1, None, None, {2**31 - 2: 1})]),
    ],
)
def test_training(body: bytes, wanted: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    for buffer in (16, lines._BUFFER_BYTES):
        monkeypatch.setattr(lines, "_BUFFER_BYTES", buffer)
        for stream in STREAMS:
            for size in (1, 2, 1000):
                found = list(libsvm.read(stream(body), size, Expected()))
                assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
                assert 1 <= len(found[-1]) <= size
                np.testing.assert_equal(rows_of(found), wanted)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"1:0.5 3:2", [(None, None, None, {1: 0.5, 3: 2})]),
        (b"9 1:0.5\n8", [(9, None, None, {1: 0.5}), (8, None, None, {})]),
        (b"9 1:0.5\n1:1", [(None, None, None, {1: 0.5}), (None, None, None, {1: 1})]),
        (b"1:1\n0\n", [(None, None, None, {1: 1}), (None, None, None, {})]),
        (b"qid:3 1:1\nqid:3 2:1", [(None, None, 3, {1: 1}), (None, None, 3, {2: 1})]),
        (b"5 qid:3 1:1\n2:1\n", [(None, None, None, {1: 1}), (None, None, None, {2: 1})]),
        (b"qid:3\n# none\n", [(None, None, 3, {})]),
    ],
)
def test_request(body: bytes, wanted: list[Row]) -> None:
    batch = libsvm.decode(body, Expected(4))
    assert batch.width == 4
    assert rows_of([batch]) == wanted


def test_the_first_index_is_what_the_caller_says() -> None:
    body = b"1 1:5 8:6\n"
    assert rows_of(read(body, Expected(first_index=1))) == [(1, None, None, {0: 5, 7: 6})]
    assert rows_of(read(body, Expected(9))) == [(1, None, None, {1: 5, 8: 6})]
    assert rows_of([libsvm.decode(body, Expected(8, first_index=1))]) == [(1, None, None, {0: 5, 7: 6})]


def test_a_batch_is_as_wide_as_its_greatest_index_says() -> None:
    found = read(b"1\n1 0:1\n1 5:1\n1 2:1 4:1\n", rows=1)
    assert [batch.width for batch in found] == [1, 1, 6, 5]
    assert concatenate(found).width == 6
    assert [batch.width for batch in read(b"1 2:1\n1 1:1", Expected(first_index=1), 1)] == [2, 1]
    assert [batch.width for batch in read(b"1 2:1\n1", Expected(7), 1)] == [7, 7]


TRAINING = [
    (b"a 1:2", "row 1, column 1: expected a number as label, found 'a'; if row 1 is a header, remove it: "
     "LibSVM must have none"),
    (b"1 1:2\na 1:2", "row 2, column 1: expected a number as label, found 'a'"),
    (b"1:2:3 1:2", "row 1, column 1: expected label:weight with a number as weight, found '1:2:3'"),
    (b"1:x 1:2", "row 1, column 1: expected label:weight with a number as weight, found '1:x'"),
    (b"1: 1:2", "row 1, column 1: expected label:weight with a number as weight, found '1:'"),
    (b"qid:1 1:2", "row 1, column 1: expected a number as label, found 'qid:1'"),
    (b"1:2 1:1\n# c\n1 1:1", "row 3, column 1: expected a weight as in the rows before, found none; give all rows a "
     "weight or none"),
    (b"1 1:1\n1:2 1:1", "row 2, column 1: expected no weight as in the rows before, found one; give all rows a weight "
     "or none"),
    (b"1 1:1\n1 qid:3 1:1", "row 2, column 2: expected no qid as in the rows before, found one; give all rows a qid or "
     "none"),
    (b"1 qid:3 1:1\n1 1:1", "row 2, column 1: expected a qid as in the rows before, found none; give all rows a qid or "
     "none"),
    (b"1 1:1\n \n1 1:1", "row 2: expected a row, found a blank line before it; remove the line, or write a row without "
     "features as its label alone (0)"),
    (b"\n1 1:1", "row 1: expected a row, found a blank line before it; remove the line, or write a row without "
     "features as its label alone (0)"),
    (b"1 0:1", "row 1, column 2: expected index 1 or greater, found 0; indices count from 1"),
    (b"5.1,3.5,1.4", "row 1, column 1: expected a number as label, found '5.1,3.5,1.4': this looks like CSV; set the "
     "content type to text/csv"),
    (b"1, 2, 3", "row 1, column 1: expected a number as label, found '1,': this looks like CSV; set the content type "
     "to text/csv"),
]  # fmt: skip
BOTH = [
    (b"0 1:1\n0 2:1\n0 1:1 3:1 12:1", "row 3, column 4: expected indices 1 to 8 (8 features), found 12"),
    (b"0 -1:1", "row 1, column 2: expected index 1 or greater, found -1; indices count from 1"),
    (b"0 5:1 2:1 5:3", "row 1, column 4: index 5 must be given once, found twice"),
    (b"0 05:1 5:3", "row 1, column 3: index 5 must be given once, found twice"),
    (b"0 7", "row 1, column 2: expected index:value, found '7'"),
    (b"0 7:", "row 1, column 2: expected a number right after '7:', found none; write index:value without blanks"),
    (b"0 7: 5", "row 1, column 2: expected a number right after '7:', found none; write index:value without blanks"),
    (b"0 7:x", "row 1, column 2: expected a number as value of index 7, found 'x'"),
    (b"0 7:1e", "row 1, column 2: expected a number as value of index 7, found '1e'"),
    (b"0 7:0,5", "row 1, column 2: expected a number as value of index 7, found '0,5'"),
    (b"0 1:2:3", "row 1, column 2: expected a number as value of index 1, found '2:3'"),
    (b"0 a:1", "row 1, column 2: expected a whole number as index, found 'a:1'"),
    (b"0 +1:1", "row 1, column 2: expected a whole number as index, found '+1:1'"),
    (b"0 1.5:1", "row 1, column 2: expected a whole number as index, found '1.5:1'"),
    (b"0 :1", "row 1, column 2: expected a whole number as index, found ':1'"),
    (b"0 qid:1.5 1:1", "row 1, column 2: expected a qid as qid:7, a whole number from 0 to 2**63 - 1, found 'qid:1.5'"),
    (b"0 qid:-1 1:1", "row 1, column 2: expected a qid as qid:7, a whole number from 0 to 2**63 - 1, found 'qid:-1'"),
    (b"0 qid:9223372036854775808", "row 1, column 2: expected a qid as qid:7, a whole number from 0 to 2**63 - 1, "
     "found 'qid:9223372036854775808'"),
    (b"0 qid:1 qid:1", "row 1, column 3: expected the qid once, right after the label, found 'qid:1'"),
    (b"0 1:1 qid:1", "row 1, column 3: expected the qid once, right after the label, found 'qid:1'"),
    (b"0 1:1\r0 2:1\r", "row 1, column 2: expected lines that end in a newline, found carriage returns: '1:1\\r0'"),
    (b"0 \x01\0", "row 1, column 2: this does not look like LibSVM but like binary data: found '\\x01\\x00'"),
    (b"0 " + 50 * b"x", f"row 1, column 2: expected index:value, found '{40 * 'x'}...'"),
    (b"\n#\xd7\xce....", "row 1: this does not look like LibSVM but like RecordIO, whose content type is "
     "application/x-recordio-protobuf"),
    (b"PAR1....", "row 1: this does not look like LibSVM but like Parquet"),
    (b"\x1f\x8b......", "row 1: this does not look like LibSVM but like gzip; a request says so with Content-Encoding: "
     "gzip"),
    (b'{"instances": []}', "row 1: this does not look like LibSVM but like JSON, whose content type is "
     "application/json or application/jsonlines"),
]  # fmt: skip
REQUESTS = [
    (b"1:2:3", "row 1, column 1: expected a number as value of index 1, found '2:3'"),
    (b"0:2", "row 1, column 1: expected index 1 or greater, found 0; indices count from 1 as in the training data"),
    (b"-1:2", "row 1, column 1: expected index 1 or greater, found -1; indices count from 1 as in the training data"),
    (b"1:1 9:2", "row 1, column 2: expected indices 1 to 8 (8 features), found 9"),
    (b"1:1\n1,2", "row 2, column 1: expected a number as label, found '1,2': this looks like CSV; set the content type "
     "to text/csv"),
    (b"1:1\n\n1:2", "row 2: expected a row, found a blank line before it; remove the line, or write a row without "
     "features as its label alone (0)"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "sentence"), TRAINING + BOTH)
def test_refused_in_training(body: bytes, sentence: str) -> None:
    expected = Expected(8, first_index=1)
    for stream in (io.BytesIO, Trickle):
        for size in (1, 1000):
            with pytest.raises(FormatError) as refused:
                list(libsvm.read(stream(body), size, expected))
            assert str(refused.value) == sentence


@pytest.mark.parametrize(("body", "sentence"), REQUESTS + BOTH)
def test_refused_in_requests(body: bytes, sentence: str) -> None:
    with pytest.raises(FormatError) as refused:
        libsvm.decode(body, Expected(8, first_index=1))
    assert str(refused.value).removesuffix(" as in the training data") == sentence.removesuffix(
        " as in the training data"
    )


@pytest.mark.parametrize("index", [b"2147483647", b"3000000000", b"4294967296", b"18446744073709551616", 5000 * b"9"])
def test_indices_beyond_int32(index: bytes) -> None:
    shown = index.decode() if len(index) < 40 else 40 * "9" + "..."
    with pytest.raises(FormatError) as refused:
        read(b"1 " + index + b":1")
    assert str(refused.value) == f"row 1, column 2: expected indices 0 to 2147483646, found {shown}"


def test_one_based_indices_reach_one_further() -> None:
    assert read(b"1 2147483647:1", Expected(first_index=1))[0].width == 2**31 - 1
    with pytest.raises(FormatError, match="expected indices 1 to 2147483647, found 2147483648"):
        read(b"1 2147483648:1", Expected(first_index=1))


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n", b"# nothing\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n# x"])
def test_no_rows(body: bytes) -> None:
    with pytest.raises(
        FormatError, match=r"^the body holds no rows; send one line of index:value for each row, or its"
    ):
        libsvm.decode(body, Expected(3))
    assert read(body) == []
    assert list(libsvm.read(Trickle(body), 5, Expected())) == []


def test_line_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BUFFER_BYTES", 1 << 16)
    monkeypatch.setattr(lines, "_LONGEST_LINE", 1 << 17)
    with pytest.raises(FormatError, match=r"^row 3: expected lines of less than 0 MiB, found a longer one"):
        read(b"# c\n1 2:1\n" + b" " * 400_000 + b"3 4:1")


def test_rows_of_a_slow_pipe_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libsvm, "_MANY", 3)
    body = b"".join(b"%d %d:%d\n" % (i, i % 7, i) for i in range(50))
    (whole,), (slow,) = read(body), libsvm.read(Trickle(body), 100, Expected())
    assert rows_of([slow]) == rows_of([whole]) == [(i, None, None, {i % 7: i}) for i in range(50)]


def test_fifo(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    body = b"".join(b"%d %d:1 %d:0.5\n" % (i % 2, i % 50, 60 + i % 40) for i in range(30_000))
    writer = threading.Thread(target=lambda: path.write_bytes(body))
    writer.start()
    with open(path, "rb", buffering=0) as stream:
        found = list(libsvm.read(stream, 7000, Expected()))
    writer.join()
    assert [len(batch) for batch in found] == [7000] * 4 + [2000]
    assert rows_of(found) == [(i % 2, None, None, {i % 50: 1, 60 + i % 40: 0.5}) for i in range(30_000)]


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("queries", [True, False])
def test_against_sklearn(zero_based: bool, queries: bool) -> None:
    rng = np.random.default_rng(4)
    X = np.where(rng.random((200, 30)) < 0.2, rng.standard_normal((200, 30)), 0)
    qid = np.sort(rng.integers(0, 20, 200)) if queries else None
    file = io.BytesIO()
    dump_svmlight_file(X, rng.random(200), file, zero_based=zero_based, query_id=qid, comment="written by the peer")
    file.seek(0)
    oracle = load_svmlight_file(file, dtype=np.float64, zero_based=zero_based, query_id=queries, n_features=30)
    batch = concatenate(read(file.getvalue(), Expected(30, first_index=1 - zero_based), 70))
    assert batch.features.shape == (200, 30)
    np.testing.assert_array_equal(batch.features.indptr, oracle[0].indptr)
    np.testing.assert_array_equal(batch.features.indices, oracle[0].indices)
    np.testing.assert_array_equal(batch.features.data, oracle[0].data.astype(np.float32))
    np.testing.assert_array_equal(batch.labels, oracle[1].astype(np.float32))
    np.testing.assert_array_equal(batch.groups, oracle[2] if queries else None)


class RefusedError(Exception):
    """What the slow reader throws: the line and the number of its token."""


def slow_number(text: bytes) -> float:
    if text in TRUTH:
        return TRUTH[text]
    if not NUMBER.fullmatch(text):
        raise ValueError
    with np.errstate(over="ignore"):
        return float(np.float32(float(text)))


def slow_row(tokens: list[bytes], expected: Expected, training: bool, before: list[Row]) -> tuple[int, Row | None]:
    """The row; or None, and the place of the token that is wrong."""
    label = weight = qid = None
    entries: dict[int, float] = {}
    at = 0
    try:
        if training or b":" not in tokens[0]:
            name, *rest = tokens[0].split(b":", 1)
            label = slow_number(name)
            weight = slow_number(rest[0]) if rest else None
            at = 1
        if at < len(tokens) and tokens[at].startswith(b"q"):
            if not re.fullmatch(rb"qid:\d+", tokens[at]) or int(tokens[at][4:]) >= 2**63:
                return at, None
            qid = int(tokens[at][4:])
            at += 1
        if training and before:
            mixed = [
                (mine is None) != (theirs is None) for mine, theirs in zip((weight, qid), before[0][1:3], strict=True)
            ]
            if any(mixed):
                return int(mixed == [False, True] and qid is not None), None
        for token in tokens[at:]:
            index, value = token.split(b":", 1)
            feature = int(index) - expected.first_index if re.fullmatch(rb"\d+", index) else -1
            if not 0 <= feature < (expected.width or 2**31 - 1) or feature in entries:
                return at, None
            entries[feature] = slow_number(value)
            at += 1
    except ValueError:
        return at, None
    return at, (label, weight, qid, dict(sorted(entries.items())))


def slow_read(body: bytes, expected: Expected, training: bool) -> list[Row]:
    """The rules of `formats/libsvm.py` in plain Python."""
    rows: list[Row] = []
    blank = None
    for i, line in enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = line.removesuffix(b"\r").partition(b"#")[0]
        if not line.strip(BLANKS):
            blank = blank or i
        elif text.strip(b" \t") or b"#" not in line:
            if blank:
                raise RefusedError(blank, None)
            at, row = slow_row(re.findall(rb"[^ \t]+", text), expected, training, rows)
            if row is None:
                raise RefusedError(i, at + 1)
            rows.append(row)
    label, weight, qid = (all(row[field] is not None for row in rows) for field in range(3))
    return [(row[0] if label else None, row[1] if weight else None, row[2] if qid else None, row[3]) for row in rows]


PIECES = [
    *(b"1", b"0", b"-1", b"1:", b"2:0.5", b"3:nan", b"0:0", b"12:1e3", b"4:x", b"1:1:1", b"qid:1", b"qid:", b"qid:2"),
    *(b" ", b" ", b" ", b" ", b"\t", b"\n", b"\n", b"\n", b"\r\n", b"\r", b"#", b"# c\n", b",", b":", b"q", b"x"),
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"inf", b"True", b"1 2:3\n", b"0:2 1:1\n", b"1 qid:3 1:1\n", b"1:1 2:2 3:3\n"),
    *(b"1 5:1 2:2 9:3\n", b"99999999999999999999:1", b"9223372036854775808", b"infinity", b"-0:1", b"+", b".", b"e"),
]


@given(
    st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)),
    st.sampled_from([None, 1, 4, 12]),
    st.sampled_from([0, 1]),
    st.integers(1, 4),
    st.booleans(),
)
@settings(max_examples=2000, deadline=None)
@example(b"1:0\n1 qid:3 1:1\n", None, 0, 1, True)
@example(b"1 \r# c\n", None, 0, 1, True)
@example(b"\n#\xd7\xce", None, 0, 1, False)
@example(b"1 2:3 2:nan 2:nan", None, 0, 1, False)
def test_any_bytes_against_the_slow_reader(
    body: bytes, width: int | None, first: int, rows: int, training: bool
) -> None:
    expected = Expected(width, first_index=first)
    readers: list[Callable[[], list[Batch]]] = [
        lambda: list(libsvm.read(io.BytesIO(body), rows, expected)),
        lambda: list(libsvm.read(Trickle(body), rows, expected)),
    ]
    try:
        wanted, fault = slow_read(body, expected, training), None
    except RefusedError as refused:
        wanted, fault = [], refused.args
    for reader in readers if training else [lambda: [libsvm.decode(body, expected)]]:
        found = outcome(reader)
        if isinstance(found, list):
            assert fault is None
            np.testing.assert_equal(found, wanted)
        elif found.problem.startswith("the body holds no rows"):
            assert wanted == []
        else:
            foreign = "does not look like LibSVM" in found.problem and found.column is None
            assert foreign or (found.row, found.column) == fault


def outcome(reader: Callable[[], list[Batch]]) -> list[Row] | FormatError:
    try:
        return rows_of(reader())
    except FormatError as refused:
        return refused


def test_large_bodies_are_scanned_as_small_ones() -> None:
    line = b"1 " + b" ".join(b"%d:%d.5" % (i, i) for i in range(9, -1, -1)) + b"\n"
    batch = libsvm.decode(5000 * line, Expected(10))
    np.testing.assert_array_equal(batch.features.toarray(), np.tile(np.arange(10, dtype=np.float32) + 0.5, (5000, 1)))
    with pytest.raises(FormatError, match=r"^row 5001, column 2: expected index:value"):
        libsvm.decode(5000 * line + b"1 x", Expected(10))


def test_it_is_registered_and_never_an_answer() -> None:
    for name in ("text/libsvm", "Text/X-LibSVM; charset=utf-8", "libsvm"):
        assert formats.decode(b"0:1", name, Expected(2)).features.toarray().tolist() == [[1, 0]]
    with pytest.raises(NotAcceptableError, match=r"^cannot answer in 'text/libsvm', which is for requests only"):
        libsvm.encode({"score": np.zeros(1)}, "predictions", None)


def test_a_long_token_is_refused_as_fast_as_a_short_one() -> None:
    """In time that grows with its length, not with the square of it: a request can hold megabytes."""
    for body in (b"0 1:" + b"1" * 2_000_000 + b"x", b"1" * 2_000_000 + b"x 1:1"):
        started = time.monotonic()
        with pytest.raises(FormatError, match="expected a number"):
            libsvm.decode(body, Expected(3))
        assert time.monotonic() - started < 10
