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
from typing import Any

from algorithms.algorithm import Model
from formats import Batch, Columns
from formats.batch import concatenate

CALLERS = 32  # at a time, of a worker that gathers: as many requests can be in one batch
MOST_ROWS = 65536  # of a gathered batch; what is gathered is one request more than fits at most
Question = Callable[[Any, Batch], Columns]  # to a model, on a batch


@dataclass(frozen=True, slots=True)
class Request:
    """Rows of one caller, what is asked of them, and where the answer, or what went wrong with it, will be."""

    question: Question
    batch: Batch
    answer: Future[Columns] = field(default_factory=Future)


class Gathering:
    """A model's answers: each caller gets those to its own rows, as if it had asked alone.

    Rows are gathered with rows of the same question, width and kind only, and where a batch fails each request is tried
    by itself, so that nobody is told of another's mistake.
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
        return self.ask(_predict, batch)

    def ask(self, question: Question, batch: Batch) -> Columns:
        """Another question than `predict`, of the model where it answers; likewise."""
        if not len(batch):
            return question(self._model, batch)
        request = Request(question, Batch(batch.features))  # labels and ids say nothing to a model
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

        def ask(question: Question, batch: Batch) -> Columns:
            nonlocal answering
            answering = answering or self._place(self._model)  # what goes wrong with it, the caller is told
            return question(answering, batch)

        while True:
            for group in _alike(list(self._gathered())):
                _answer(ask, group)

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


@dataclass(frozen=True, slots=True)
class Viewed:
    """What another view of the gathered model answers, in the same thread."""

    gathering: Gathering
    view: Callable[[Any], Model]

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return self.gathering.width

    def save(self, directory: Path) -> None:
        """As the model has it."""
        self.gathering.save(directory)

    def predict(self, batch: Batch) -> Columns:
        """As the view has it."""
        return self.gathering.ask(self._seen, batch)

    def _seen(self, model: Model, batch: Batch) -> Columns:
        return self.view(model).predict(batch)


def _predict(model: Model, batch: Batch) -> Columns:
    return model.predict(batch)


def _alike(requests: Sequence[Request]) -> list[list[Request]]:
    """The requests in groups whose rows make one batch."""
    groups: dict[tuple[Question, bool, int], list[Request]] = {}
    for request in requests:
        groups.setdefault((request.question, request.batch.is_sparse, request.batch.width), []).append(request)
    return list(groups.values())


def _answer(ask: Callable[[Question, Batch], Columns], group: Sequence[Request]) -> None:
    """Gives each request the columns of its rows, or an exception."""
    try:
        columns = ask(group[0].question, concatenate([request.batch for request in group]))
    except BaseException as error:  # the thread must live on, and the caller be told
        if len(group) == 1:
            group[0].answer.set_exception(error)
            return
        for request in group:
            _answer(ask, [request])
        return
    start = 0
    for request in group:
        stop = start + len(request.batch)
        request.answer.set_result({name: column[start:stop] for name, column in columns.items()})
        start = stop
