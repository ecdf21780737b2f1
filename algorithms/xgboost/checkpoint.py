"""Checkpoints: what a job that was killed goes on from, as if nothing had happened.

The hosted container's names (`xgboost-checkpoint.<round>`, written under a name that its platform does not copy).
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from algorithms.cluster import Cluster
from algorithms.errors import PlatformError, UserError
from algorithms.report import log
from algorithms.xgboost.data import Layout, Rows
from algorithms.xgboost.early_stopping import EarlyStopping
from algorithms.xgboost.structure import check
from algorithms.xgboost.ubjson import parse
from formats import FormatError

KEPT = 5
SHARE = 0.05  # of the training time, which writing checkpoints may take
PARTIAL = ".sagemaker-ignore"
# attributes of a checkpoint's booster: what it was trained with, and on; the best one so far, where that is another
_SETTINGS, _BEST = "inbuilt_settings", "inbuilt_best"
_NAME = re.compile(r"xgboost-checkpoint\.(\d+)")
_FREE = {"num_round", "nthread", "verbosity", "silent"}


class Checkpoints:
    """The checkpoints in a folder; settings: all hyperparameters, of which few may change between two runs of a job."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        self._settings = {name: value for name, value in settings.items() if name not in _FREE and value is not None}
        self._due = 0.0

    def describe(self, cluster: Cluster, tables: Sequence[Rows], layout: Layout) -> None:
        """Adds what the rows of all hosts are known by: other rows are another job."""
        mine = np.array([[rows.count, rows.label_sum] for rows in tables])
        rows = [[int(count), f"{labels:.6g}"] for count, labels in cluster.all_reduce(mine).tolist()]
        self._settings |= {"rows": rows, "features": layout.width, "first_index": layout.first_index}

    def save(self, booster: xgboost.Booster, number: int, stopping: EarlyStopping | None, *, now: bool = False) -> None:
        """Writes the booster after round `number`, unless the last one was written a short while ago.

        Raises PlatformError if the folder cannot be written.
        """
        started = time.monotonic()
        if started < self._due and not now:
            return
        best = None if stopping is None or stopping.best is None else base64.b64encode(stopping.best).decode()
        booster.set_attr(**{_SETTINGS: json.dumps(self._settings, sort_keys=True), _BEST: best})
        content = booster.save_raw("ubj")
        booster.set_attr(**{_SETTINGS: None, _BEST: None})
        with self._used():
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"xgboost-checkpoint.{number}"
            partial = path.with_name(path.name + PARTIAL)
            partial.write_bytes(content)
            partial.replace(path)
            # of those that are not ours, some may have greater numbers: they stay
            for old in [each for each in self._found() if _number(each) <= number][:-KEPT]:
                old.unlink(missing_ok=True)
        ended = time.monotonic()
        self._due = ended + (ended - started) / SHARE

    def latest(self) -> tuple[int, bytes] | None:
        """The last round that was finished, and the booster after it.

        A file that cannot be read is passed over, with a warning. Raises UserError for the checkpoint of another job,
        and PlatformError if the folder cannot be read.
        """
        with self._used():
            for partial in self._folder.glob(f"xgboost-checkpoint.*{PARTIAL}"):
                partial.unlink(missing_ok=True)
            found = self._found()
        for path in reversed(found):
            with self._used():
                content = path.read_bytes()
            try:
                check(parse(content))
                settings = json.loads(xgboost.Booster(model_file=bytearray(content)).attr(_SETTINGS) or "null")
            except (FormatError, xgboost.core.XGBoostError, ValueError):
                settings = None
            if not isinstance(settings, dict):
                log.warning(
                    "The checkpoint %s is damaged, or not one of this container's: it is passed over.", path.name
                )
                continue
            self._compare(path, settings)
            return _number(path), content
        return None

    @contextmanager
    def _used(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PlatformError(
                f"cannot use the checkpoint folder {self._folder}: {error.strerror or error}"
            ) from error

    def _found(self) -> list[Path]:
        """The checkpoints in the order of their rounds."""
        return sorted(
            (path for path in self._folder.glob("*") if _NAME.fullmatch(path.name) and path.is_file()), key=_number
        )

    def _compare(self, path: Path, settings: Mapping[str, Any]) -> None:
        ours = json.loads(json.dumps(self._settings))
        different = sorted(name for name in {*ours, *settings} if ours.get(name) != settings.get(name))
        if different:
            values = ", ".join(
                f"{name} = {settings.get(name, 'unset')} then and {ours.get(name, 'unset')} now"
                for name in different[:5]
            )
            raise UserError(
                f"the checkpoint {path.name} was written by a job with other hyperparameters or data: {values}. Please "
                "give this job a checkpoint folder of its own, or the same hyperparameters and data."
            )


def resume(cluster: Cluster, checkpoints: Checkpoints) -> tuple[int, bytes | None]:
    """The round to begin with, and the booster to go on with, None at the beginning: the leader's, on all hosts."""
    found = checkpoints.latest() if cluster.is_leader else None
    number, content = found or (-1, b"")
    number, size = cluster.broadcast(np.array([number, len(content)], np.int64)).tolist()
    if number < 0:
        return 0, None
    padded = np.frombuffer(content.ljust(size + -size % 8, b"\0"), np.int64)
    log.info("Going on after round %d, from the checkpoint that was found.", number)
    return number + 1, cluster.broadcast(padded).tobytes()[:size]


def taken_off(booster: xgboost.Booster) -> bytes | None:
    """Takes off the booster what only a checkpoint has; the best booster so far, if it is another."""
    best = booster.attr(_BEST)
    booster.set_attr(**{_SETTINGS: None, _BEST: None})
    return None if best is None else base64.b64decode(best)


def _number(path: Path) -> int:
    return int(path.name.rpartition(".")[2])
