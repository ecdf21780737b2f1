"""A plain model of what a job on many hosts takes, fitted to jobs on one, two and four.

The engine sums in a ring (xgboost 3.2, src/collective/allreduce.cc and allgather.cc). Of `e` elements over `H` hosts,
e >= H: each host passes on a part of 1/H of them H - 1 times to add it up, and H times, one of which a ring could do
without, to hand it round. e < H: each host's elements go round whole, H times. The bytes on the wire say so too. So

    seconds = fixed + rows of a host * seconds a row + sum over the sums (latency * rounds + bytes sent / bandwidth)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from benchmarks.scaling.probe import PLAIN
from benchmarks.scaling.runs import Exchange, Run, Sums, alike

MOST_HOSTS = 4096  # up to which hosts are looked for that do not pay any more
HOUR = 3600.0


def rounds(hosts: int, elements: float) -> int:
    """Messages that a host waits for, one after the other, until it has the sum."""
    if hosts == 1:
        return 0
    return hosts if elements < hosts else 2 * hosts - 1


def sent(hosts: int, elements: float, itemsize: int) -> float:
    """Bytes that a host sends until all have the sum, without headers."""
    return rounds(hosts, elements) * elements * itemsize / (1 if elements < hosts else hosts)


@dataclass(frozen=True)
class Wire:
    """What a message costs: seconds each, and a byte."""

    latency: float
    a_byte: float

    def seconds(self, hosts: int, sums: Iterable[Sums]) -> float:
        """Of all these sums over so many hosts."""
        total = 0.0
        for each in sums:
            e = each.elements_of(hosts)
            total += each.count * (self.latency * rounds(hosts, e) + self.a_byte * sent(hosts, e, each.itemsize))
        return total

    def over(self, bits_a_second: float, hop: float) -> Wire:
        """The same engine, with a real network between its hosts: what it takes comes on top."""
        return Wire(self.latency + hop, self.a_byte + 8 / bits_a_second)


def fitted(sizes: Iterable[Exchange]) -> Wire:
    """Latency and seconds a byte of the exchanges that were measured; the relative errors' squares are least."""
    rows, weights = [], []
    for each in sizes:
        if each.hosts > 1 and each.seconds > 0:
            cost = rounds(each.hosts, each.elements), sent(each.hosts, each.elements, each.itemsize)
            rows.append(np.array(cost) / each.seconds)
            weights.append(np.sqrt(each.count))
    if not rows:
        return Wire(0.0, 0.0)
    scale = np.array([1.0, 1e-6])  # both columns about as large
    weight = np.array(weights)
    found, _ = nnls(np.array(rows) * scale * weight[:, None], weight)
    return Wire(*(found * scale).tolist())


@dataclass(frozen=True)
class Line:
    """A quantity that grows with the rows of a host: `fixed + slope * rows`, neither below 0."""

    fixed: float
    slope: float

    @classmethod
    def through(cls, rows: Sequence[float], values: Sequence[float]) -> Line:
        """Through two points, or through the origin and the second one where that would have to begin below 0."""
        slope = max(0.0, (values[1] - values[0]) / (rows[1] - rows[0]))
        fixed = values[0] - slope * rows[0]
        return cls(fixed, slope) if fixed >= 0 else cls(0.0, values[1] / rows[1])

    def at(self, rows: float) -> float:
        return self.fixed + self.slope * rows


@dataclass(frozen=True)
class Job:
    """An algorithm's job of any length on any number of hosts.

    alone, computes: seconds of one host, and of each of several, but for their sums
    sums:            each kind of sum, how many of it there are, and how many elements they have together
    """

    alone: Line
    computes: Line
    sums: tuple[tuple[Sums, Line, Line], ...]

    @classmethod
    def of(cls, runs: Sequence[Run], beyond: int) -> Job:
        """Of the runs of one and two hosts, each with fewer and more rows a host.

        beyond: sums that only the wire tells of, as many and as large whatever the rows. Then nobody knows what two
        hosts compute, and it is taken to be what one host does.
        """
        one, two = (sorted((run for run in runs if run.hosts == n), key=lambda run: run.rows) for n in (1, 2))
        rows = [run.rows for run in two]
        alone = Line.through([run.rows for run in one], [run.seconds for run in one])
        computes = alone if beyond else Line.through(rows, [run.computes for run in two])
        every = [_by_kind(run.sums) for run in two]
        sums = [(hidden, Line(beyond, 0), Line(beyond * hidden.elements, 0)) for hidden in _hidden(two[1], beyond)]
        for key in sorted(every[0].keys() | every[1].keys()):
            known = every[1].get(key) or every[0][key]
            found = [each.get(key, replace(known, count=0)) for each in every]
            counts, elements = [each.count for each in found], [each.count * each.elements for each in found]
            sums.append((known, Line.through(rows, counts), Line.through(rows, elements)))
        return cls(alone, computes, tuple(sums))

    def seconds(self, hosts: int, rows: float, wire: Wire) -> float:
        """Of a job with so many rows a host, in which no host waits for a slower one."""
        if hosts == 1:
            return self.alone.at(rows)
        there = []
        for each, counts, elements in self.sums:
            if count := counts.at(rows):
                there.append(replace(each, count=count, elements=elements.at(rows) / count))
        return self.computes.at(rows) + wire.seconds(hosts, there)

    def efficiency(self, hosts: int, wire: Wire, *, weak: bool) -> float:
        """Of each of the hosts, beside one host that takes an hour.

        weak: each host has as many rows as that one, else they share its rows
        """
        rows = self.alone.slope and (HOUR - self.alone.fixed) / self.alone.slope
        if weak:
            return HOUR / self.seconds(hosts, rows, wire)
        return HOUR / (hosts * self.seconds(hosts, rows / hosts, wire))

    def limit(self, wire: Wire, *, weak: bool) -> int | None:
        """The least number of hosts whose efficiency is under a half; None: more than MOST_HOSTS."""
        for hosts in range(2, MOST_HOSTS + 1):
            if self.efficiency(hosts, wire, weak=weak) < 0.5:
                return hosts
        return None


def all_sums(run: Run, beyond: int) -> tuple[Sums, ...]:
    """The run's sums and, as one kind of their own, those that only the wire tells of."""
    return (*run.sums, *_hidden(run, beyond))


def _hidden(run: Run, beyond: int) -> tuple[Sums, ...]:
    """So many sums that only the wire tells of, as large as the bytes that were sent for no other."""
    if not beyond:
        return ()
    seen = sum(each.count * sent(run.hosts, each.elements_of(run.hosts), each.itemsize) for each in run.sums)
    elements = max(0.0, run.sent - seen) / (beyond * sent(run.hosts, run.hosts, 8) / run.hosts)
    return (Sums(PLAIN, 8, elements, beyond),)


def _by_kind(sums: Iterable[Sums]) -> dict[tuple[int, int, int], Sums]:
    """By what makes sums alike, whatever their number: kind, size of an element, and elements."""
    found: dict[tuple[int, int, int], Sums] = {}
    for each in sums:
        key = each.kind, each.itemsize, alike(each.kind, each.elements)
        other = found.get(key, replace(each, count=0))
        count = other.count + each.count
        mean = (other.elements * other.count + each.elements * each.count) / count
        found[key] = replace(each, elements=mean, count=count)
    return found
