"""What was measured of one job: from the hosts' clocks and counters to a few numbers that can be kept as JSON."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.probe import A_NUMBER_EACH, GATHERED, PLAIN

SMALL = 256  # elements; larger sums of one kind are counted together


@dataclass(frozen=True)
class Sums:
    """Sums over the hosts of one kind and element size: how many, and how many elements each has.

    elements: of a sum; where it grows with the hosts, the part of each of them
    """

    kind: int
    itemsize: int
    elements: float
    count: float

    def elements_of(self, hosts: int) -> float:
        """Elements of a sum over so many hosts."""
        return self.elements * (hosts if self.kind in (A_NUMBER_EACH, GATHERED) else 1)


@dataclass(frozen=True)
class Exchange:
    """Sums of about one size over so many hosts: how many, their mean elements, and their median seconds.

    The seconds are those of the exchange alone, from when the last host had come.
    """

    hosts: int
    elements: float
    itemsize: int
    count: int
    seconds: float


@dataclass(frozen=True)
class Run:
    """One job. Seconds and bytes are a host's, the mean over the hosts, in reading and learning if not said else.

    rows:      that a host read, of each pass
    seconds:   from the first host's beginning to the last one's end
    wall:      of the whole job: containers started, libraries loaded, hosts found, model written
    logged:    rows a second over all hosts, as the job's own log has it
    computes, waits, exchanges: parts of `seconds`: between sums, in sums until the last host came, and from then on
    stalled:   for which the CPU quota stopped the container
    sent, received: bytes on the wire, headers included; those of the whole job in `job_sent`
    """

    hosts: int
    rows: int
    seconds: float
    wall: float
    logged: float
    computes: float
    waits: float
    exchanges: float
    cpu: float
    stalled: float
    sent: float
    received: float
    job_sent: float
    sums: tuple[Sums, ...]
    sizes: tuple[Exchange, ...]

    @property
    def count(self) -> float:
        """Sums over the hosts that a clock of ours saw."""
        return sum(each.count for each in self.sums)

    @classmethod
    def of(cls, hosts: Sequence[dict[str, Any]], rows: int, wall: float) -> Run:
        """The run of what each host's probe told."""
        calls = [host["calls"] for host in hosts]
        # a host's n-th sum is every host's n-th: that is how they talk
        together = list(zip(*calls, strict=True))
        last = [max(call[0] for call in each) for each in together]
        seconds = [max(call[1] for call in each) - latest for each, latest in zip(together, last, strict=True)]
        waited = [sum(latest - call[0] for call, latest in zip(each, last, strict=True)) for each in calls]
        within = [sum(call[1] - call[0] for call in each) for each in calls]
        spans = [host["ended"] - host["began"] for host in hosts]
        mean = statistics.fmean
        return cls(
            hosts=len(hosts),
            rows=rows,
            seconds=max(host["ended"] for host in hosts) - min(host["began"] for host in hosts),
            wall=wall,
            logged=sum(host["throughput"] for host in hosts),
            computes=mean(span - inside for span, inside in zip(spans, within, strict=True)),
            waits=mean(waited),
            exchanges=mean(inside - wait for inside, wait in zip(within, waited, strict=True)),
            cpu=mean(host["cpu"] for host in hosts),
            stalled=mean(host["stalled"] for host in hosts),
            sent=mean(host["network"]["tx_bytes"] for host in hosts),
            received=mean(host["network"]["rx_bytes"] for host in hosts),
            job_sent=mean(host["network_of_the_job"]["tx_bytes"] for host in hosts),
            sums=_sums(calls[0], len(hosts)),
            sizes=_sizes(calls[0], seconds, len(hosts)),
        )

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Run:
        """The run of what `dataclasses.asdict` made of it."""
        sums = tuple(Sums(**each) for each in kept["sums"])
        return cls(**kept | {"sums": sums, "sizes": tuple(Exchange(**each) for each in kept["sizes"])})


def _sums(calls: Sequence[Sequence[float]], hosts: int) -> tuple[Sums, ...]:
    """The sums by kind and size, larger ones as large as their mean."""
    found: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    for _, _, elements, itemsize, kind in calls:
        share = elements / hosts if kind in (A_NUMBER_EACH, GATHERED) else elements
        found[int(kind), int(itemsize), alike(int(kind), share)].append(share)
    return tuple(
        Sums(kind, itemsize, statistics.fmean(shares), len(shares))
        for (kind, itemsize, _), shares in sorted(found.items())
    )


def alike(kind: int, elements: float) -> int:
    """The same number for sums that are counted together: of large ones only the bytes matter."""
    return round(elements) if kind == PLAIN and elements <= SMALL else SMALL + 1


def _sizes(calls: Sequence[Sequence[float]], seconds: Sequence[float], hosts: int) -> tuple[Exchange, ...]:
    """The exchanges by size, within a factor of two, with the median of their seconds: a stalled host is no network."""
    found: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for (_, _, elements, itemsize, _), each in zip(calls, seconds, strict=True):
        if elements:
            found[int(itemsize), round(math.log2(elements))].append((elements, each))
    return tuple(
        Exchange(hosts, statistics.fmean(e for e, _ in group), size, len(group), statistics.median(s for _, s in group))
        for (size, _), group in sorted(found.items())
    )
