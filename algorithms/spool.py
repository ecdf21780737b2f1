"""Rows on disk, for the passes after the first: the bytes of their arrays, in a file that has no name."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy import sparse

from algorithms.job import Paths
from algorithms.machine import free_memory
from algorithms.report import log
from formats import Batch, Expected

MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = ("tmpfs", "ramfs", "rootfs")
_ARRAYS = 7  # that a batch may have; see `_arrays`
_TYPES = tuple(map(np.dtype, (np.float32, np.int32, np.int64, np.uint8)))
_ABSENT = -1


class Spool:
    """The batches of one pass over a channel: added once, then read as often as wanted.

    Where they cannot be kept it says so in the log and lets go of them: `answers` is false from then on, and no job
    fails of it. The file is gone with the object, or with the process, however that ends.

    channel: its name. expected: what that pass knew of the rows. files: those that they are read from otherwise.
    """

    def __init__(self, channel: str, expected: Expected, paths: Paths, files: Sequence[Path]) -> None:
        self.size = 0  # bytes
        self._channel, self._expected, self._width = channel, expected, expected.width
        self._file = -1
        try:
            self._file = _nameless(paths)
            self._release = weakref.finalize(self, os.close, self._file)
            source = sum(path.stat().st_size for path in files)
            # Half of the disk is the model's and other channels'. What is larger than its source is read faster only as
            # long as the system keeps it in memory that nobody wants.
            self._most = min(_free_disk(self._file) / 2, max(source, free_memory() / 2))
        except OSError as error:
            self.give_up(error)

    def add(self, batch: Batch) -> None:
        """Writes some more rows, all of their arrays, before anybody can change these."""
        if self._file < 0:
            return
        arrays = _arrays(batch)
        header = np.full((_ARRAYS + 1, 2), _ABSENT, np.int64)
        header[0] = len(batch), batch.width
        for i, array in enumerate(arrays, 1):
            if array is not None:
                header[i] = _TYPES.index(array.dtype), array.size
        parts = [header, *(array for array in arrays if array is not None)]
        try:
            if self.size + sum(part.nbytes for part in parts) > self._most:
                raise OSError(errno.ENOSPC, f"they take more than the {self._most:.0f} bytes that can be spared")
            for part in parts:
                self._write(np.ascontiguousarray(part).data.cast("B") if part.size else memoryview(b""))
        except OSError as error:
            self.give_up(error)
        self._width = self._width or batch.width

    def answers(self, expected: Expected) -> bool:
        """Whether a pass that knows this of the rows would find those that are here."""
        same = replace(expected, width=None) == replace(self._expected, width=None)
        return self._file >= 0 and same and expected.width in (None, self._width)

    def give_up(self, error: OSError) -> None:
        """Lets go of the rows, and says why."""
        reason = error.strerror or error
        log.info(
            "The rows of channel '%s' are not kept on disk, each epoch reads its files: %s.", self._channel, reason
        )
        if self._file >= 0:
            self._file = -1
            self._release()

    def batches(self) -> Iterator[Batch]:
        """The batches as they were added, in arrays of their own. Raises OSError where the disk fails."""
        at = 0
        while at < self.size:
            header = np.empty((_ARRAYS + 1, 2), np.int64)
            at = self._read(header, at)
            (n, width), *kinds = header.tolist()
            arrays: list[NDArray[Any] | None] = []
            for kind, count in kinds:
                array = None if kind == _ABSENT else np.empty(count, _TYPES[kind])
                at = at if array is None else self._read(array, at)
                arrays.append(array)
            yield _batch(n, width, *arrays)

    def _write(self, view: memoryview) -> None:
        while view:
            count = os.pwrite(self._file, view, self.size)
            view, self.size = view[count:], self.size + count

    def _read(self, array: NDArray[Any], at: int) -> int:
        """Fills the array from there; returns where it ends."""
        view = array.data.cast("B") if array.size else memoryview(b"")
        while view:
            count = os.preadv(self._file, [view], at)
            if not count:
                raise OSError(errno.EIO, "what was kept is cut short")
            view, at = view[count:], at + count
        return at


def _nameless(paths: Paths) -> int:
    """A file that no folder shows, on the disk that the job's results go to. Raises OSError.

    Its folder is one whose files are not uploaded, for where the file system knows no nameless files it has a name for
    a moment, and on a network's as long as it is open.
    """
    refused = OSError(errno.ENOENT, f"there is no folder {paths.base}")
    for folder in (paths.failure.parent, paths.base):
        try:
            if _is_in_memory(folder):
                refused = OSError(errno.ENOSPC, f"{folder} is in memory")
                continue
            with TemporaryFile(dir=folder) as file:
                return os.dup(file.fileno())
        except OSError as error:
            refused = error
    raise refused


def _is_in_memory(folder: Path) -> bool:
    """Whether files in this folder take memory, which a container has little of. Raises OSError without the folder."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = MOUNTS.read_text().splitlines() if MOUNTS.exists() else []
    # proc(5): ID, parent, major:minor, ... - type, ...
    return any(line.split()[2] == number and line.partition(" - ")[2].startswith(_IN_MEMORY) for line in mounts)


def _free_disk(file: int) -> float:
    """Bytes that this user may still write, infinite where nobody says."""
    disk = os.fstatvfs(file)
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else float("inf")


def _arrays(batch: Batch) -> list[NDArray[Any] | None]:
    """All that a batch holds: values, their columns and bounds where it is sparse, labels, weights, groups, ids."""
    features, rest = batch.features, [batch.labels, batch.weights, batch.groups]
    ids = None if batch.ids is None else np.frombuffer(orjson.dumps(list(batch.ids)), np.uint8)
    if isinstance(features, np.ndarray):
        return [features, None, None, *rest, ids]
    return [features.data, features.indices, features.indptr, *rest, ids]


def _batch(
    n: int, width: int, values: Any, columns: Any, bounds: Any, labels: Any, weights: Any, groups: Any, ids: Any
) -> Batch:
    """The batch of these arrays."""
    features = values.reshape(n, width) if columns is None else sparse.csr_array((values, columns, bounds), (n, width))
    if columns is not None:
        features.has_canonical_format = True  # as every format gives them
    return Batch(features, labels, weights, groups, None if ids is None else orjson.loads(ids.tobytes()))
