"""LibSVM that cannot be read: the token at fault, the likeliest mistake, and how to mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from formats._libsvm import GROUP, LABEL, WEIGHT
from formats.csv_faults import plural, shown
from formats.errors import FormatError

MOST_FEATURES = 2**31 - 1  # as many as int32 can count
_TOKEN = re.compile(rb"[^ \t]+")
_NUMBER = re.compile(  # what `_number.pxd` reads
    rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(?i:inf|infinity|nan)|[Tt]rue|TRUE|[Ff]alse|FALSE"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What lines must look like.

    first_index: what they call feature 0
    width:       number of features; None if it is not known
    training:    each line begins with a label, and all with the same of weight and qid; else all three may be absent
    """

    first_index: int
    width: int | None
    training: bool


def line_fault(line: bytes, row: int, rules: Rules, kind: int) -> FormatError:
    """Why the scan refused a line (without its newline); `kind` is what the rows before begin with, -1 without any."""
    line = line.removesuffix(b"\r")
    tokens = _TOKEN.findall(line.partition(b"#")[0])
    column, problem = _first_fault(tokens, rules, kind)
    token = tokens[column]
    if b"\0" in line:
        problem = f"this does not look like LibSVM but like binary data: found '{shown(token)}'"
    elif b"\r" in token:
        problem = f"expected lines that end in a newline, found carriage returns: '{shown(token)}'"
    elif b"," in token and b":" not in token:
        problem += ": this looks like CSV; set the content type to text/csv"
    elif row == 1 and column == 0 and not re.match(rb"[-+.\d]|qid:", token):
        problem += "; if row 1 is a header, remove it: LibSVM must have none"
    return FormatError(problem, row=row, column=column + 1)


def _first_fault(tokens: list[bytes], rules: Rules, kind: int) -> tuple[int, str]:
    """The first token that is wrong, and what is wrong with it."""
    column = begun = 0
    if rules.training or b":" not in tokens[0]:
        label, colon, weight = tokens[0].partition(b":")
        if not _NUMBER.fullmatch(label):
            return 0, f"expected a number as label, found '{shown(tokens[0])}'"
        if colon and not _NUMBER.fullmatch(weight):
            return 0, f"expected label:weight with a number as weight, found '{shown(tokens[0])}'"
        column, begun = 1, LABEL | WEIGHT if colon else LABEL
    if tokens[column : column + 1] and tokens[column].startswith(b"q"):
        query = re.fullmatch(rb"qid:(\d+)", tokens[column])
        if not query or _whole(query[1]) >= 2**63:
            wanted = "a qid as qid:7, a whole number from 0 to 2**63 - 1"
            return column, f"expected {wanted}, found '{shown(tokens[column])}'"
        column, begun = column + 1, begun | GROUP
    if rules.training and begun != kind >= 0:
        bit, what = (WEIGHT, "weight") if (begun ^ kind) & WEIGHT else (GROUP, "qid")
        wanted, found = (f"a {what}", "none") if kind & bit else (f"no {what}", "one")
        problem = f"expected {wanted} as in the rows before, found {found}; give all rows a {what} or none"
        return int(bool(begun & bit & GROUP)), problem
    given: set[int] = set()
    for at in range(column, len(tokens)):
        if fault := _entry_fault(tokens[at], rules, given):
            return at, fault
    raise AssertionError(f"the scan refused a line without fault: {tokens}")


def _entry_fault(token: bytes, rules: Rules, given: set[int]) -> str | None:
    """What is wrong with `index:value`, if anything is; `given` are the indices before, and this one then too."""
    index, colon, value = token.partition(b":")
    if index == b"qid":
        return f"expected the qid once, right after the label, found '{shown(token)}'"
    if not colon:
        return f"expected index:value, found '{shown(token)}'"
    if not re.fullmatch(rb"-?\d+", index):
        return f"expected a whole number as index, found '{shown(token)}'"
    first = rules.first_index
    if index.startswith(b"-") or _whole(index) < first:
        origin = f"indices count from {first}{'' if rules.training else ' as in the training data'}"
        return f"expected index {first} or greater, found {shown(index)}; {origin}"
    last = first - 1 + (MOST_FEATURES if rules.width is None else rules.width)
    if _whole(index) > last:
        features = "" if rules.width is None else f" ({plural(rules.width, 'feature')})"
        return f"expected indices {first} to {last}{features}, found {shown(index)}"
    if not value:
        return f"expected a number right after '{shown(token)}', found none; write index:value without blanks"
    if not _NUMBER.fullmatch(value):
        return f"expected a number as value of index {_whole(index)}, found '{shown(value)}'"
    if _whole(index) in given:
        return f"index {_whole(index)} must be given once, found twice"
    given.add(_whole(index))
    return None


def _whole(digits: bytes) -> int:
    """The number; the first 20 digits of a longer one, which is too great in any case."""
    return int(digits.lstrip(b"0")[:20] or b"0")
