"""The sides of a row in turn, and medians of what they took: a busy moment of the machine troubles all alike."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.floors import Floor, Rates

Work = Callable[[], object]
OURS = "inbuilt"


class Absent(Exception):  # noqa: N818 - a finding, not a mistake
    """A side cannot run here: the table says why. If it is ours, the run goes on and ends with exit code 1."""


@dataclass(frozen=True)
class Size:
    """How much to run."""

    repeats: int
    quick: bool

    def __call__(self, usual: int, quick: int) -> int:
        """The usual number, of rows or the like, or the one that only shows that a row works."""
        return quick if self.quick else usual


@dataclass(frozen=True)
class Timed:
    """What a side returns that took its own time; `besides` is told, too, such as MB of memory."""

    seconds: float
    besides: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """What a user would run instead. share: the part of the row's work that it is given; all might take minutes."""

    run: Work
    share: float = 1.0


@dataclass(frozen=True)
class Row:
    """One comparison. count, unit: of the work, for the rate; floor: what the work asks of the machine at least."""

    name: str
    count: float
    unit: str
    ours: Work
    peers: Mapping[str, Work | Peer] = field(default_factory=dict)
    floor: Floor | None = None


def measured(row: Row, repeats: int, rates: Rates | None) -> dict[str, Any]:
    """A row's results, ready for JSON. The first round warms up; ours is the first in every other round."""
    sides = {OURS: Peer(row.ours)}
    sides |= {name: peer if isinstance(peer, Peer) else Peer(peer) for name, peer in row.peers.items()}
    taken: dict[str, list[Timed]] = {name: [] for name in sides}
    absent: dict[str, str] = {}
    for number in range(repeats + 1):
        for name in list(sides) if number % 2 else list(reversed(sides)):
            if name in absent:
                continue
            try:
                taken[name].append(timed(sides[name]))
            except (ImportError, Absent) as error:
                absent[name] = str(error)
    if OURS in absent:
        return {"row": row.name, "unit": row.unit, "count": row.count, "sides": [], "absent": {OURS: absent[OURS]}}
    ours = [each.seconds for each in taken[OURS][1:]]
    lines = [_line(name, taken[name][1:], ours, row.count) for name in sides if name not in absent]
    found: dict[str, Any] = {"row": row.name, "unit": row.unit, "count": row.count, "sides": lines, "absent": absent}
    if row.floor and rates:
        seconds = row.floor.seconds(rates)
        found["floor"] = {
            "seconds": seconds,
            "of": row.floor.binding(rates),
            "times": statistics.median(ours) / seconds,
        }
    return found


def timed(side: Peer) -> Timed:
    """One run, its seconds those of the whole work."""
    with silence(), warnings.catch_warnings(action="ignore"):
        started = time.perf_counter()
        result = side.run()
        seconds = time.perf_counter() - started
    if isinstance(result, Timed):
        return Timed(result.seconds / side.share, result.besides)
    return Timed(seconds / side.share)


def _line(name: str, taken: Sequence[Timed], ours: Sequence[float], count: float) -> dict[str, Any]:
    seconds = [each.seconds for each in taken]
    line: dict[str, Any] = {"side": name, "seconds": spread(seconds), "rate": count / statistics.median(seconds)}
    if name != OURS:  # above 1: we are ahead
        line["times_ours"] = spread([theirs / own for theirs, own in zip(seconds, ours, strict=True)])
    keys = taken[0].besides
    return line | {"besides": {key: statistics.median(each.besides[key] for each in taken) for key in keys}}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Libraries print a line a round, some from C++: to nowhere. Exceptions say what else there is to know."""
    streams = {1: sys.stdout, 2: sys.stderr}
    kept = {number: os.dup(number) for number in streams}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number, stream in streams.items():
        stream.flush()
        os.dup2(nowhere, number)
    try:
        yield
    finally:
        os.close(nowhere)
        for number, stream in streams.items():
            stream.flush()
            os.dup2(kept[number], number)
            os.close(kept[number])
