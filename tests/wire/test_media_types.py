"""Media types: parsing, finding a format, choosing an answer's type from Accept, parameters of a content type."""

import io

import pytest

import formats
from formats import Expected, MediaType, NotAcceptableError, UnknownMediaTypeError

JSON, LINES, CSV, RECORDIO = (
    "application/json",
    "application/jsonlines",
    "text/csv",
    "application/x-recordio-protobuf",
)
LIBSVM, PARQUET = "text/libsvm", "application/x-parquet"  # in which nothing is answered
OFFERED = (JSON, LINES, CSV, RECORDIO)


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("text/csv", "text/csv", {}),
        (' Text/CSV ; Label_Size="1" ', "text/csv", {"label_size": "1"}),
        ("application/json; verbose=true;charset=UTF-8", JSON, {"verbose": "true", "charset": "UTF-8"}),
        ("text/csv;", "text/csv", {}),
        ("text/csv;header", "text/csv", {"header": ""}),
        ("", "", {}),
    ],
)
def test_parse(text, name, parameters):
    assert formats.parse_media_type(text) == MediaType(name, parameters)


@pytest.mark.parametrize(
    ("q", "quality"),
    [("", 1), (";q=0.25", 0.25), (";Q=1.000", 1), (";q=0", 0), (";q=7", 1), (";q=-1", 0), (";q=x", 0), (";q=nan", 0)],
)
def test_quality(q, quality):
    assert formats.parse_media_type(f"text/csv{q}").quality == quality


@pytest.mark.parametrize("a_format", formats.FORMATS)
def test_a_format_is_found_by_each_of_its_media_types(a_format):
    assert a_format.MEDIA_TYPES
    for media_type in a_format.MEDIA_TYPES:
        assert formats.find(media_type) is a_format
        assert media_type == formats.parse_media_type(media_type).name


def test_the_first_media_type_is_the_canonical_one():
    assert tuple(a_format.MEDIA_TYPES[0] for a_format in formats.FORMATS) == (*OFFERED, LIBSVM, PARQUET)


@pytest.mark.parametrize("name", ["application/octet-stream", "", "TEXT/CSV", "text/csv;label_size=0"])
def test_unknown(name):
    with pytest.raises(UnknownMediaTypeError) as error:
        formats.find(name)
    assert str(error.value) == f"'{name}' is not a known content type"


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV", CSV),
        ("text/*", CSV),
        ("application/*", JSON),
        ("application/x-jsonlines", LINES),  # an alias is answered with the canonical name
        # the PandasDeserializer of the SDK
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        ("application/json;q=0.5, text/csv", CSV),
        ("application/json;q=0.5, text/csv;q=0.4", JSON),
        ("image/png, text/csv;q=0.1", CSV),
        ("image/png, */*;q=0.1", JSON),
        ("text/csv;q=0.5, */*;q=0.1", CSV),
        ("application/json;q=0.1, */*", LINES),
        ("application/*;q=0.1, application/x-recordio-protobuf;q=0.2", RECORDIO),
        ("*", JSON),
        ("image/png, *; q=.2", JSON),
        ("application/json;q=0, */*", LINES),
        ("application/json;q=0, application/jsonlines;q=0, application/*", RECORDIO),
        (" , text/csv,", CSV),
    ],
)
def test_negotiate(accept, answer):
    assert formats.negotiate(accept, OFFERED, JSON) == MediaType(answer)


def test_negotiate_answers_a_wildcard_with_the_default():
    assert formats.negotiate("*/*", OFFERED, CSV).name == CSV
    assert formats.negotiate("application/*", OFFERED, CSV).name == JSON


def test_negotiate_keeps_the_parameters_of_the_range_but_q():
    answer = formats.negotiate("text/csv;q=0.1, application/json; verbose=true; q=0.9", OFFERED, CSV)
    assert answer == MediaType(JSON, {"verbose": "true"})


@pytest.mark.parametrize("accept", ["image/png", "text/plain, image/*", "application/json;q=0", "*/*;q=0", "text"])
def test_not_acceptable(accept):
    with pytest.raises(NotAcceptableError) as error:
        formats.negotiate(accept, (JSON, CSV), JSON)
    assert str(error.value) == f"cannot answer in '{accept}'; Accept must allow one of {JSON}, {CSV}"


@pytest.mark.parametrize("name", [RECORDIO, LINES])
def test_what_is_not_offered_is_not_answered(name):
    with pytest.raises(NotAcceptableError):
        formats.negotiate(name, (JSON, CSV), JSON)


@pytest.mark.parametrize(
    ("content_type", "features", "labels"),
    [
        ("text/csv", [[1, 2, 3]], None),
        ("text/csv;label_size=0", [[1, 2, 3]], None),
        ("text/csv; label_size=1", [[2, 3]], [1]),
        ('TEXT/CSV;LABEL_SIZE="1";charset=UTF-8', [[2, 3]], [1]),
    ],
)
def test_label_size(content_type, features, labels):
    def found(batch):
        return batch.features.tolist(), None if batch.labels is None else batch.labels.tolist()

    assert found(formats.decode(b"1,2,3\n", content_type, Expected())) == (features, labels)
    (batch,) = formats.read(io.BytesIO(b"1,2,3\n"), content_type, 10, Expected())
    assert found(batch) == (features, labels)


@pytest.mark.parametrize("size", ["2", "-1", "", "one", "1.0"])
def test_label_size_must_be_0_or_1(size):
    with pytest.raises(UnknownMediaTypeError) as error:
        formats.decode(b"1,2\n", f"text/csv;label_size={size}", Expected())
    assert str(error.value) == f"label_size must be 0 or 1, got '{size}'"


@pytest.mark.parametrize("parameter", ["charset=utf-8", "charset=UTF8", 'charset="us-ascii"', "encoding=utf-8"])
def test_charset(parameter):
    batch = formats.decode(b'{"instances": [[1, 2]]}', f"{JSON}; {parameter}", Expected())
    assert batch.features.tolist() == [[1, 2]]


@pytest.mark.parametrize("parameter", ["charset=latin-1", "encoding=utf-16"])
def test_charset_must_be_utf8(parameter):
    charset = parameter.partition("=")[2]
    with pytest.raises(UnknownMediaTypeError) as error:
        formats.decode(b'{"instances": [[1, 2]]}', f"{JSON}; {parameter}", Expected())
    assert str(error.value) == f"charset must be utf-8, got '{charset}'"
