"""A stream of text in pieces of whole lines, for the formats that have one row a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from formats.errors import FormatError
from formats.foreign import SIGNATURE_BYTES, refuse_foreign

_BUFFER_BYTES = 256 * 1024  # stays in the second level cache between the copy from the stream and the scan
_LONGEST_LINE = 64 * 1024 * 1024  # bytes; bounds the memory that a file without newlines can take


def whole_lines(stream: BinaryIO, name: str, line: Callable[[], int]) -> Iterator[memoryview]:
    """The stream in pieces that end in a newline, as they arrive; each is overwritten by the next.

    name: what the stream should be, and `line` tells the 1-based number of the next line: both for errors.
    Raises FormatError for a file of another kind and for a line of 64 MiB or more.
    """
    buffer = bytearray(_BUFFER_BYTES)
    start = used = 0
    least = SIGNATURE_BYTES  # the first piece shows what kind of file this is
    while True:
        if used == len(buffer) - 1:  # the last byte is kept for the newline that the last line may lack
            tail = buffer[start:used]
            if 2 * len(tail) > len(buffer):  # else each byte would be moved many times over
                if len(buffer) >= _LONGEST_LINE:
                    problem = f"expected lines of less than {_LONGEST_LINE >> 20} MiB, found a longer one"
                    raise FormatError(f"{problem}; write one row a line", row=line())
                buffer = bytearray(2 * len(buffer))
            buffer[: len(tail)] = tail
            start, used = 0, len(tail)
        count = _read_into(stream, memoryview(buffer)[used:-1], least)
        if least > 1:
            refuse_foreign(bytes(buffer[:count]), name)
        newline = buffer.rfind(b"\n", used, used + count)
        used += count
        if newline >= 0:
            yield memoryview(buffer)[start : newline + 1]
            start = newline + 1
        if count < least:
            break
        least = 1
    if start < used:
        buffer[used] = ord("\n")
        yield memoryview(buffer)[start : used + 1]


def _read_into(stream: BinaryIO, target: memoryview, least: int) -> int:
    """Reads until there are `least` bytes or the stream ends; returns how many there are."""
    count = 0
    while count < least:
        if hasattr(stream, "readinto"):
            size = stream.readinto(target[count:])
        else:
            data = stream.read(len(target) - count)
            size = len(data)
            target[count : count + size] = data
        if not size:
            break
        count += size
    return count
