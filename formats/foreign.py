"""Files of another kind than the media type says, known by their first bytes."""

from __future__ import annotations

from formats.errors import FormatError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANKS = b" \t\r\n"
SIGNATURE_BYTES = 8  # as many as tell the kinds apart
_FOREIGN = (  # no line of numbers begins so
    (b"\n#\xd7\xce", "RecordIO, whose content type is application/x-recordio-protobuf"),
    (b"\x1f\x8b", "gzip; a request says so with Content-Encoding: gzip"),
    (b"PAR1", "Parquet"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"{", "JSON, whose content type is application/json or application/jsonlines"),
    (b"[", "JSON, whose content type is application/json or application/jsonlines"),
)


def refuse_foreign(signature: bytes, name: str) -> None:
    """Raises FormatError for the first bytes of a file that is not text; `name` is what it should be."""
    if signature[:1] in b'0123456789+-."':
        return
    text = signature.removeprefix(BYTE_ORDER_MARK)
    for beginning, kind in _FOREIGN:
        if text.startswith(beginning) or text.lstrip(BLANKS).startswith(beginning):
            raise FormatError(f"this does not look like {name} but like {kind}", row=1)
