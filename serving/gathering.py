"""Requests that come at about the same time, answered as one batch: a GPU takes as long for one row as for thousands.

One thread asks the model, and so owns its device; the threads that talk to clients wait for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from algorithms.algorithm import Model
from formats import Batch, Columns
from formats.batch import concatenate

MOST_ROWS = 65536  # of a gathered batch; what is gathered is one request more than fits at most


@dataclass(frozen=True, slots=True)
class Request:
    """Rows of one caller, and where the answer to them, or what went wrong with it, will be."""

    batch: Batch
    answer: Future[Columns] = field(default_factory=Future)


class Gathering:
    """A model's answers: each caller gets those to its own rows, as if it had asked alone.

    Rows are gathered with rows of the same width and kind only, and where a batch fails each request is tried by
    itself, so that nobody is told of another's mistake.
    seconds: how long the first request waits for others; those that come while the model computes are taken in any case
    place: what makes the model that answers, such as one on a device; called in the thread that asks it
    """

    def __init__(
        self,
        model: Model,
        seconds: float,
        place: Callable[[Model], Model] = lambda model: model,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._model, self._seconds, self._most_rows = model, seconds, most_rows
        self._place = place
        self._waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return self._model.width

    def save(self, directory: Path) -> None:
        """As the model has it."""
        self._model.save(directory)

    def predict(self, batch: Batch) -> Columns:
        """The answers to these rows; raises what the model raises. May be called by many threads at a time."""
        if not len(batch):
            return self._model.predict(batch)
        request = Request(Batch(batch.features))  # labels and ids say nothing to a model
        self._start()
        self._waiting.put(request)
        return request.answer.result()

    def _start(self) -> None:
        """Not before a first request: a thread does not survive the server's fork."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._answer_for_ever, name="gather", daemon=True)
                    self._thread.start()

    def _answer_for_ever(self) -> None:
        answering: Model | None = None

        def predict(batch: Batch) -> Columns:
            nonlocal answering
            answering = answering or self._place(self._model)  # what goes wrong with it, the caller is told
            return answering.predict(batch)

        while True:
            for group in _alike(list(self._gathered())):
                _answer(predict, group)

    def _gathered(self) -> Iterator[Request]:
        """The next request, and those that come soon after."""
        first = self._waiting.get()
        yield first
        rows, end = len(first.batch), time.monotonic() + self._seconds
        while rows < self._most_rows:
            try:
                request = self._waiting.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return
            yield request
            rows += len(request.batch)


def _alike(requests: Sequence[Request]) -> list[list[Request]]:
    """The requests in groups whose rows make one batch."""
    groups: dict[tuple[bool, int], list[Request]] = {}
    for request in requests:
        groups.setdefault((request.batch.is_sparse, request.batch.width), []).append(request)
    return list(groups.values())


def _answer(predict: Callable[[Batch], Columns], group: Sequence[Request]) -> None:
    """Gives each request the columns of its rows, or an exception."""
    try:
        columns = predict(concatenate([request.batch for request in group]))
    except BaseException as error:  # the thread must live on, and the caller be told
        if len(group) == 1:
            group[0].answer.set_exception(error)
            return
        for request in group:
            _answer(predict, [request])
        return
    start = 0
    for request in group:
        stop = start + len(request.batch)
        request.answer.set_result({name: column[start:stop] for name, column in columns.items()})
        start = stop
