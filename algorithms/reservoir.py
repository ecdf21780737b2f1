"""Uniform samples of streams: which rows enter a reservoir, and how many of each host's make a sample of all.

Vitter, "Random Sampling with a Reservoir", ACM TOMS 11, 1985, algorithm R: row t of the stream, from 0, goes to slot t
while there are any, then to slot r, drawn from 0..t, if there is one. A row draws one number, whatever batch it is in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def random_bits(seed: int, purpose: int, rank: int = 0) -> np.random.PCG64:
    """Bits of their own for each purpose (1, 2, ...) and host: 0 is left out, for [seed, 0] seeds like [seed]."""
    return np.random.PCG64([seed, purpose, rank + 1])


def entering(bits: np.random.PCG64, seen: int, n: int, size: int) -> tuple[Numbers, Numbers]:
    """Which of the next n rows of a stream, of which `seen` have gone by, enter `size` slots.

    Returns these rows, 0 <= row < n in their order, and their slots. Of several that come to one slot the last stays.
    """
    t = np.arange(seen, seen + n)
    filled = min(max(size - seen, 0), n)
    if filled == n:
        return np.arange(n), t
    # 53 bits, so that a slot's probability is off by 2**-53 of the number of rows at most
    uniform = (bits.random_raw(n - filled) >> np.uint64(11)) * 2.0**-53
    t[filled:] = (uniform * (t[filled:] + 1)).astype(np.int64)
    entered = np.flatnonzero(t < size)
    shift = n.bit_length()  # slot and row in one number, which NumPy sorts many times as fast as by two
    ordered = np.sort((t[entered] << shift) | entered)
    slots = ordered >> shift
    last = np.append(slots[1:] != slots[:-1], True)[: len(slots)]
    stays = np.zeros(n, np.bool_)
    stays[ordered[last] & ((1 << shift) - 1)] = True
    rows = np.flatnonzero(stays)
    return rows, t[rows]


def parts_of_hosts(seen: Numbers, size: int, random: np.random.Generator) -> Numbers:
    """How many of `size` rows come from each host, of the numbers of rows that they have seen; (hosts,).

    Multivariate hypergeometric. Raises ValueError for a size that is too large to be drawn from so many rows.
    """
    total = int(seen.sum())
    if total <= size:
        return seen
    # NumPy draws from fewer than 10**9 rows; of more, hosts of as many times fewer rows are as good as the same
    fewer = seen >> max(0, total.bit_length() - 29)
    if size > fewer.sum():
        raise ValueError(f"must be at most {fewer.sum()} for {total} rows on several hosts, got {size}")
    return random.multivariate_hypergeometric(fewer, size, method="marginals")
