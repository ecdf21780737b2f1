"""This host's part in the engine that adds what hosts have: `xgboost.collective`.

A tracker on the leader brings the hosts together, then they talk in a ring.
"""

from __future__ import annotations

import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from numpy.typing import NDArray

from algorithms.errors import PlatformError
from algorithms.job import NothingLearned
from algorithms.report import log

Result = TypeVar("Result")

PAUSE = 0.25  # seconds between two attempts to find or reach a host that is not up yet
TIME_WAIT = 60.0  # seconds for which Linux keeps the port of a job that ran here before
WATCH = 2.0  # seconds between two looks at the connections of a sum that takes long
PARTING = 5.0  # seconds for saying goodbye; nothing depends on it


class Ring:
    """This host's part in the engine.

    The engine lives in a thread of its own, which is abandoned when a host is lost: its calls cannot be cancelled, one
    in some hundred never notices that a connection was closed (xgboost 3.2), and its destructors, which run when the
    thread that made it ends, would wait for the lost host too. Meanwhile the main thread watches the connections, can
    give up, and still handles signals.
    """

    def __init__(
        self, hosts: Sequence[str], current_host: str, timeout: float, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        from xgboost import collective, core  # not at the top: one host needs no engine, and it is slow to import

        self._hosts = hosts
        self._name = current_host
        self._timeout = timeout
        self._stopped = stopped
        self._collective = collective
        self._error = core.XGBoostError
        self._tracker: Any = None
        self._links: list[socket.socket] = []
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="cluster")
        self._thread.start()

    def join(self, port: int) -> tuple[int, int]:
        """Waits until all hosts are in the ring; this host's rank and their number, as the tracker has them."""
        deadline = time.monotonic() + self._timeout
        leads = self._name == self._hosts[0]
        found = self._address(self._hosts[1:] if leads else self._hosts[:1], deadline)
        address = self._listen(found, port, deadline) if leads else found
        place = {
            "dmlc_communicator": "rabit",
            "dmlc_tracker_uri": address,
            "dmlc_tracker_port": port,
            "dmlc_task_id": self._name,  # the tracker ranks the hosts in its order
            "dmlc_retry": 1,
            "dmlc_timeout": math.ceil(self._timeout) + 60,  # seconds; the engine's must not come before ours
        }
        others = "the other hosts" if leads else f"host {self._hosts[0]}"
        log.info("waiting for %s at %s, port %d, for at most %g s", others, address, port, self._timeout)
        before = _sockets()
        while True:
            try:
                joined = self._submit(lambda: self._collective.init(**place))
                latest = max(deadline, time.monotonic() + 1)
                while not wait([joined], PAUSE).done and time.monotonic() < latest:
                    self._heed_stop()
                joined.result(0)
                break
            except TimeoutError:
                raise PlatformError(self._absence()) from None
            except self._error as error:
                if "connect to the tracker" not in str(error):
                    raise PlatformError(
                        f"{self._others()} left before all hosts of the training job had come."
                    ) from error
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"host {self._hosts[0]}, the first of the training job, did not answer at {address}, port {port}, "
                    f"within {self._timeout:g} s. Please check that it runs and that the port is open."
                )
            self._pause()
        self._links = _connections(_sockets() - before, port)
        rank, size = self._call(lambda: (self._collective.get_rank(), self._collective.get_world_size()), PARTING)
        return rank, size

    def add(self, array: NDArray[Any]) -> NDArray[Any]:
        """The sum of the hosts' arrays."""
        if array.size == 0:  # the engine refuses to send nothing
            return array
        flat = self.run(lambda: self._collective.allreduce(array, self._collective.Op.SUM), self._timeout)
        summed: NDArray[Any] = flat.reshape(array.shape)
        return summed

    def run(self, function: Callable[[], Result], timeout: float = math.inf) -> Result:
        """What `function` returns, called in the engine's thread, where xgboost is connected to the other hosts.

        Raises PlatformError when another host left, or after `timeout` seconds.
        """
        if threading.current_thread() is self._thread:
            return function()
        future = self._submit(function)
        frozen = time.monotonic() + timeout
        try:
            while not wait([future], min(WATCH, timeout)).done and time.monotonic() < frozen:
                if self._somebody_left():
                    frozen = min(frozen, time.monotonic() + WATCH)  # unless its last bytes are still on the way
            return future.result(0)
        except (self._error, TimeoutError) as error:
            if isinstance(error, TimeoutError) and not self._somebody_left():
                raise PlatformError(
                    f"{self._others()} did not answer for {timeout:g} s; it is frozen or cannot be reached."
                ) from None
            if timeout == math.inf and not self._somebody_left(WATCH):
                raise  # what xgboost itself has to say of the function
            raise PlatformError(
                f"{self._others()} left before the training job was done. Please look for the reason in its own log."
            ) from error

    def leave(self, done: bool) -> None:
        """Closes the connections; if all hosts are done, the leader goes last, because the tracker is with it."""
        with suppress(self._error, ValueError, TimeoutError):  # nothing depends on a farewell
            if done:
                self._call(self._collective.finalize, PARTING)
            if done and self._tracker is not None:
                self._call(lambda: self._tracker.wait_for(timeout=int(PARTING)), 2 * PARTING)
        for link in self._links:
            with suppress(OSError):  # the other side was faster
                link.shutdown(socket.SHUT_RDWR)  # the engine holds it too, so closing would not be seen
            link.close()

    def _pause(self) -> None:
        self._heed_stop()
        time.sleep(PAUSE)

    def _heed_stop(self) -> None:
        if self._stopped():
            raise NothingLearned

    def _somebody_left(self, patience: float = 0) -> bool:
        watch = select.poll()
        for link in self._links:
            watch.register(link, select.POLLRDHUP)
        return bool(watch.poll(1000 * patience))

    def _serve(self) -> None:
        from xgboost import set_config

        set_config(verbosity=0)  # of this thread; it would warn of every attempt to reach a leader that is not up yet
        while True:
            future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:  # whatever it is, it belongs to the thread that waits
                future.set_exception(error)

    def _submit(self, function: Callable[[], Result]) -> Future[Result]:
        future: Future[Result] = Future()
        self._calls.put((future, function))
        return future

    def _call(self, function: Callable[[], Result], timeout: float) -> Result:
        return self._submit(function).result(timeout)

    def _listen(self, peer: str, port: int, deadline: float) -> str:
        """Starts the tracker; this host's address as `peer` sees it, which its own name may not give (127.0.1.1)."""
        from xgboost.tracker import RabitTracker

        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, port))  # sends nothing, but chooses the interface, without a default route too
            address = str(probe.getsockname()[0])
        every = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104  others may know us by another address
        freed = min(deadline, time.monotonic() + TIME_WAIT)
        while True:
            try:
                self._tracker = RabitTracker(n_workers=len(self._hosts), host_ip=every, port=port, sortby="task")
                self._tracker.start()
                return address
            except self._error as error:
                if time.monotonic() > freed:
                    raise PlatformError(
                        f"host {self._name} cannot listen on port {port}. Please set INBUILT_CLUSTER_PORT to a port "
                        "that is free on the first host, on all hosts."
                    ) from error
            self._pause()

    def _address(self, names: Sequence[str], deadline: float) -> str:
        """The address of the first of `names` that has one by now; names of containers come and go with them."""
        said = False
        while True:
            for name in names:
                with suppress(OSError):
                    return _resolve(name)
            if time.monotonic() > deadline:
                raise PlatformError(self._absence())
            if not said:
                log.info("waiting for the name of %s to resolve", " or ".join(names))
                said = True
            self._pause()

    def _absence(self) -> str:
        unknown = []
        for name in self._hosts:
            try:
                _resolve(name)
            except OSError:
                unknown.append(name)
        found = f"; no address is known for {', '.join(unknown)}" if unknown else ""
        return f"not all of the {len(self._hosts)} hosts of the training job came within {self._timeout:g} s{found}."

    def _others(self) -> str:
        others = [name for name in self._hosts if name != self._name]
        return f"host {others[0]}" if len(others) == 1 else f"one of the {len(others)} other hosts"


def _resolve(name: str) -> str:
    """An address of a host, IPv4 if it has one; raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def _sockets() -> set[tuple[str, int]]:
    """The kernel's name and the descriptor of each socket of this process."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # closed since it was listed
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if name.startswith("socket:"):
                found.add((name, int(descriptor)))
    return found


def _connections(sockets: set[tuple[str, int]], tracker_port: int) -> list[socket.socket]:
    """Handles of our own for those of `sockets` that are connected to other hosts, the tracker's not counted."""
    links = []
    for _, descriptor in sorted(sockets):
        with suppress(OSError), ExitStack() as unwanted:  # closed meanwhile, or a listener
            link = unwanted.enter_context(socket.socket(fileno=os.dup(descriptor)))
            if tracker_port not in (link.getsockname()[1], link.getpeername()[1]):
                links.append(link)
                unwanted.pop_all()
    return links
