"""The tables of a run of scale_hosts.py, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.scaling.model import MOST_HOSTS, Job, Wire, all_sums, fitted
from benchmarks.scaling.runs import Run

HOSTS = (1, 2, 4)
FORESEEN = (32, 256)
MOST_EFFICIENT = 1.2  # more is no efficiency: other programs have taken the measured hosts' time
NETWORKS = {"10 Gbit/s": 10e9, "25 Gbit/s": 25e9}


def tables(kept: Mapping[str, Any], hop: float) -> str:
    """All of what scale_hosts.py keeps, with what must be known to read it. hop: seconds that a network adds."""
    cpus, works = kept["cpus"], kept["works"]
    runs = {name: [Run.read(run) for run in found] for name, found in kept["runs"].items()}
    wire = fitted(size for found in runs.values() for run in found for size in run.sizes)
    jobs = {name: Job.of(found, works[name]["beyond"]) for name, found in runs.items()}
    nets = {name: wire.over(bits, hop) for name, bits in NETWORKS.items()}
    return "\n\n".join(
        (
            f"Each host is a container with {cpus:g} CPU, which four of them have as their own on a machine of "
            f"{4 * cpus:g} cores. Rows a second, of reading and learning, over all hosts and each pass counted:",
            _table(
                ("algorithm", "rows", "of a host", "1 host", "2 hosts", "4 hosts", "speed-up of 2", "of 4"),
                [line for name, found in runs.items() for line in _measured(name, found, works[name]["passes"])],
            ),
            "On four hosts, each with as many rows as the one in the first line of its algorithm. A host's bytes are "
            "those on the wire, headers included. A host waits from when it has come to a sum until the last one has; "
            "what the CPU quota stopped it for is in all three parts.",
            _table(
                ("algorithm", "sums", "bytes of one", "sent", "received", "computes", "waits", "exchanges"),
                [_parts(name, found, works[name]["beyond"]) for name, found in runs.items()],
            ),
            "What follows is a guess at orders of magnitude: the model knows no waiting, and on four hosts is off by "
            "(model / measured - 1) "
            + ", ".join(f"`{name}` {_off(job, runs[name], wire):+.0%}" for name, job in jobs.items())
            + ".",
            f"A message between two containers takes {1e6 * wire.latency:.0f} µs, each byte {1e9 * wire.a_byte:.2f} "
            f"ns more: the fit to all exchanges. A real network is taken to add {1e6 * hop:.0f} µs to each message, "
            "which is assumed, and the time of the bytes. So a host's efficiency, beside one host that takes an hour, "
            "and the number of hosts from which it is under 50 %. Unclear is what comes out above "
            f"{MOST_EFFICIENT:.0%}: other programs have taken the measured hosts' time.",
            _table(
                (
                    "algorithm",
                    "rows",
                    *(f"{n}, {net}" for n in FORESEEN for net in nets),
                    *(f"50 %, {n}" for n in nets),
                ),
                [line for name, job in jobs.items() for line in _foreseen(name, job, nets)],
            ),
        )
    )


def of_hosts(runs: Iterable[Run], hosts: int) -> list[Run]:
    """The runs on so many hosts, the one with fewer rows a host first."""
    return sorted((run for run in runs if run.hosts == hosts), key=lambda run: run.rows)


def weak_and_strong(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs with the same rows on each host, and with the same rows on all together; four hosts are in both."""
    one, two, four = (of_hosts(runs, n) for n in HOSTS)
    return {"same for each host": [one[0], two[0], four[0]], "same in all": [one[-1], two[-1], four[-1]]}


def rate(run: Run, passes: int) -> float:
    """Rows a second over all hosts."""
    return run.hosts * run.rows * passes / run.seconds


def _measured(name: str, runs: Sequence[Run], passes: int) -> Iterable[tuple[str, ...]]:
    for kind, three in weak_and_strong(runs).items():
        rates = [rate(run, passes) for run in three]
        shares = ", ".join(f"{run.rows:,}" for run in (three[:1] if kind != "same in all" else three))
        yield (
            f"`{name}`",
            kind,
            shares,
            *(f"{each:,.0f}" for each in rates),
            *(f"{each / rates[0]:.2f}" for each in rates[1:]),
        )


def _parts(name: str, runs: Sequence[Run], beyond: int) -> tuple[str, ...]:
    run, alone = of_hosts(runs, 4)[0], of_hosts(runs, 1)[0]
    sums = all_sums(run, beyond)
    count = sum(each.count for each in sums)
    payload = sum(each.count * each.elements_of(4) * each.itemsize for each in sums)
    wire = (f"{payload / count:,.0f}", f"{run.sent / 1e6:,.2f} MB", f"{run.received / 1e6:,.2f} MB")
    if beyond:  # within the library nobody tells waiting from exchanging: what is more than one host takes
        times = (f"{alone.seconds:.2f} s", f"{max(0.0, run.seconds - alone.seconds):.2f} s together", "")
    else:
        times = (f"{run.computes:.2f} s", f"{run.waits:.2f} s", f"{run.exchanges:.2f} s")
    return f"`{name}`", f"{count:,.0f}", *wire, *times


def _foreseen(name: str, job: Job, nets: Mapping[str, Wire]) -> Iterable[tuple[str, ...]]:
    for kind, weak in (("same for each host", True), ("same in all", False)):
        efficiencies = [job.efficiency(n, wire, weak=weak) for n in FORESEEN for wire in nets.values()]
        limits = [job.limit(wire, weak=weak) for wire in nets.values()]
        cells = [f"{each:.0%}" for each in efficiencies]
        cells += [f"over {MOST_HOSTS:,}" if each is None else f"{each:,} hosts" for each in limits]
        if max(efficiencies) > MOST_EFFICIENT:
            cells = ["unclear"] * len(cells)
        yield f"`{name}`", kind, *cells


def _off(job: Job, runs: Sequence[Run], wire: Wire) -> float:
    run = of_hosts(runs, 4)[0]
    return job.seconds(4, run.rows, wire) / run.seconds - 1


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *rest = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join((first, "|---" * len(head) + "|", *rest))
