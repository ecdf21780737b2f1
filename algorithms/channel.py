"""A channel's data as batches, from files or from a FIFO an epoch, read ahead of computing in a thread of its own."""

from __future__ import annotations

import gzip
import io
import os
import queue
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import formats
from algorithms.algorithm import CSV, PARQUET, RECORDIO
from algorithms.errors import UserError
from algorithms.job import ChannelConfig, Paths
from algorithms.report import Report, log
from algorithms.spool import Spool
from formats import Batch, Expected, FormatError, parse_media_type
from formats.batch import rebatch, require_finite

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

READ_AHEAD = 1  # batches ready, besides the one being computed with and the one being read
SAMPLE_ROWS = 3
LARGEST_BLOCK = 2**25  # floats that are read at once, however large the mini-batch
_POLL = 0.05  # seconds between looks at whether to stop, or whether a FIFO has appeared
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
Check = Callable[[Batch, int], None]


def _nothing(batch: Batch, first_row: int) -> None:
    """Asks nothing of the rows."""


class Channel:
    """One input channel of a running job; each `epoch()` gives its rows once, from the start.

    Text and compressed files that will be read again are parsed once: their rows are kept on disk for later epochs.
    """

    def __init__(
        self,
        config: ChannelConfig,
        data: Path,
        content_type: str,
        report: Report,
        stopped: Callable[[], bool],
        *,
        allows_missing: bool,
    ) -> None:
        self.config = config
        self.sample: Batch | None = None  # the first rows that were read, for the model's self-test
        self._data = data
        self._content_type = content_type
        self._report = report
        self._stopped = stopped
        self._allows_missing = allows_missing
        self._epochs = 0
        self._is_parsed = self.media_type != RECORDIO  # or decompressed, once a file has been seen to be
        self._spool: Spool | None = None  # of the first whole pass

    @property
    def name(self) -> str:
        """The channel's name, as the user gave it."""
        return self.config.name

    def files(self) -> list[Path]:
        """The data files of File mode, in sorted order; hidden, `_SUCCESS`-like and manifest files are passed over."""
        found: list[Path] = []
        for folder, folders, names in os.walk(self._data / self.name, onerror=self._unreadable, followlinks=True):
            folders[:] = [name for name in folders if not _passed_over(name)]
            found += [Path(folder, name) for name in names if not _passed_over(name)]
        return sorted(found)

    def _unreadable(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a channel without a folder has no data
            raise UserError(f"Unable to read data channel '{self.name}': {error.strerror}: '{error.filename}'.")

    def without_data(self) -> UserError:
        """What to raise when no host found a row."""
        return UserError(
            f"No data in channel '{self.name}'. Please verify that it points to files with at least one record."
        )

    @property
    def media_type(self) -> str:
        """The content type by its canonical name, without parameters."""
        return formats.find(parse_media_type(self._content_type).name).MEDIA_TYPES[0]

    @contextmanager
    def epoch(
        self, rows: int, expected: Expected, check: Check = _nothing, *, again: Paths | None = None
    ) -> Iterator[Iterator[Batch]]:
        """The next pass: batches of `rows` rows, the last one shorter; they end early when the job is told to stop.

        check: what the algorithm asks of rows besides being finite: called with the rows of a file, and the number of
        the first one in it; raises FormatError. Later passes must ask the same, for rows that are kept meet no check.
        again: the job's folders, if there will be more passes. Rows are kept there if that makes these faster.
        Leaving the block closes the file or FIFO, read to its end or not.
        Raises UserError for data that cannot be read, naming channel, file, row and column.
        """
        number, self._epochs = self._epochs, self._epochs + 1
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(READ_AHEAD)
        closed = threading.Event()

        def offer(item: Batch | BaseException | None) -> None:
            while not closed.is_set():
                with suppress(queue.Full):
                    ready.put(item, timeout=_POLL)
                    return

        def produce() -> None:
            try:
                for batch in self._passed(number, rows, expected, check, closed, again):
                    offer(batch)
                    if closed.is_set():
                        return
                offer(None)
            except BaseException as error:
                offer(error)

        # daemon: a thread that waits for a FIFO's writer must not keep the process alive
        thread = threading.Thread(target=produce, name=f"read-{self.name}", daemon=True)
        thread.start()
        try:
            yield self._consume(ready)
        finally:
            closed.set()
            thread.join(timeout=1)

    def _consume(self, ready: queue.Queue[Batch | BaseException | None]) -> Iterator[Batch]:
        while not self._stopped():
            try:
                item = ready.get(timeout=_POLL)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            if self.sample is None:
                self.sample = item.rows(0, SAMPLE_ROWS)
            yield item

    def forget(self) -> None:
        """Lets go of the rows that are kept on disk: the model needs the room."""
        self._spool = None

    def _passed(
        self,
        number: int,
        rows: int,
        expected: Expected,
        check: Check,
        closed: threading.Event,
        again: Paths | None,
    ) -> Iterator[Batch]:
        """The rows of a pass: those that an earlier one kept, or else those of the channel, kept if that helps."""
        given = 0
        if self._spool is not None and self._spool.answers(expected):
            try:
                for batch in self._reread(self._spool, number, rows):
                    yield batch
                    given += 1
                return
            except OSError as error:
                self._spool.give_up(error)
        wanted = self._spool is None and self.config.mode == "File"
        spool: Spool | None = None
        for count, batch in enumerate(self._read(number, rows, expected, check, closed)):
            if again is not None and wanted and count == 0 and self._is_parsed:
                spool = Spool(self.name, expected, again, self.files())
            if spool is not None:
                spool.add(batch)
            if count >= given:
                yield batch
        if spool is not None and not closed.is_set():  # else rows may be missing
            self._spool = spool

    def _reread(self, spool: Spool, number: int, rows: int) -> Iterator[Batch]:
        started, count = time.perf_counter(), 0
        for batch in rebatch(spool.batches(), rows):
            count += 1
            yield batch
        self._report.read(self._data / self.name, number, time.perf_counter() - started, count, spool.size)

    def _read(
        self, number: int, rows: int, expected: Expected, check: Check, closed: threading.Event
    ) -> Iterator[Batch]:
        started, size, count = time.perf_counter(), 0, 0
        sources = [self._await_pipe(number, closed)] if self.config.mode == "Pipe" else self.files()

        def whole_files() -> Iterator[Batch]:
            nonlocal size
            for path in sources:
                if closed.is_set():
                    return
                with self._opened(path) as raw:
                    source = _Source(raw)
                    self._is_parsed = self._is_parsed or source.head == _GZIP_MAGIC
                    yield from self._checked(path, source, rows, expected, check)
                    size += source.size

        for batch in rebatch(whole_files(), rows):
            count += 1
            yield batch
        self._report.read(self._data / self.name, number, time.perf_counter() - started, count, size)

    def _opened(self, path: Path) -> io.FileIO:
        try:
            return path.open("rb", buffering=0)
        except (FileNotFoundError, PermissionError) as error:
            raise UserError(f"Unable to read data channel '{self.name}': {error.strerror}: '{path.name}'.") from None

    def _checked(self, path: Path, source: _Source, rows: int, expected: Expected, check: Check) -> Iterator[Batch]:
        """The batches of one file, every value finite, every fault told with its place."""
        first_row, in_columns = 1, self.media_type in (CSV, PARQUET)
        try:
            # these formats make room for all rows that they are asked for
            at_once = min(rows, max(1, LARGEST_BLOCK // (expected.width or 1))) if in_columns else rows
            for batch in formats.read(_decompressed(source), self._content_type, at_once, expected):
                require_finite(batch, first_row, missing=self._allows_missing, columns=in_columns)
                check(batch, first_row)
                first_row += len(batch)
                yield batch
        except (FormatError, *_GZIP_ERRORS) as error:
            if isinstance(error, _GZIP_ERRORS):
                error = FormatError(f"the gzip data is damaged or cut short: {error}; please upload it again")
            place = f"file '{path.relative_to(self._data / self.name)}'" if self.config.mode == "File" else path.name
            raise UserError(
                f"Unable to read data channel '{self.name}' as {self._content_type}: {place}, {error}"
            ) from None

    def _await_pipe(self, number: int, closed: threading.Event) -> Path:
        path = self._data / f"{self.name}_{number}"
        waited = 0.0
        while not path.exists() and not closed.is_set():
            time.sleep(_POLL)
            waited += _POLL
            if abs(waited - 10) < _POLL / 2:
                log.info("waiting for the pipe %s to appear", path.name)
        return path


def _passed_over(name: str) -> bool:
    return name.startswith((".", "_")) or name.endswith((".manifest", "-manifest"))


def _decompressed(source: _Source) -> BinaryIO:
    """The stream, through gzip if its first bytes say so; names and CompressionType are not trusted."""
    return cast("BinaryIO", gzip.GzipFile(fileobj=source) if source.head == _GZIP_MAGIC else source)


class _Source(io.RawIOBase):
    """A file or FIFO that gives what is there, as it comes, and counts it.

    A buffered reader would wait until its buffer is full, while the rows of a slow FIFO could be computed with.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.head = b""
        while len(self.head) < len(_GZIP_MAGIC) and (more := raw.read(len(_GZIP_MAGIC) - len(self.head))):
            self.head += more
        self._unread = self.head
        self.size = len(self.head)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._raw.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """A Parquet file is read from its end; what is read again is counted again."""
        if whence == io.SEEK_CUR:
            offset -= len(self._unread)
        self._unread = b""
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: Buffer) -> int | None:
        if self._unread:
            view = memoryview(buffer)
            count = min(len(self._unread), len(view))
            view[:count] = self._unread[:count]
            self._unread = self._unread[count:]
            return count
        read = self._raw.readinto(buffer)
        self.size += read or 0
        return read
