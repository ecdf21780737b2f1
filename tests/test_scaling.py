"""What the benchmark of several hosts makes of clocks and counters, and its model of more hosts, by hand."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from benchmarks.scaling.model import HOUR, Job, Line, Wire, fitted, rounds, sent
from benchmarks.scaling.probe import A_NUMBER_EACH, GATHERED, PLAIN
from benchmarks.scaling.runs import Exchange, Run, Sums
from benchmarks.scaling.tables import tables


def host(
    began: float, ended: float, calls: list[tuple[float, float, int, int, int]], sent: int = 100
) -> dict[str, Any]:
    wire = {"tx_bytes": sent, "rx_bytes": 7}
    times = {"began": began, "ended": ended, "cpu": 0.5, "stalled": 0.0, "throughput": 10.0}
    return times | {"calls": calls, "network": wire, "network_of_the_job": wire}


def test_waiting_ends_when_the_last_host_comes_to_the_sum() -> None:
    early = host(0.0, 5.0, [(1.0, 3.5, 1, 8, PLAIN)])
    late = host(1.0, 5.0, [(3.0, 3.25, 1, 8, PLAIN)], sent=200)
    run = Run.of([early, late], rows=10, wall=9.0)
    assert (run.hosts, run.rows, run.seconds, run.wall, run.logged) == (2, 10, 5.0, 9.0, 20.0)
    # the early host waits for 2 s, then both exchange; it is told 0.25 s later
    assert run.waits == pytest.approx((2.0 + 0.0) / 2)
    assert run.exchanges == pytest.approx((0.5 + 0.25) / 2)
    assert run.computes == pytest.approx(((5.0 - 2.5) + (4.0 - 0.25)) / 2)
    assert (run.sent, run.received) == (150.0, 7.0)
    assert run.sizes == (Exchange(hosts=2, elements=1.0, itemsize=8, count=1, seconds=0.5),)


def test_a_run_is_kept_as_json_keeps_it() -> None:
    run = Run.of([host(0.0, 1.0, [(0.1, 0.2, 300, 4, PLAIN), (0.3, 0.4, 310, 4, PLAIN)])] * 2, rows=3, wall=2.0)
    assert run.sums == (Sums(PLAIN, 4, 305.0, 2),)  # of about one size
    assert Run.read(asdict(run)) == run


@pytest.mark.parametrize(("kind", "elements"), [(PLAIN, 12.0), (A_NUMBER_EACH, 192.0), (GATHERED, 192.0)])
def test_what_hosts_gather_grows_with_them(kind: int, elements: float) -> None:
    assert Sums(kind, 8, 12.0, 1).elements_of(16) == elements


def test_the_ring_by_hand() -> None:
    # a part of a quarter goes three times to be added and four times to be handed round
    assert (rounds(4, 100), sent(4, 100, 8)) == (7, 7 * 25 * 8)
    assert (rounds(4, 3), sent(4, 3, 8)) == (4, 4 * 3 * 8)  # too few to be divided: whole, four times
    assert (rounds(1, 100), sent(1, 100, 8)) == (0, 0)


def test_the_fit_finds_the_wire_that_made_the_times() -> None:
    wire = Wire(latency=2e-4, a_byte=3e-9)
    sizes = [
        Exchange(hosts, e, 8, 5, wire.seconds(hosts, [Sums(PLAIN, 8, e, 1)])) for hosts in (2, 4) for e in (1, 50, 1e6)
    ]
    found = fitted(sizes)
    assert found.latency == pytest.approx(wire.latency)
    assert found.a_byte == pytest.approx(wire.a_byte)


def test_a_network_adds_to_messages_and_bytes() -> None:
    wire = Wire(1e-4, 1e-9).over(8e9, 5e-5)
    assert (wire.latency, wire.a_byte) == (pytest.approx(1.5e-4), pytest.approx(2e-9))


def test_a_line_never_begins_below_nothing() -> None:
    assert Line.through([10, 20], [7, 12]) == Line(2, 0.5)
    assert Line.through([10, 20], [4, 12]) == Line(0, 0.6)
    assert Line.through([10, 20], [12, 11]) == Line(12, 0)


def runs(sums_a_row: float, of_bytes: float = 0) -> list[Run]:
    """Jobs of 1 s and 1 ms a row, with a sum of ten numbers for every so many rows."""
    made = []
    for hosts, rows in ((1, 100), (1, 400), (2, 100), (2, 200)):
        sums = (Sums(PLAIN, 8, 10.0, rows * sums_a_row),) if hosts > 1 and sums_a_row else ()
        seconds = 1 + rows / 1000
        made.append(Run(hosts, rows, seconds, 9.0, 0.0, seconds, 0, 0, 0, 0, of_bytes, 0, 0, sums, ()))
    return made


def test_efficiency_by_hand() -> None:
    job = Job.of(runs(sums_a_row=0.01), beyond=0)
    free, slow = Wire(0, 0), Wire(0.01, 0)
    rows = (HOUR - 1) * 1000
    assert job.efficiency(8, free, weak=True) == pytest.approx(1)
    assert job.efficiency(8, free, weak=False) == pytest.approx(HOUR / 8 / (1 + rows / 8 / 1000))
    # a sum every 100 rows of 1 ms, and 15 messages of 10 ms
    assert job.efficiency(8, slow, weak=True) == pytest.approx(HOUR / (1 + rows / 1000 * (1 + 1.5)))


def test_the_limit_is_where_half_of_the_time_is_lost() -> None:
    job = Job.of(runs(sums_a_row=0.01), beyond=0)
    limit = job.limit(Wire(0.005, 0), weak=True)
    assert limit == 21  # from 11 hosts on, 10 numbers go whole, in as many messages: 5 ms each, beside 100 ms of rows
    assert Job.of(runs(0), beyond=0).limit(Wire(0.005, 0), weak=True) is None


def test_sums_of_a_library_are_known_from_the_wire() -> None:
    seen, hidden = sent(2, 10.0, 8), sent(2, 1000.0, 8)
    measured = [replace(run, sent=run.sent and seen * run.rows * 0.01 + 3 * hidden) for run in runs(0.01, 1)]
    job = Job.of(measured, beyond=3)
    [(counts, elements)] = [(counts, elements) for sums, counts, elements in job.sums if sums.elements > 10]
    assert (counts.at(400), elements.at(400)) == (pytest.approx(3), pytest.approx(3000))


def test_the_tables_by_hand() -> None:
    four = Run(4, 100, 1.1, 9.0, 0.0, 0.6, 0.3, 0.2, 0, 0, 3e6, 2e6, 0, (Sums(PLAIN, 8, 10.0, 5),), ())
    kept = {"cpus": 0.5, "works": {"any": {"passes": 1, "beyond": 0}}}
    text = tables(kept | {"runs": {"any": [asdict(run) for run in (*runs(0.01), four)]}}, hop=5e-5)
    assert "| `any` | same for each host | 100 | 91 | 182 | 364 | 2.00 | 4.00 |" in text
    assert "| `any` | same in all | 400, 200, 100 | 286 | 333 | 364 | 1.17 | 1.27 |" in text
    assert "| `any` | 5 | 80 | 3.00 MB | 2.00 MB | 0.60 s | 0.30 s | 0.20 s |" in text
    # for every 100 ms of rows, 10 numbers go whole through 32 hosts, or 256: 50 µs each
    assert "| `any` | same for each host | 98% | 98% | 89% | 89% |" in text
