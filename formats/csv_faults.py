"""CSV that cannot be read: what it looks like, which mistake is likeliest, and how to mend it."""

from __future__ import annotations

import re
from typing import cast

from formats.errors import FormatError
from formats.foreign import BLANKS

_LONGEST_QUOTE = 40  # characters of a cell that an error shows
_QUOTED = re.compile(rb'"[^"]*(?:"|$)')
_UNCLOSED = re.compile(rb'(?:"[^"]*")*"[^"]*')
_CELL = re.compile(rb'[ \t]*(?:"[^"]*(?:"|$))*[^,]*')
_LIBSVM = re.compile(rb"(?:[-+]?[\d.]+(?::[\d.]+)?[ \t]+)?(?:qid:\d+[ \t]+)?\d+:[-+.\d][^\s:,]*(?:\s|$)")
_DELIMITERS = ((b";", "semicolon"), (b"\t", "tab"), (b"|", "vertical bar"), (b" ", "blank"))


def count_cells(line: bytes) -> int:
    """The number of cells of a line; commas in quotes do not count."""
    return (_QUOTED.sub(b"", line) if b'"' in line else line).count(b",") + 1


def cell_fault(line: bytes, start: int, row: int) -> FormatError:
    """Why the scan refused the cell that begins at `start`: the likeliest mistake, and how to mend it."""
    cell = cast("re.Match[bytes]", _CELL.match(line, start)).group().strip(BLANKS)
    problem = f"expected a number, found '{shown(cell)}'"
    delimiter = _delimiter(cell, row)
    if b"\0" in line:
        problem = f"this does not look like CSV but like binary data: found '{shown(cell)}'"
    elif _UNCLOSED.fullmatch(cell):
        problem = f"expected a closing quote on the same line, found '{shown(cell)}'"
    elif b"\r" in cell:
        problem = f"expected lines that end in a newline, found carriage returns: '{shown(cell)}'"
    elif _LIBSVM.match(cell):
        problem += ": this looks like LibSVM; set the content type to text/libsvm"
    elif delimiter:
        problem = f"the delimiter must be a comma, found a {delimiter}: '{shown(cell)}'"
    elif row == 1:
        words = [not _is_number(part) for part in line.split(b",", 1000)[:1000] if part.strip()]
        likely = 2 * sum(words) >= len(words)
        problem += "; this looks like a header row" if likely else "; if row 1 is a header"
        problem += ", and CSV must have none here: remove it" if likely else ", remove it: CSV must have none here"
    return FormatError(problem, row=row, column=count_cells(line[:start]))


def _delimiter(cell: bytes, row: int) -> str | None:
    """What separates the numbers that seem to be in a cell, or the names in that of a header row."""
    for delimiter, name in _DELIMITERS:
        parts = cell.split(delimiter, 2)[:2]
        if len(parts) == 2 and ((row == 1 and delimiter != b" ") or all(map(_is_number, parts))):
            return name
    return None


def _is_number(cell: bytes) -> bool:
    try:
        float(cell.strip(b' "'))
    except ValueError:
        return False
    return True


def shown(cell: bytes) -> str:
    """A cell for an error: printable, and cut where it is long."""
    text = cell[: 4 * _LONGEST_QUOTE + 4].decode("utf-8", "backslashreplace")
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def plural(count: int, noun: str) -> str:
    """`1 column`, `2 columns`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
