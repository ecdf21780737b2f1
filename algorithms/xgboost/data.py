"""The rows of the channels on this host, and the matrices that xgboost makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.channel import Channel, Check
from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.job import Job, NothingLearned
from algorithms.report import log
from formats import Batch, Expected

ROWS = 16384  # of a batch, which is a page where data exceed memory: 64 MB of 1,000 features


class Rows:
    """The rows of a channel on this host, in order: in memory as long as there is room for them, then all in files.

    room, size: bytes. count: number of rows. indices: the smallest and the greatest of LibSVM rows, None without any.
    """

    def __init__(self, name: str, of_libsvm: bool, room: float, scratch: Path) -> None:
        self.name = name
        self.of_libsvm = of_libsvm
        self.count = 0
        self.width = 0  # of rows that say it; LibSVM rows do not
        self.indices: tuple[int, int] | None = None
        self.grouped = False
        self.weight: float | None = None  # of all rows together, None if they have none of their own
        self.label_sum = 0.0
        self._room = room
        self._scratch = scratch
        self.size = 0
        self._folder: TemporaryDirectory[str] | None = None
        self._batches: list[Batch | Path] = []

    def add(self, batch: Batch) -> None:
        """Keeps some more rows."""
        features = batch.features
        if not self.of_libsvm:
            self.width = batch.width
        elif not isinstance(features, np.ndarray) and features.nnz:
            found = int(features.indices.min()), int(features.indices.max())
            first, last = self.indices or found
            self.indices = min(first, found[0]), max(last, found[1])
        batch = replace(batch, ids=None)
        self.count += len(batch)
        self.label_sum += 0.0 if batch.labels is None else float(batch.labels.sum(dtype=np.float64))
        self.grouped = self.grouped or batch.groups is not None
        if batch.weights is not None:
            self.weight = (self.weight or 0.0) + float(batch.weights.sum(dtype=np.float64))
        self.size += sum(array.nbytes for array in _arrays(batch).values())
        self._batches.append(batch)
        if self.size > self._room:
            if not self.filed:
                log.info("The rows of channel '%s' exceed the memory that is free: they are kept in files.", self.name)
            self._batches = [self._filed(i, each) for i, each in enumerate(self._batches)]

    @property
    def filed(self) -> bool:
        """Whether the rows are in files."""
        return self._folder is not None

    def folder(self) -> Path:
        """A folder of these rows' own on the large volume, which lasts as long as they do."""
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="rows-", dir=self._scratch, ignore_cleanup_errors=True)
        return Path(self._folder.name)

    def release(self) -> None:
        """Lets go of the rows in memory, once all that is needed of them was made."""
        self._batches = [each for each in self._batches if isinstance(each, Path)]

    def clear(self) -> None:
        """Forgets all rows, and what they had, but for their features."""
        self._batches, self.count, self.size, self.label_sum = [], 0, 0, 0.0
        self.grouped, self.weight = False, None

    def close(self) -> None:
        """Removes the files."""
        self._batches = []
        if self._folder is not None:
            self._folder.cleanup()

    def __iter__(self) -> Iterator[Batch]:
        for each in self._batches:
            yield each if isinstance(each, Batch) else _loaded(each)

    def _filed(self, number: int, batch: Batch | Path) -> Path:
        if isinstance(batch, Path):
            return batch
        path = self.folder() / f"{number}.npz"
        np.savez(path, allow_pickle=False, **_arrays(batch))
        return path


def _arrays(batch: Batch) -> dict[str, NDArray[Any]]:
    """All that a batch holds but its ids, by name."""
    features = batch.features
    if isinstance(features, np.ndarray):
        arrays: dict[str, Any] = {"features": features}
    else:
        parts = {"data": features.data, "indices": features.indices, "indptr": features.indptr}
        arrays = parts | {"width": np.array(batch.width)}
    rest = {"labels": batch.labels, "weights": batch.weights, "groups": batch.groups}
    return arrays | {name: array for name, array in rest.items() if array is not None}


def _loaded(path: Path) -> Batch:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    features = arrays.get("features")
    if features is None:
        shape = len(arrays["indptr"]) - 1, int(arrays["width"])
        features = sparse.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
    return Batch(features, arrays.get("labels"), arrays.get("weights"), arrays.get("groups"))


def read(job: Job, channel: Channel, rows: Rows, expected: Expected, check: Check) -> None:
    """Reads a channel; of one that every host has whole, each host keeps its share.

    Raises UserError for rows that cannot be learned from, and NothingLearned if the job is told to stop meanwhile.
    """
    cluster = job.cluster
    with channel.epoch(ROWS, expected, check) as batches:
        for batch in batches:
            rows.add(_share(batch, cluster) if channel.config.replicated else batch)
    if cluster.total(job.stopped()):
        raise NothingLearned
    found = cluster.total(rows.count)
    if rows.weight == 0:  # the library cannot do with rows that weigh nothing, not even on one of several hosts
        rows.clear()
    if not found:
        raise channel.without_data()
    if not cluster.total(rows.count):
        raise UserError(f"all rows of channel '{channel.name}' have the weight 0. Please give some a greater one.")


def _share(batch: Batch, cluster: Cluster) -> Batch:
    """Every `size`-th row; all rows of a query stay together."""
    if cluster.size == 1:
        return batch
    owners = np.arange(len(batch), dtype=np.uint64)
    if batch.groups is not None:  # numbers of queries may all be even, or tens
        owners = batch.groups.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    return batch.take(owners % np.uint64(cluster.size) == cluster.rank)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of all hosts have in common: their number of features, and what LibSVM calls the first of them."""

    width: int
    first_index: int

    def batches(self, rows: Rows) -> Iterator[Batch]:
        """The rows in this layout; at least one batch."""
        if not rows.count:
            yield replace(Batch.empty(self.width), labels=np.empty(0, np.float32))
        for batch in rows:
            yield self.applied(batch, rows.of_libsvm)

    def applied(self, batch: Batch, of_libsvm: bool) -> Batch:
        """A batch with all features; what were indices of LibSVM are places 0..width-1 from now on."""
        features = batch.features
        if isinstance(features, np.ndarray):
            return batch
        indices = features.indices - self.first_index if of_libsvm and self.first_index else features.indices
        matrix = sparse.csr_array((features.data, indices, features.indptr), (len(batch), self.width))
        return replace(batch, features=matrix)


def agree(cluster: Cluster, tables: list[Rows]) -> Layout:
    """The layout of all rows of all hosts. LibSVM indices count from 1 if none of them is 0.

    Raises UserError if the rows do not fit together.
    """
    mine = np.zeros((cluster.size, len(tables), 6), np.int64)
    for i, rows in enumerate(tables):
        first, last = rows.indices or (-1, -1)
        mine[cluster.rank, i] = rows.width, first + 1, last + 1, rows.count > 0, rows.grouped, rows.weight is not None
    every = cluster.all_reduce(mine)
    widths, smallest, greatest = every[..., 0], every[..., 1], every[..., 2]
    hosts = every[..., 3].sum(axis=0)  # that have rows of each channel
    for what, having in (("a qid", every[..., 4].sum(axis=0)), ("a weight", every[..., 5].sum(axis=0))):
        for i in np.flatnonzero((having > 0) & (having < hosts)).tolist():
            raise UserError(
                f"all rows of channel '{tables[i].name}' must have {what}, or none, found {what} on {having[i]} of "
                f"{hosts[i]} hosts."
            )
    grouped = {rows.name for rows, having in zip(tables, every[..., 4].sum(axis=0), strict=True) if having}
    if grouped and len(grouped) < len(tables):
        raise UserError(
            f"all channels must have rows with a qid, or none, found a qid in channel '{grouped.pop()}' only."
        )
    counted = smallest > 0
    first_index = int(counted.any() and smallest[counted].min() > 1)
    if counted.any():
        log.info("LibSVM indices count from %d: that is the first feature's.", first_index)
    stated = {int(width) for width in widths[widths > 0]}
    if len(stated) > 1:
        raise UserError(
            f"all rows must have the same number of features, found {min(stated)} and {max(stated)} in "
            f"{_places(cluster, tables)}."
        )
    needed = int(greatest.max()) - first_index
    if stated and needed > min(stated):
        raise UserError(
            f"all rows must have the same number of features, found {min(stated)}, and a LibSVM index that needs "
            f"{needed}, in {_places(cluster, tables)}."
        )
    return Layout(min(stated, default=max(1, needed)), first_index)


def _places(cluster: Cluster, tables: list[Rows]) -> str:
    channels = " and ".join(f"'{rows.name}'" for rows in tables)
    where = f"channel{'s' if len(tables) > 1 else ''} {channels}"
    return f"{where} of the {cluster.size} hosts" if cluster.size > 1 else where
