"""UBJSON (Universal Binary JSON, draft 12) as XGBoost writes its models, to and from Python objects.

The library itself ends the process on some damaged files, so they are looked at here first.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from formats import FormatError

_NUMBERS = {
    ord(kind): np.dtype(f">{code}")
    for kind, code in {"i": "i1", "U": "u1", "I": "i2", "l": "i4", "L": "i8", "d": "f4", "D": "f8"}.items()
}
_MARKERS = {dtype.str[1:]: bytes([kind]) for kind, dtype in _NUMBERS.items()}
_INTEGERS = tuple((bytes([kind]), np.iinfo(_NUMBERS[kind])) for kind in b"iIl")  # for one number, the shortest first
_CONSTANTS = {ord("Z"): None, ord("T"): True, ord("F"): False}


def parse(content: bytes) -> Any:
    """The one value in `content`: objects as dict, arrays as list or, where all elements are of one type, as ndarray.

    Raises FormatError for anything else.
    """
    scan = _Scan(content)
    try:
        value = scan.value(scan.byte())
    except (struct.error, IndexError):
        raise FormatError(f"the UBJSON is cut short, its {len(content)} bytes are not all") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not valid UBJSON before byte {scan.at + 1}: {error}") from None
    if scan.at != len(content):
        raise FormatError(f"expected the end of the UBJSON at byte {scan.at + 1}, found {len(content) - scan.at} more")
    return value


def dump(value: Any) -> bytes:
    """UBJSON as XGBoost writes it, of str, int, float, lists of them, dict and ndarray."""
    match value:
        case str():
            content = value.encode()
            return b"SL" + struct.pack(">q", len(content)) + content
        case int():
            for kind, limits in _INTEGERS:
                if limits.min < value < limits.max:  # as the library has it, without the two
                    return kind + value.to_bytes(limits.bits // 8, "big", signed=True)
            return b"L" + struct.pack(">q", value)
        case float():
            return b"d" + struct.pack(">f", value)
        case list():
            return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(dump, value))
        case dict():
            members = (dump(name)[1:] + dump(each) for name, each in value.items())
            return b"{" + b"".join(members) + b"}"
    kind = _MARKERS[value.dtype.str[1:]]
    big_endian = value.astype(value.dtype.newbyteorder(">"))
    return b"[$" + kind + b"#L" + struct.pack(">q", len(value)) + bytes(big_endian.tobytes())


class _Scan:
    """A place in the bytes; each method reads on from there."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def take(self, size: int) -> bytes:
        part = self.content[self.at : self.at + size]
        if len(part) < size:
            raise IndexError
        self.at += size
        return part

    def length(self) -> int:
        """What XGBoost writes before strings, keys and elements: always an int64."""
        if self.byte() != ord("L"):
            raise ValueError("expected a length")
        (found,) = struct.unpack(">q", self.take(8))
        if found < 0:
            raise ValueError(f"a length of {found}")
        return int(found)

    def value(self, kind: int) -> Any:
        if kind in _NUMBERS:
            return np.frombuffer(self.take(_NUMBERS[kind].itemsize), _NUMBERS[kind])[0].item()
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        match chr(kind):
            case "S":
                return self.take(self.length()).decode()
            case "C":
                return chr(self.byte())
            case "[":
                return self.array()
            case "{":
                return self.object()
        raise ValueError(f"unknown type {kind:#04x}")

    def object(self) -> dict[str, Any]:
        found = {}
        while self.content[self.at] != ord("}"):
            key = self.take(self.length()).decode()
            found[key] = self.value(self.byte())
        self.at += 1
        return found

    def array(self) -> Any:
        marker = self.content[self.at]
        if marker == ord("$"):
            kind = self.take(2)[1]
            if kind not in _NUMBERS or self.byte() != ord("#"):
                raise ValueError("expected an array of numbers")
            return np.frombuffer(self.take(self.length() * _NUMBERS[kind].itemsize), _NUMBERS[kind])
        if marker == ord("#"):
            self.at += 1
            return [self.value(self.byte()) for _ in range(self.length())]
        elements = []
        while self.content[self.at] != ord("]"):
            elements.append(self.value(self.byte()))
        self.at += 1
        return elements
