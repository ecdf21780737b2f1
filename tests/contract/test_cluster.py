"""The cluster over real processes: right sums, batches in step, and no host that waits for ever for a lost one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algorithms.cluster import Cluster, connect
from algorithms.errors import PlatformError, UserError
from formats.batch import Batch

PROGRAM = Path(__file__).with_name("rank_program.py")
HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]  # loopback addresses are names that resolve everywhere
LEFT = "left before the training job was done. Please look for the reason in its own log."
LIMIT = 20  # seconds before a test gives up

Start = Callable[..., subprocess.Popen[str]]


class Finished:
    """A host's exit code and what it said, which is all it said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        out, log = process.communicate(timeout=LIMIT)
        self.code = process.returncode
        self.said: list[Any] = [json.loads(line) for line in out.splitlines()]
        assert [line for line in log.splitlines() if line and "got rank" not in line] == []


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(port: int) -> Iterator[Start]:
    """Starts `host` in a process; all that still run when the test ends are killed."""
    started: list[subprocess.Popen[str]] = []
    root = str(PROGRAM.parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def start(scenario: str, host: str, hosts: list[str], timeout: float = LIMIT, **variables: str) -> Any:
        arguments = [scenario, host, ",".join(hosts), str(port), str(timeout)]
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), *arguments],
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def program() -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("rank_program", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("size", [1, 2, 3])
def test_sums_and_broadcasts(start: Start, size: int) -> None:
    hosts = HOSTS[:size]
    processes = [start("sums", host, hosts[::-1]) for host in reversed(hosts)][::-1]
    finished = [Finished(process) for process in processes]
    assert [host.code for host in finished] == [0] * size
    for rank, host in enumerate(finished):
        assert host.said[0] == [rank, size, rank == 0, size * (size + 1) // 2]
        assert host.said[1:] == finished[0].said[1:]  # the same bits everywhere
    _, summed, large, broadcast, transposed, gathered, nothing = finished[0].said
    assert large is True
    brought = [program().arrays(rank) for rank in range(size)]
    for (dtype, shape, bits), *parts in zip(summed, *brought, strict=True):
        assert [dtype, shape] == [str(parts[0].dtype), list(parts[0].shape)]
        got = np.frombuffer(bytes.fromhex(bits), dtype).reshape(shape)
        if size == 3 and dtype.startswith("float"):  # the order of three terms is the engine's
            np.testing.assert_allclose(got, sum(parts), rtol=8 * np.finfo(dtype).eps)
        else:
            np.testing.assert_array_equal(got, sum(parts))
    signs = np.array([-0.0, np.nan, 0.1, -np.inf]).tobytes().hex()
    assert broadcast == [["float64", [4, 1], signs]] * 2
    assert transposed == ["int32", [3, 2], np.array([[0, 3], [1, 4], [2, 5]], np.int32).tobytes().hex()]
    assert gathered == [
        ["float32", [rank, 3], np.array([[np.nan, rank, -0.0]] * rank, np.float32).tobytes().hex()]
        for rank in range(size)
    ]
    assert nothing == [["int64", [0], ""]] * size


def test_hosts_stay_in_step_until_the_last_has_no_batch(start: Start) -> None:
    finished = [Finished(process) for process in [start("uneven", host, HOSTS) for host in HOSTS]]
    assert [host.code for host in finished] == [0, 0, 0]
    assert [host.said for host in finished] == [
        [[[2, 4], [2, 4], [2, 4]]],
        [[[0, 4], [0, 4], [0, 4]]],
        [[[2, 4], [0, 4], [0, 4]]],
    ]


def test_a_stop_on_one_host_stops_all_in_the_same_step(start: Start) -> None:
    finished = [Finished(process) for process in [start("stopped", host, HOSTS[:2]) for host in HOSTS[:2]]]
    assert [(host.code, host.said) for host in finished] == [(0, [3]), (0, [3])]


def test_hosts_that_need_nothing_of_each_other_end_together(start: Start) -> None:
    """Meeting after each batch, or seldom: each reads all of its own, and a stop of one ends all."""
    finished = [Finished(process) for process in [start("together", host, HOSTS) for host in HOSTS]]
    assert [host.code for host in finished] == [0, 0, 0]
    assert [host.said for host in finished] == [
        [[2, 2, 2], [2, 2, 2], True],
        [[], [], True],
        [[2], [2], 3],
    ]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_host_ends_the_job_of_the_others(start: Start, size: int, victim: int) -> None:
    processes = [start("loop", host, HOSTS[:size], timeout=600) for host in HOSTS[:size]]
    assert [json.loads(process.stdout.readline()) for process in processes] == ["stepping"] * size  # type: ignore[union-attr]
    processes.pop(victim).kill()
    who = f"host {HOSTS[victim]}" if size == 2 else "one of the 2 other hosts"
    for host in map(Finished, processes):
        assert (host.code, host.said) == (3, [f"PlatformError: {who} {LEFT}"])


def test_a_killed_host_is_noticed_even_when_the_engine_does_not(start: Start) -> None:
    processes = [start("deaf", host, HOSTS[:2], timeout=600) for host in HOSTS[:2]]
    assert [json.loads(process.stdout.readline()) for process in processes] == ["stepping"] * 2  # type: ignore[union-attr]
    processes.pop().kill()
    host = Finished(processes[0])
    assert (host.code, host.said) == (3, [f"PlatformError: host {HOSTS[1]} {LEFT}"])


@pytest.mark.parametrize("victim", [0, 1])
def test_a_frozen_host_ends_the_job_of_the_other_after_the_timeout(start: Start, victim: int) -> None:
    processes = [start("loop", host, HOSTS[:2], timeout=4) for host in HOSTS[:2]]
    assert [json.loads(process.stdout.readline()) for process in processes] == ["stepping"] * 2  # type: ignore[union-attr]
    processes[victim].send_signal(signal.SIGSTOP)
    host = Finished(processes[1 - victim])
    sentence = f"host {HOSTS[victim]} did not answer for 4 s; it is frozen or cannot be reached."
    assert (host.code, host.said) == (3, [f"PlatformError: {sentence}"])


@pytest.mark.parametrize("faulty", [0, 1])
def test_a_failing_host_keeps_its_own_error_and_the_other_notices(start: Start, faulty: int) -> None:
    processes = [start("faulty", host, HOSTS[:2], timeout=600, FAULTY_RANK=str(faulty)) for host in HOSTS[:2]]
    finished = [Finished(process) for process in processes]
    assert (finished[faulty].code, finished[faulty].said) == (2, ["ClientError: row 3 is not a number"])
    other = finished[1 - faulty]
    assert (other.code, other.said) == (3, [f"PlatformError: host {HOSTS[faulty]} {LEFT}"])


def test_hosts_that_wait_for_one_that_never_comes(start: Start) -> None:
    hosts = [*HOSTS[:2], "nowhere.invalid"]
    waiting = [start("loop", host, hosts, timeout=4) for host in hosts[:2]]
    told = [Finished(process) for process in waiting]
    absent = "not all of the 3 hosts of the training job came within 4 s; no address is known for nowhere.invalid."
    gone = "one of the 2 other hosts left before all hosts of the training job had come."
    assert [host.code for host in told] == [3, 3]
    assert {host.said[0] for host in told} <= {f"PlatformError: {absent}", f"PlatformError: {gone}"}
    assert f"PlatformError: {absent}" in told[0].said + told[1].said


def test_a_leader_that_does_not_listen(start: Start, port: int) -> None:
    host = Finished(start("loop", HOSTS[1], HOSTS[:2], timeout=2))
    assert (host.code, host.said) == (
        3,
        [
            f"PlatformError: host 127.0.0.1, the first of the training job, did not answer at 127.0.0.1, port {port}, "
            "within 2 s. Please check that it runs and that the port is open."
        ],
    )


def test_a_leader_without_a_name(start: Start) -> None:
    host = Finished(start("loop", "zz", ["nowhere.invalid", "zz"], timeout=1))
    assert (host.code, host.said) == (
        3,
        [
            "PlatformError: not all of the 2 hosts of the training job came within 1 s; "
            "no address is known for nowhere.invalid, zz."
        ],
    )


def test_hosts_that_were_given_different_names(start: Start) -> None:
    lists = [HOSTS[:2], HOSTS]
    processes = [start("loop", host, names) for host, names in zip(HOSTS, lists, strict=False)]
    for process, host, names in zip(processes, HOSTS, lists, strict=False):
        finished = Finished(process)
        assert finished.code == 3
        assert finished.said == [
            "PlatformError: the hosts of this training job were given different names; this one is "
            f"'{host}' of {', '.join(names)}. Please give all of them the same list, and each its own name in it."
        ]


def test_a_port_that_is_taken(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("", port))
        taken.listen()
        with pytest.raises(PlatformError) as failure, connect(HOSTS[:2], HOSTS[0], port, 1):
            pass
    assert str(failure.value) == (
        f"host 127.0.0.1 cannot listen on port {port}. Please set INBUILT_CLUSTER_PORT to a port that is free on the "
        "first host, on all hosts."
    )


def test_one_host_needs_no_engine() -> None:
    array = np.ones((2, 3), np.float32)
    with connect(["algo-1"], "algo-1") as cluster:
        assert cluster.all_reduce(array) is array
        assert (cluster.rank, cluster.size, cluster.is_leader, cluster.total(5)) == (0, 1, True, 5)
    [gathered] = cluster.gather(array)
    assert np.array_equal(gathered, array)


@pytest.mark.parametrize("loop", ["in_step", "together"])
def test_one_host_stops_before_its_next_batch(loop: str) -> None:
    seen: list[Batch] = []
    batches = (Batch(np.zeros((rows, 2), np.float32)) for rows in (1, 2, 3, 4))
    one, width = Cluster(), (2,) if loop == "in_step" else ()
    seen.extend(getattr(one, loop)(batches, *width, lambda: len(seen) == 2))
    assert [len(batch) for batch in seen] == [1, 2]
    assert len(next(batches)) == 3  # a stop reads nothing more


@pytest.mark.parametrize(
    ("error", "exit_code", "prefix"), [(UserError, 2, "ClientError: "), (PlatformError, 3, "PlatformError: ")]
)
def test_errors_say_whose_fault_it_is(error: type[UserError | PlatformError], exit_code: int, prefix: str) -> None:
    assert (error.exit_code, error.prefix) == (exit_code, prefix)
