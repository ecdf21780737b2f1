"""The native scan of plain instances: what it takes, and that nobody can tell it from the parser of all JSON."""

import io
import json as oracle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats import json, jsonlines
from formats.batch import Expected
from formats.errors import FormatError
from tests.wire.test_json import FORMATS, golden

PLAIN = [
    b"[1,2.5]",
    b" [ -0.0 ,\t1e-3 ] ",
    b'{"features":[1,2]}',
    b'{ "features" : [ null , true ] }',
    b'{"features": {"values": [false, 1E+2]}}',
    b'{"data": {"features": [0.1, 12345678901234567890.5]}}',
    b'{"data": {"features": {"values": [0.000000000000000000001, -999999999999999]}}}',
]
OTHERS = [
    b'{"features": {"keys": [0], "shape": [2], "values": [1]}}',
    b'{"features": [1, 2], "id": 3}',
    b'{"id": 3, "features": [1, 2]}',
    b'{"\\u0066eatures": [1, 2]}',
    b"[1, 1e400]",
    b"[1, 1e39]",
    b"[1, 9007199254740993]",
    b"[1, 123456789012345678901234567890]",
]
REFUSED = [
    b"[1]", b"[1,2,3]", b"[]", b"[1,2", b"[1,2]]", b"[,1]", b"[1,]", b"[1 2]", b"[01,2]", b"[+1,2]", b"[.5,2]",
    b"[5.,2]", b"[1.e5,2]", b"[1e,2]", b"[-,2]", b"[- 1,2]", b"[0x1,2]", b"[1_0,2]", b"[NaN,2]", b"[Infinity,2]",
    b"[nul,2]", b"[True,2]", b'["1",2]', b"[[1],2]", b"[1,2]\0", b"[1,\x0b2]", b"[1\xc2\xa0,2]", b'{"features":[1,2]',
    b'{"features":[1,2]}}', b'{"data":[1,2]}', b'{"values":[1,2]}', b'{"features":{"features":[1,2]}}',
    b'{"features":{"data":[1,2]}}', b'{"data":{"values":[1,2]}}', b'{"data":{"data":{"features":[1,2]}}}', b"1,2",
    b"{}", b"'features'", b'{"features" [1,2]}', b'{"features":[1,2]} x', b'{"Features":[1,2]}',
]  # fmt: skip


def told(decode):
    """The batch, bit by bit, or what is wrong."""
    try:
        batch = decode()
    except FormatError as error:
        return str(error)
    dense = batch.features.toarray() if batch.is_sparse else batch.features
    return batch.is_sparse, dense.shape, dense.view(np.uint32)[~np.isnan(dense)].tolist(), np.isnan(dense).tolist()


def both(monkeypatch_context, a_format, body, width=2):
    """What is told with the scan, and without."""

    def decode():
        return a_format.decode(body, Expected(width))

    def read():
        batches = list(a_format.read(io.BytesIO(body), 2, Expected(width)))
        assert all(len(batch) <= 2 for batch in batches)
        return json.Batch(np.concatenate([np.empty((0, width), np.float32), *(each.features for each in batches)]))

    with_scan = [told(decode), told(read)]
    with monkeypatch_context() as patch:
        patch.setattr(json, "scan", lambda *_: -1)
        return with_scan, [told(decode), told(read)]


def document(*instances, between=b","):
    return b'{"instances": [' + between.join(instances) + b"]}"


@pytest.mark.parametrize("instance", PLAIN)
def test_plain_instances_are_scanned(instance):
    assert json.plain(document(instance, instance), 2).features.shape == (2, 2)
    assert json.plain(document(b"\n" + instance, b"\r\n" + instance + b"\n"), 2).features.shape == (2, 2)
    for lines in (instance, instance + b"\n", instance + b"\r\n" + instance):
        assert json.plain(lines, 2, lines=True).features.shape[1] == 2


@pytest.mark.parametrize("instance", OTHERS)
def test_others_are_left_alone(instance):
    assert json.plain(document(b"[1,2]", instance), 2) is None
    assert json.plain(b"[1,2]\n" + instance, 2, lines=True) is None


@pytest.mark.parametrize("instance", [*PLAIN, *(each for each in OTHERS if b"keys" not in each), *REFUSED])
def test_the_same_is_told(monkeypatch, instance):
    for body in (document(instance), document(b"[1,2]", instance), document(instance, b"[1,2]")):
        with_scan, without = both(monkeypatch.context, json, body)
        assert with_scan == without
    for body in (instance, b"[1,2]\n" + instance, instance + b"\n[1,2]\n", b"[1,2]\n[3,4]\n" + instance + b"\n\n[5,6]"):
        with_scan, without = both(monkeypatch.context, jsonlines, body)
        assert with_scan == without


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{}", b"[]", b'{"instances": []}', b'{"instances": [[1,2]]', b'{"instances": [[1,2]]}}',
        b'{"instances": [[1,2]], "configuration": {}}', b'{"configuration": {}, "instances": [[1,2]]}',
        b'{"instances" [[1,2]]}', b'{"instances": [[1,2]]} {}', b'{"instances": [[1,2],]}',
        b'{"instances": [[1,2] [3,4]]}',
        b'\xef\xbb\xbf{"instances": [[1,2]]}', b'{"instances": [[1,2]]}\0', b"[1,2]\n\n[3,4]", b"\n[1,2]",
        b"[1,2]\n\n\n",
        b"[1,2]\n \n\n", b"[1,2]\n[3,4]\n[5,6]\n\n\n[7,8]\n", b"[1,2][3,4]", b"[1,\n2]",
    ],
)  # fmt: skip
def test_the_same_is_told_of_whole_bodies(monkeypatch, body):
    for a_format in (json, jsonlines):
        with_scan, without = both(monkeypatch.context, a_format, body)
        assert with_scan == without


@pytest.mark.parametrize(("a_format", "body", "expected"), [*golden("valid", "expected"), *golden("invalid", "error")])
def test_the_same_is_told_of_golden_bodies(monkeypatch, a_format, body, expected):
    for width in {1, 2, 3, len(expected["features"][0]) if "features" in expected else 1}:
        options = Expected(**{**expected["options"], "width": width})
        told_of = told(lambda options=options: a_format.decode(body, options))
        with monkeypatch.context() as patch:
            patch.setattr(json, "scan", lambda *_: -1)
            assert told(lambda options=options: a_format.decode(body, options)) == told_of


text = st.text("0123456789+-.eE", min_size=1, max_size=25)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(text, min_size=1, max_size=20))
def test_numbers_however_they_are_written(numbers):
    """Each by itself: what Python's reader takes is the same float32; what it refuses is refused."""
    for number in numbers:
        try:
            value = oracle.loads(number)
        except ValueError:
            with pytest.raises(FormatError):
                json.decode(document(f"[{number}]".encode()), Expected(1))
            continue
        found = json.plain(document(f"[{number}]".encode()), 1)
        with np.errstate(over="ignore"):
            wanted = np.float32(float(value)) if abs(value) < 1e300 else np.float32(np.inf)
        if found is not None:
            assert found.features.view(np.uint32) == wanted.view(np.uint32)
        else:
            assert not np.isfinite(wanted) or isinstance(value, int) or "e" in number.lower()


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*PLAIN, *OTHERS[1:]]), min_size=1, max_size=4),
    st.integers(0, 200),
    st.sampled_from(
        [b"", b",", b"[", b"]", b"{", b"}", b'"', b":", b"0", b"-", b".", b"e", b" ", b"\n", b"\0", b"\xff"]
    ),
    st.booleans(),
)
def test_the_same_is_told_of_damaged_bodies(instances, at, piece, instead):
    for a_format in (json, jsonlines):
        body = document(*instances) if a_format is json else b"\n".join(instances)
        at %= len(body)
        damaged = body[:at] + piece + body[at + instead :]
        with_scan, without = both(pytest.MonkeyPatch.context, a_format, damaged)
        assert with_scan == without


@pytest.mark.parametrize("name", FORMATS)
def test_large_bodies(name):
    """Those for which other threads go on meanwhile."""
    rows = np.random.default_rng(0).normal(size=(3000, 7)).astype(np.float32)
    lines = [b"[" + b",".join(str(value).encode() for value in row.tolist()) + b"]" for row in rows]
    body = document(*lines) if name == "json" else b"\n".join(lines)
    assert json.plain(body, 7, lines=name == "jsonlines") is not None
    np.testing.assert_array_equal(FORMATS[name][0].decode(body, Expected(7)).features, rows)
