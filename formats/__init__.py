"""Bytes to batches and columns to bytes: one table from media type to format.

A format is a module with

    MEDIA_TYPES                                   its media types, the canonical one first
    read(stream, rows, expected) -> batches       a training file, streamed in batches of at most `rows` rows
    decode(body, expected) -> Batch               a request
    encode(columns, wrapper, ids) -> bytes        an answer

All of them raise `FormatError` for bytes that are not what they should be. Nothing here knows an algorithm or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import BinaryIO, Protocol, cast

from formats import csv, json, jsonlines, libsvm, parquet, recordio
from formats.batch import Batch, Columns, Expected
from formats.errors import FormatError, NotAcceptableError, UnknownMediaTypeError

__all__ = [
    "Batch",
    "Columns",
    "Expected",
    "Format",
    "FormatError",
    "MediaType",
    "NotAcceptableError",
    "UnknownMediaTypeError",
    "decode",
    "expected_of",
    "find",
    "negotiate",
    "parse_media_type",
    "read",
]


class Format(Protocol):
    """What a format's module offers."""

    MEDIA_TYPES: tuple[str, ...]

    def read(self, stream: BinaryIO, rows: int, expected: Expected) -> Iterator[Batch]:
        """Batches of at most `rows` rows from a stream that is read once, front to back."""

    def decode(self, body: bytes, expected: Expected) -> Batch:
        """All rows of a request body."""

    def encode(self, columns: Columns, wrapper: str, ids: Sequence[str] | None) -> bytes:
        """An answer: row i is the i-th element of every column; `wrapper` is the JSON key around all rows."""


FORMATS = cast("tuple[Format, ...]", (json, jsonlines, csv, recordio, libsvm, parquet))
_BY_MEDIA_TYPE = {media_type: a_format for a_format in FORMATS for media_type in a_format.MEDIA_TYPES}


@dataclass(frozen=True, slots=True)
class MediaType:
    """A parsed media type: `text/csv; label_size=1` is name `text/csv`, parameters {"label_size": "1"}."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        """The weight `q` of an Accept range (RFC 9110, 12.4.2); 1 when absent, 0 when unreadable."""
        try:
            return min(1.0, max(0.0, float(self.parameters.get("q", "1"))))
        except ValueError:
            return 0.0


@lru_cache(256)
def parse_media_type(text: str) -> MediaType:
    """`Text/CSV; Label_Size="1"` -> MediaType("text/csv", {"label_size": "1"}) (RFC 9110, 8.3.1)."""
    name, *parameters = text.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return MediaType(
        name.strip().lower(), {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs if key.strip()}
    )


def find(name: str) -> Format:
    """The format with this media type (without parameters) or alias.

    Raises UnknownMediaTypeError.
    """
    try:
        return _BY_MEDIA_TYPE[name]
    except KeyError:
        raise UnknownMediaTypeError(f"'{name}' is not a known content type") from None


def read(stream: BinaryIO, content_type: str, rows: int, expected: Expected) -> Iterator[Batch]:
    """Batches of a training file; see `Format.read`. `label_size` in the content type overrides `expected`."""
    media_type = parse_media_type(content_type)
    return find(media_type.name).read(stream, rows, expected_of(media_type, expected))


def decode(body: bytes, content_type: str, expected: Expected) -> Batch:
    """All rows of a request body; see `Format.decode`."""
    media_type = parse_media_type(content_type)
    return find(media_type.name).decode(body, expected_of(media_type, expected))


@lru_cache(256)
def negotiate(accept: str | None, offered: tuple[str, ...], default: str) -> MediaType:
    """The answer's media type: the acceptable one of highest quality; of equals the one whose range comes first.

    offered: canonical media types the algorithm can answer in; `default` goes first where a wildcard allows several.
    Of the ranges that match a media type, the most specific one says its quality (RFC 9110, 12.5.1). The result keeps
    that range's parameters (`application/json; verbose=true`), less `q`. Raises NotAcceptableError.
    """
    offered = (default, *(name for name in offered if name != default))
    ranges = [parse_media_type(part) for part in (accept or "*/*").split(",") if part.strip()]
    choices = []
    for name in offered:
        matching = [(_specificity(wanted.name, name), -place) for place, wanted in enumerate(ranges)]
        specificity, place = max(matching, default=(0, 0))
        if specificity and ranges[-place].quality > 0:
            choices.append((ranges[-place].quality, place, name))
    if not choices:
        raise NotAcceptableError(f"cannot answer in '{accept}'; Accept must allow one of {', '.join(offered)}")
    _, place, name = max(choices, key=lambda choice: choice[:2])
    return MediaType(name, {key: value for key, value in ranges[-place].parameters.items() if key != "q"})


def _specificity(wanted: str, name: str) -> int:
    """How closely a range fits a media type: 3 the type itself, 2 `type/*`, 1 `*/*` or `*`, 0 not at all."""
    if _canonical(wanted) == name:
        return 3
    if wanted.endswith("/*") and name.startswith(wanted.removesuffix("*")):
        return 2
    return int(wanted in ("*/*", "*"))


def _canonical(name: str) -> str:
    known = _BY_MEDIA_TYPE.get(name)
    return known.MEDIA_TYPES[0] if known else name


def expected_of(media_type: MediaType, expected: Expected) -> Expected:
    """`expected`, with what the parameters of the content type say. Raises UnknownMediaTypeError."""
    charset = media_type.parameters.get("charset", media_type.parameters.get("encoding", "utf-8"))
    if charset.lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise UnknownMediaTypeError(f"charset must be utf-8, got '{charset}'")
    label_size = media_type.parameters.get("label_size")
    if label_size is None:
        return expected
    if label_size not in ("0", "1"):
        raise UnknownMediaTypeError(f"label_size must be 0 or 1, got '{label_size}'")
    return replace(expected, label_columns=int(label_size))
