"""JSON and JSON Lines against the golden bodies in `valid/` and `invalid/`, and the answers they write."""

import io
import json as oracle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats import json, jsonlines
from formats.batch import Expected
from formats.errors import FormatError

HERE = Path(__file__).parent
FORMATS = {"json": (json, "json"), "jsonlines": (jsonlines, "jsonl")}


def golden(kind, suffix):
    """Each case as (format, body, what the file beside it says)."""
    for name, (a_format, extension) in FORMATS.items():
        sides = sorted((HERE / kind / name).glob(f"*.{suffix}.json"))
        assert sides, f"no {kind} {name} cases"
        for side in sides:
            stem = side.name.removesuffix(f".{suffix}.json")
            body = side.with_name(f"{stem}.{extension}").read_bytes()
            yield pytest.param(a_format, body, oracle.loads(side.read_text()), id=f"{name}-{stem}")


def check(batch, expected):
    assert batch.is_sparse is expected["sparse"]
    assert batch.features.dtype == np.float32
    dense = batch.features
    if batch.is_sparse:
        fresh = type(dense)((dense.data, dense.indices, dense.indptr), dense.shape)  # looks for itself
        assert fresh.has_canonical_format
        dense = dense.toarray()
    assert dense.flags.c_contiguous
    wanted = np.array(expected["features"], np.float64).astype(np.float32)
    np.testing.assert_array_equal(dense, wanted)
    np.testing.assert_array_equal(np.signbit(dense), np.signbit(wanted))
    assert (batch.labels, batch.weights, batch.ids) == (expected["labels"], None, None)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # the oracle's: 1e39 as float32 is infinity
@pytest.mark.parametrize(("a_format", "body", "expected"), [*golden("valid", "expected")])
def test_valid(a_format, body, expected):
    options = Expected(**expected["options"])
    check(a_format.decode(body, options), expected)
    (read,) = a_format.read(io.BytesIO(body), 1000, options)
    check(read, expected)


@pytest.mark.parametrize(("a_format", "body", "expected"), [*golden("invalid", "error")])
def test_invalid(a_format, body, expected):
    with pytest.raises(FormatError) as error:
        a_format.decode(body, Expected(**expected["options"]))
    assert str(error.value) == expected["error"]


def test_overflow_warns_nobody():
    assert json.decode(b'{"instances": [[1e39]]}', Expected()).features[0, 0] == np.inf


BODY = {"json": b'{"instances": [[1], [2], [3], [4], [5]]}', "jsonlines": b"[1]\n[2]\n[3]\n[4]\n[5]\n"}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("rows", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_read_in_batches(name, rows, sizes):
    batches = list(FORMATS[name][0].read(io.BytesIO(BODY[name]), rows, Expected()))
    assert [len(batch) for batch in batches] == sizes
    assert np.concatenate([batch.features for batch in batches]).ravel().tolist() == [1, 2, 3, 4, 5]


def test_lines_are_read_one_batch_at_a_time():
    """Of a slow FIFO what has come is used, and nothing is asked for before it is needed."""

    coming = [b"[1, 2]\n[3,", b" 4]\n", b"[5]\n"]

    class Slow(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return coming.pop(0) if coming else b""

    stream = Slow()
    batches = jsonlines.read(stream, 1, Expected())
    assert next(batches).features.tolist() == [[1, 2]]
    assert len(coming) == 2
    assert next(batches).features.tolist() == [[3, 4]]
    with pytest.raises(FormatError, match=r"^row 3: expected 2 features, found 1$"):
        next(batches)


def test_a_file_without_lines_has_no_batches():
    assert list(jsonlines.read(io.BytesIO(b""), 10, Expected(3))) == []


numbers = st.one_of(st.floats(width=32, allow_nan=False), st.integers(-(2**70), 2**70), st.booleans(), st.none())


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 5).flatmap(lambda d: st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=1)))
def test_any_numbers_as_python_reads_them(rows):
    rows = [[1e38 if value in (np.inf, -np.inf) else value for value in row] for row in rows]
    wanted = np.array([[np.nan if value is None else float(value) for value in row] for row in rows]).astype(np.float32)
    lines = "\n".join(oracle.dumps({"features": row}) for row in rows).encode()
    document = oracle.dumps({"instances": rows}).encode()
    np.testing.assert_array_equal(json.decode(document, Expected()).features, wanted)
    np.testing.assert_array_equal(jsonlines.decode(lines, Expected()).features, wanted)


COLUMNS = {
    "distance_to_cluster": np.array([0.1, 7.2033820152282715], np.float32),
    "closest_cluster": np.array([7.0, 16777216.0], np.float32),
    "count": np.array([3, -4], np.int64),
    "projection": np.array([[0.5, 1e-7], [0, 3e38]], np.float32, order="F"),
}
ROWS = (
    b'{"distance_to_cluster":0.1,"closest_cluster":7.0,"count":3,"projection":[0.5,1e-7]}',
    b'{"distance_to_cluster":7.203382,"closest_cluster":16777216.0,"count":-4,"projection":[0.0,3e+38]}',
)


def test_answers():
    assert json.encode(COLUMNS, "predictions", ["a", "b"]) == b'{"predictions":[' + b",".join(ROWS) + b"]}"
    assert jsonlines.encode(COLUMNS, "predictions", ["a", "b"]) == b"\n".join(ROWS)


def test_answer_without_rows():
    columns = {"score": np.empty(0, np.float32)}
    assert json.encode(columns, "scores", None) == b'{"scores":[]}'
    assert jsonlines.encode(columns, "scores", None) == b""


@pytest.mark.parametrize("a_format", [json, jsonlines])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_json_cannot_say_is_not_said(a_format, value):
    with pytest.raises(ValueError, match=r"^column 'score' must be finite to be written as JSON$"):
        a_format.encode({"score": np.array([1, value], np.float32)}, "scores", None)


def test_columns_must_have_the_same_rows():
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        json.encode({"a": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)}, "scores", None)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_float32_reads_back_to_the_same_float32(values):
    column = np.array(values, np.float32)
    rows = oracle.loads(json.encode({"score": column}, "scores", None))["scores"]
    assert np.array([row["score"] for row in rows], np.float32).tobytes() == column.tobytes()
