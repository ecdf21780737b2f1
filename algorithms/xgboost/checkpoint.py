"""Checkpoints: what a job that was killed goes on from, as if nothing had happened.

The hosted container's names (`xgboost-checkpoint.<round>`, written under a name that its platform does not copy).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from algorithms.cluster import Cluster
from algorithms.errors import PlatformError, UserError
from algorithms.report import log
from algorithms.xgboost.structure import check
from algorithms.xgboost.ubjson import parse
from formats import FormatError

KEPT = 5
SHARE = 0.05  # of the training time, which writing checkpoints may take
PARTIAL = ".sagemaker-ignore"
SETTINGS = "inbuilt_settings"  # attribute of the booster: what it was trained with
_NAME = re.compile(r"xgboost-checkpoint\.(\d+)")
_FREE = {"num_round", "early_stopping_rounds", "nthread", "verbosity", "silent", "_tuning_objective_metric"}


class Checkpoints:
    """The checkpoints in a folder; settings: all hyperparameters, of which few may change between two runs of a job."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        self._settings = {name: value for name, value in settings.items() if name not in _FREE and value is not None}
        self._due = 0.0

    def save(self, booster: xgboost.Booster, number: int) -> None:
        """Writes the booster after round `number`, unless the last one was written a short while ago.

        Raises PlatformError if the folder cannot be written.
        """
        started = time.monotonic()
        if started < self._due:
            return
        booster.set_attr(**{SETTINGS: json.dumps(self._settings, sort_keys=True)})
        content = booster.save_raw("ubj")
        booster.set_attr(**{SETTINGS: None})
        with self._used():
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"xgboost-checkpoint.{number}"
            partial = path.with_name(path.name + PARTIAL)
            partial.write_bytes(content)
            partial.replace(path)
            for old in self._found()[:-KEPT]:
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
            contents = [(path, path.read_bytes()) for path in reversed(self._found())]
        for path, content in contents:
            try:
                check(parse(content))
                booster = xgboost.Booster(model_file=bytearray(content))
                settings = json.loads(booster.attr(SETTINGS) or "{}")
            except (FormatError, xgboost.core.XGBoostError, ValueError):
                log.warning("The checkpoint %s cannot be read and is passed over.", path.name)
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
            values = ", ".join(f"{name} = {settings.get(name)} then and {ours.get(name)} now" for name in different[:5])
            raise UserError(
                f"the checkpoint {path.name} was written by a job with other hyperparameters: {values}. Please give "
                "this job a checkpoint folder of its own, or the same hyperparameters."
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


def _number(path: Path) -> int:
    return int(path.name.rpartition(".")[2])
