"""RecordIO-protobuf: golden files of other writers, google.protobuf as a slow oracle, and bytes that lie."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from formats import Batch, Expected, FormatError, record_pb2, recordio

HERE = Path(__file__).parent
MAGIC = b"\x0a\x23\xd7\xce"
BAD_MAGIC = "row 1: expected a RecordIO frame, which begins with the bytes 0a 23 d7 ce, found {}. "
BAD_MAGIC += "Please verify that the data is RecordIO-protobuf"


def cases(folder: str) -> list[Any]:
    files = sorted((HERE / folder / "recordio").glob("*.pbr"))
    return [pytest.param(f.read_bytes(), json.loads(f.with_suffix(".json").read_text()), id=f.stem) for f in files]


def dense(batch: Batch) -> np.ndarray:
    return batch.features.toarray() if batch.is_sparse else batch.features


def check(batch: Batch, facts: dict[str, Any], rows: slice = slice(None)) -> None:
    np.testing.assert_array_equal(dense(batch), np.array(facts["features"], np.float32)[rows])
    assert batch.features.dtype == np.float32
    assert batch.is_sparse == facts["sparse"]
    if not batch.is_sparse:
        assert batch.features.flags.c_contiguous
    assert (batch.labels is None) == (facts["labels"] is None)
    if batch.labels is not None:
        assert batch.labels.dtype == np.float32
        assert batch.labels.tolist() == facts["labels"][rows]
    assert batch.ids == (facts["ids"][rows] if facts["ids"] else None)


@pytest.mark.parametrize(("body", "facts"), cases("valid"))
def test_a_valid_file_gives_its_rows(body: bytes, facts: dict[str, Any]) -> None:
    expected = Expected(facts.get("width"))
    check(recordio.decode(body, expected), facts)
    if facts.get("framed", True):
        (whole,) = recordio.read(io.BytesIO(body), 1000, expected)
        check(whole, facts)


@pytest.mark.parametrize(("body", "facts"), cases("invalid"))
def test_an_invalid_file_is_refused_with_its_sentence(body: bytes, facts: dict[str, Any]) -> None:
    expected = Expected(facts.get("width"))
    with pytest.raises(FormatError) as error:
        recordio.decode(body, expected)
    assert str(error.value) == facts["error"]
    if body:  # an empty file is a file without rows, an empty body is a mistake
        with pytest.raises(FormatError) as error:
            list(recordio.read(io.BytesIO(body), 1000, expected))
        assert str(error.value) == facts["error"]
    else:
        assert list(recordio.read(io.BytesIO(body), 1000, expected)) == []


def test_a_bare_record_is_no_training_file() -> None:
    body = (HERE / "valid" / "recordio" / "unframed_record.pbr").read_bytes()
    with pytest.raises(FormatError) as error:
        list(recordio.read(io.BytesIO(body), 10, Expected()))
    assert str(error.value) == BAD_MAGIC.format("0a 1a 0a 06")


@pytest.mark.parametrize(("body", "facts"), [case for case in cases("valid") if "written_from" in case.values[1]])
def test_the_writer_writes_the_sdks_bytes(body: bytes, facts: dict[str, Any]) -> None:
    types = facts["written_from"]
    features = np.array(facts["features"], types["features"])
    labels = np.array(facts["labels"], types["labels"]) if types["labels"] else None
    assert recordio.encode_features(sparse.csr_array(features) if facts["sparse"] else features, labels) == body


@pytest.mark.parametrize(
    ("features", "labels", "problem"),
    [
        (np.ones((1, 2), np.int32), None, "features must be float32, float64 or int64, got int32; convert with astype"),
        (np.ones((1, 2), np.uint8), None, "features must be float32, float64 or int64, got uint8; convert with astype"),
        (
            np.ones((1, 2), np.float16),
            None,
            "features must be float32, float64 or int64, got float16; convert with astype",
        ),
        (np.ones((1, 2)), np.ones(1, bool), "labels must be float32, float64 or int64, got bool; convert with astype"),
        (np.ones(2), None, "features must have 2 dimensions and a column at least, got shape (2,)"),
        (np.ones((2, 0)), None, "features must have 2 dimensions and a column at least, got shape (2, 0)"),
        (np.ones((2, 1)), np.ones(1), "labels must be as many as the 2 rows of features, got 1"),
        (np.array([[1, 2**31]]), None, "integers must fit in int32, got 2147483648; convert them to float64"),
        (np.array([[1, -(2**31) - 1]]), None, "integers must fit in int32, got -2147483649; convert them to float64"),
    ],
)
def test_the_writer_refuses(features: np.ndarray, labels: np.ndarray | None, problem: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        recordio.encode_features(features, labels)
    assert str(error.value) == problem


def messages(body: bytes) -> list[record_pb2.Record]:
    """The records of whole frames, by google.protobuf. Raises ValueError and DecodeError."""
    found, at = [], 0
    while at < len(body):
        if body[at : at + 4] != MAGIC or at + 8 > len(body):
            raise ValueError("frame")
        (length,) = struct.unpack_from("<I", body, at + 4)
        if length >> 29 or at + 8 + length > len(body):
            raise ValueError("frame")
        found.append(record_pb2.Record.FromString(body[at + 8 : at + 8 + length]))
        at += 8 + (length + 3 & ~3)
    return found


def oracle(body: bytes) -> tuple[int, bool, list[dict[int, float]], list[float] | None, list[str] | None]:
    """Width, sparse or not, the values by key, labels, ids. Raises ValueError and DecodeError."""
    widths, rows, labels, ids, thin = set(), [], [], [], False
    for message in messages(body):
        value = message.features["values"] if "values" in message.features else record_pb2.Value()
        kind = value.WhichOneof("value")
        if kind in (None, "bytes"):
            raise ValueError("features")
        tensor = getattr(value, kind)
        cells = int(np.prod([int(length) for length in tensor.shape], dtype=object)) if tensor.shape else None
        keys = list(tensor.keys) or list(range(len(tensor.values)))
        if len(keys) != len(tensor.values) or len(set(keys)) != len(keys):
            raise ValueError("keys")
        if (tensor.keys and cells is None) or (not tensor.keys and tensor.values and cells not in (None, len(keys))):
            raise ValueError("shape")
        width = len(keys) if cells is None else cells
        if not 0 < width < 2**63 or max(keys, default=0) >= width:
            raise ValueError("width")
        thin |= len(tensor.keys) > 0 or not tensor.values
        widths.add(width)
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.array(tensor.values, np.float64).astype(np.float32).tolist()
        rows.append(dict(sorted(zip(keys, values, strict=True))))
        ids.append(message.uid if message.HasField("uid") else None)
        label = message.label.get("values") if "values" in message.label else None
        if label is not None:
            kind = label.WhichOneof("value")
            if kind in (None, "bytes") or len(getattr(label, kind).values) != 1:
                raise ValueError("label")
            with np.errstate(over="ignore", invalid="ignore"):
                labels.append(float(np.float32(getattr(label, kind).values[0])))
    if len(widths) != 1 or len(labels) not in (0, len(rows)):
        raise ValueError("records differ")
    named = None if ids[0] is None else [uid or "" for uid in ids]
    if any(isinstance(uid, bytes) for uid in named or []):
        raise ValueError("uid")  # protobuf's way to hand out text that is not UTF-8
    return widths.pop(), thin, rows, labels or None, named


def decoded(body: bytes) -> tuple[Any, ...]:
    """Our answer in the oracle's form."""
    batch = recordio.decode(body, Expected())
    if batch.is_sparse:
        matrix = batch.features
        ends, flat = matrix.indptr.tolist(), list(zip(matrix.indices.tolist(), matrix.data.tolist(), strict=True))
        rows = [dict(flat[ends[i] : ends[i + 1]]) for i in range(len(batch))]
    else:
        rows = [dict(enumerate(row)) for row in batch.features.tolist()]
    labels = None if batch.labels is None else batch.labels.tolist()
    return batch.width, batch.is_sparse, rows, labels, batch.ids


def own_ways(body: bytes) -> bool:
    """Where Python's protobuf leaves the specification.

    It sets map entries aside that hold an unknown field, and passes over field number 0 inside unknown groups.
    """
    unknown = [field for message in messages(body) for field in UnknownFieldSet(message)]
    return any(field.field_number in (1, 2) or field.wire_type == 3 for field in unknown)


def compare(body: bytes) -> None:
    """Both refuse, or both answer the same (as text, in which NaN is NaN)."""
    try:
        if own_ways(body):
            return
        wanted = repr(oracle(body))
    except (ValueError, DecodeError):
        wanted = "refused"
    try:
        found = repr(decoded(body))
    except FormatError:
        found = "refused"
    assert found == wanted


NUMBERS = {
    "float32_tensor": st.floats(width=32),
    "float64_tensor": st.floats(),
    "int32_tensor": st.integers(-(2**31), 2**31 - 1),
}


@st.composite
def records(draw: Callable[..., Any]) -> bytes:
    """A few framed records of one width, each dense or sparse, of any type."""
    width = draw(st.integers(1, 300))
    labelled, named = draw(st.booleans()), draw(st.booleans())
    body = b""
    for _ in range(draw(st.integers(1, 4))):
        message = record_pb2.Record()
        kind = draw(st.sampled_from(sorted(NUMBERS)))
        tensor = getattr(message.features["values"], kind)
        thin = draw(st.booleans())
        keys = draw(st.lists(st.integers(0, width - 1), unique=True, max_size=8)) if thin else []
        size = len(keys) if thin else width
        tensor.values.extend(draw(st.lists(NUMBERS[kind], min_size=size, max_size=size)) if size < 9 else range(size))
        tensor.keys.extend(keys)
        tensor.shape.extend([width] if thin else [])
        if labelled:
            kind = draw(st.sampled_from(sorted(NUMBERS)))
            getattr(message.label["values"], kind).values.append(draw(NUMBERS[kind]))
        if named:
            message.uid = draw(st.text(max_size=3))
        payload = message.SerializeToString()
        body += MAGIC + struct.pack("<I", len(payload)) + payload + bytes(-len(payload) % 4)
    return body


@settings(deadline=None, max_examples=200)
@given(records())
def test_decodes_as_protobuf_does(body: bytes) -> None:
    assert repr(decoded(body)) == repr(oracle(body))


INTERESTING = [0, 1, 2, 3, 7, 9, 10, 13, 18, 26, 58, 127, 128, 255]


@settings(deadline=None, max_examples=1000, derandomize=True)
@given(st.sampled_from(cases("valid") + cases("invalid")), st.data())
def test_damaged_bytes_are_judged_as_by_protobuf(case: Any, data: st.DataObject) -> None:
    """Frames of damaged payloads: the lengths of the frames are right, what they hold is not."""
    body = bytearray(case.values[0])
    try:
        payloads = [bytearray(message.SerializeToString()) for message in messages(bytes(body))]
    except (ValueError, DecodeError):
        payloads = [body[8:]]
    for payload in payloads:
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(payload)))
            stop = at + data.draw(st.integers(0, 2))
            payload[at:stop] = bytes(data.draw(st.lists(st.sampled_from(INTERESTING), max_size=3)))
    framed = [MAGIC + struct.pack("<I", len(p)) + bytes(p) + bytes(-len(p) % 4) for p in payloads]
    compare(b"".join(framed))


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(cases("valid")), st.data())
def test_any_bytes_are_decoded_or_refused(case: Any, data: st.DataObject) -> None:
    body = bytearray(case.values[0])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    for cut in range(len(body)):
        for decode in (recordio.decode, lambda b, e: list(recordio.read(io.BytesIO(b), 2, e))):
            try:
                decode(bytes(body[:cut]), Expected())
            except FormatError as error:
                row = error.row
            else:
                row = 1
            assert row is not None or cut == 0


def in_parts(payload: bytes) -> bytes:
    """A frame as dmlc's writer makes it (dmlc-core, src/recordio.cc): cut at each aligned magic."""
    words = [payload[i : i + 4] for i in range(0, len(payload), 4)]
    parts = [b""]
    for word in words:
        if word == MAGIC:
            parts.append(b"")
        else:
            parts[-1] += word
    flags = [0] if len(parts) == 1 else [1] + [2] * (len(parts) - 2) + [3]
    headers = [MAGIC + struct.pack("<I", flag << 29 | len(part)) for flag, part in zip(flags, parts, strict=True)]
    return b"".join(header + part + bytes(-len(part) % 4) for header, part in zip(headers, parts, strict=True))


@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
@pytest.mark.parametrize("thin", [False, True])
def test_a_stream_is_cut_into_batches(rows: int, thin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks smaller than the file and, at first, than a record; frames in parts among whole ones; a gzip stream."""
    monkeypatch.setattr(recordio, "_BLOCK", 64)
    monkeypatch.setattr(recordio, "_TABLE", 16)
    random = np.random.default_rng(0)
    features = random.random((100, 40), np.float32) * (random.random((100, 40)) < 0.5)
    features[::3, ::5] = np.frombuffer(MAGIC, np.float32)
    labels = np.arange(100.0)
    body = recordio.encode_features(sparse.csr_array(features) if thin else features, labels)
    parts = b"".join(in_parts(message.SerializeToString(deterministic=True)) for message in messages(body))
    stream = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(parts)))
    batches = list(recordio.read(stream, rows, Expected(40)))
    assert [len(batch) for batch in batches] == [rows] * (100 // rows) + ([100 % rows] if 100 % rows else [])
    np.testing.assert_array_equal(np.concatenate([dense(batch) for batch in batches]), features)
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), labels)
    assert all(batch.is_sparse == thin for batch in batches)


def test_the_test_writes_parts() -> None:
    """The stream test would prove little if its frames were whole."""
    payload = b"abcd" + MAGIC + b"ef"
    assert in_parts(payload) == MAGIC + b"\x04\0\0\x20abcd" + MAGIC + b"\x02\0\0\x60ef\0\0"


def test_a_fifo_is_read_to_its_end(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((3000, 50), np.float32)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(recordio.encode_features(features)))
    writer.start()
    with pipe.open("rb", buffering=0) as stream:
        found = np.concatenate([batch.features for batch in recordio.read(stream, 700, Expected())])
    writer.join()
    np.testing.assert_array_equal(found, features)


def test_an_error_in_a_later_block_names_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordio, "_BLOCK", 256)
    body = recordio.encode_features(np.ones((50, 9), np.float32)) + recordio.encode_features(
        np.ones((1, 8), np.float32)
    )
    batches = recordio.read(io.BytesIO(body), 20, Expected())
    assert [len(next(batches)), len(next(batches))] == [20, 20]
    with pytest.raises(FormatError) as error:
        next(batches)
    assert (error.value.row, error.value.problem) == (
        51,
        "expected 9 features, found 8; give all records the same number",
    )


def test_a_wide_sparse_row_takes_no_room_for_its_zeros() -> None:
    message = record_pb2.Record()
    tensor = message.features["values"].float32_tensor
    tensor.values.extend([1, 2])
    tensor.keys.extend([10**12 - 1, 5])
    tensor.shape.append(10**12)
    batch = recordio.decode(message.SerializeToString(), Expected())
    assert batch.features.shape == (1, 10**12)
    assert batch.features.indices.tolist() == [5, 10**12 - 1]
    assert batch.features.data.tolist() == [2, 1]


def test_an_answer_has_a_label_for_each_column() -> None:
    """k-means' answer of the guide: one float32 per label, the record's uid, no features."""
    columns = {"closest_cluster": np.array([7.0, 1.0]), "projection": np.array([[1, 2, 3], [4, 5, 6]])}
    first, second = messages(recordio.encode(columns, "predictions", ["a", ""]))
    assert list(first.label["closest_cluster"].float32_tensor.values) == [7]
    assert list(second.label["projection"].float32_tensor.values) == [4, 5, 6]
    assert (first.uid, second.HasField("uid"), len(first.features), len(first.label)) == ("a", False, 0, 2)
    without_ids = messages(recordio.encode(columns, "predictions", None))
    assert [message.label for message in without_ids] == [first.label, second.label]
    assert recordio.encode({"score": np.empty(0)}, "scores", None) == b""
    score = recordio.encode({"score": np.array([1.0])}, "scores", None)
    assert score.hex() == "0a23d7ce13000000" + "1211" + "0a0573636f7265" + "1208" + "1206" + "0a04" + "0000803f" + "00"
