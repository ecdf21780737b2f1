"""The rows of a channel as they are learned from: labels checked, in blocks of mini-batches, each host its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.job import Paths
from formats import Batch, Expected, FormatError

BINARY_LABELS = "0 or 1 for predictor_type 'binary_classifier'"
WITHOUT_LABELS = "the rows have no labels; please give every row one, in CSV as its first column."


def label_check(classes: int, rule: str) -> Callable[[Batch, int], None]:
    """What is asked of labels: to be there and, of `classes` > 0, to be the number of one. Raises FormatError.

    rule: what a label must be, in words
    """

    def check(batch: Batch, first_row: int) -> None:
        y = batch.labels
        if y is None:
            raise FormatError(WITHOUT_LABELS, row=first_row)
        if classes:
            wrong = np.flatnonzero(~((y >= 0) & (y < classes) & (y == np.floor(y))))
            if wrong.size:
                raise FormatError(f"the label must be {rule}, got {y[wrong[0]]:g}", row=first_row + int(wrong[0]))

    return check


def block_rows(mini_batch_size: int, width: int | None, numbers: int) -> int:
    """A multiple of the mini-batch: a hand-over between threads costs as much as a small mini-batch.

    width: the numbers in a row, None where nobody knows. numbers: about as many are handed over together
    """
    return mini_batch_size * max(1, numbers // (mini_batch_size * width) if width else 1)


@contextmanager
def share(
    channel: Channel,
    cluster: Cluster,
    rows: int,
    width: int | None,
    check: Callable[[Batch, int], None],
    *,
    again: Paths | None = None,
) -> Iterator[Iterator[Batch]]:
    """One pass over this host's rows, in batches of `rows`.

    Of a channel that all hosts read each one takes the rows whose number is its rank modulo the number of hosts.
    All files must have the width of the first one: raises UserError. again: as `Channel.epoch` takes it.
    """

    def checked(batch: Batch, first_row: int) -> None:
        nonlocal width
        width = width or batch.width
        if batch.width != width:
            problem = f"expected {width} features, found {batch.width}; give all files the same number"
            raise FormatError(problem, row=first_row)
        check(batch, first_row)

    parts = cluster.size if channel.config.replicated else 1
    with channel.epoch(rows * parts, Expected(width, label_columns=1), checked, again=again) as source:
        yield source if parts == 1 else _every(source, cluster.rank, parts)


def _every(source: Iterator[Batch], rank: int, parts: int) -> Iterator[Batch]:
    number = 0
    for batch in source:
        yield batch.take(slice((rank - number) % parts, None, parts))
        number += len(batch)


def agreed_width(cluster: Cluster, width: int) -> int:
    """The number of features of all hosts' rows, 0 if there are none. Raises UserError if the hosts' differ."""
    found = sorted({each for each in cluster.numbers(width).tolist() if each})
    if len(found) > 1:
        raise UserError(f"the hosts must read rows of the same number of features in channel 'train', got {found}")
    return found[0] if found else 0


def steps(cluster: Cluster, block: Batch, mini_batch_size: int) -> int:
    """How many mini-batches the longest of the hosts' blocks has."""
    return -int(-cluster.numbers(len(block)).max() // mini_batch_size)
