"""One host of a cluster in a process of its own, for test_cluster.py.

Arguments: SCENARIO HOST HOSTS PORT TIMEOUT. Prints a JSON line for each result.
Ends as a training job does: with the exit code and the sentence of its error.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from xgboost import collective

from algorithms.cluster import Cluster, connect
from algorithms.errors import PlatformError, UserError
from formats.batch import Batch


def say(result: object) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def described(array: np.ndarray) -> list[object]:
    return [str(array.dtype), list(array.shape), array.tobytes().hex()]


def arrays(rank: int) -> list[np.ndarray]:
    """What host `rank` brings: every dtype, from none to three axes, without rows, not contiguous."""
    random = np.random.default_rng(rank)
    return [
        np.array([0.1, 1e16, -1e-300]) * (rank + 1),
        np.array([[1, 2], [3, 2**40]], np.int64) << rank,
        np.array(7 - rank, np.int32),
        np.empty((0, 5), np.float32),
        random.random((4, 6))[::2, ::-3],
        random.random((6, 4), np.float32).T,
        random.random((3, 20, 37), np.float32),
    ]


def sums(cluster: Cluster) -> None:
    say([cluster.rank, cluster.size, cluster.is_leader, cluster.total(cluster.rank + 1)])
    say([described(cluster.all_reduce(array)) for array in arrays(cluster.rank)])
    large = np.arange(2_000_000, dtype=np.float32)
    say(np.array_equal(cluster.all_reduce(large), large * cluster.size))
    signs = np.array([[-0.0, np.nan, 0.1, -np.inf]]).T
    other = np.full((4, 1), 3.0)
    say(
        [described(cluster.broadcast(signs if cluster.rank == root else other, root)) for root in (0, cluster.size - 1)]
    )
    say(described(cluster.broadcast(np.arange(6, dtype=np.int32).reshape(2, 3).T * (1 - cluster.rank))))
    say([described(array) for array in cluster.gather(rows(cluster.rank))])
    say([described(array) for array in cluster.gather(np.empty(0, np.int64))])


def rows(rank: int) -> np.ndarray:
    """As many as the rank says, not contiguous, the first number of each without a value."""
    array = np.full((3, rank), -0.0, np.float32)
    array[0] = np.nan
    array[1] = rank
    return array.T


def uneven(cluster: Cluster) -> None:
    """Host 0 has three batches, host 1 has none, host 2 has one."""
    batches = [Batch(np.full((2, 4), step, np.float32)) for step in range((3, 0, 1)[cluster.rank])]
    say([[len(batch), batch.width] for batch in cluster.in_step(batches, 4, lambda: False)])


def stopped(cluster: Cluster) -> None:
    """The last host is told to stop while it works on its third batch; the others have batches without end."""
    seen: list[Batch] = []
    last = cluster.rank == cluster.size - 1
    seen.extend(cluster.in_step(endless(), 4, lambda: last and len(seen) == 3))
    say(len(seen))


def together(cluster: Cluster) -> None:
    """Host 0 has three batches, host 1 has none, host 2 has one; then the last host is told to stop after three."""
    for seconds in (0.0, 60.0):
        batches = [Batch(np.full((2, 4), step, np.float32)) for step in range((3, 0, 1)[cluster.rank])]
        say([len(batch) for batch in cluster.together(batches, lambda: False, seconds)])
    seen: list[Batch] = []
    last = cluster.rank == cluster.size - 1
    for batch in cluster.together(endless(), lambda: last and len(seen) == 3, 0.2):
        time.sleep(0.01)
        seen.append(batch)
    say(len(seen) if last else len(seen) >= 1)


def loop(cluster: Cluster) -> None:
    """Steps until something happens to one of the hosts."""
    say("stepping")
    for _ in cluster.in_step(endless(), 4, lambda: False):
        time.sleep(0.01)


def deaf(cluster: Cluster) -> None:
    """Host 0's engine never returns from a sum, as it sometimes does when a connection was closed."""
    if cluster.is_leader:
        collective.allreduce = lambda *_: time.sleep(600)
    loop(cluster)


def faulty(cluster: Cluster) -> None:
    """One host, named by the environment, finds a mistake in its third batch."""
    for step, _ in enumerate(cluster.in_step(endless(), 4, lambda: False)):
        if step == 2 and cluster.rank == int(os.environ["FAULTY_RANK"]):
            raise UserError("row 3 is not a number")


def endless() -> Iterator[Batch]:
    return itertools.repeat(Batch.empty(4))


SCENARIOS: dict[str, Callable[[Cluster], None]] = {
    f.__name__: f for f in (sums, uneven, stopped, together, loop, deaf, faulty)
}


def main() -> int:
    scenario, host, hosts, port, timeout = sys.argv[1:]
    try:
        with connect(hosts.split(","), host, int(port), float(timeout)) as cluster:
            SCENARIOS[scenario](cluster)
    except (UserError, PlatformError) as error:
        say(f"{error.prefix}{error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
