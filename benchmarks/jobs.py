"""Our training jobs: in this process, on rows in memory or in a channel's files, and as the program `train`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import algorithms
from algorithms.algorithm import RECORDIO
from algorithms.channel import Channel, Check
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job, Paths
from algorithms.report import Report
from benchmarks.measure import Absent, Timed
from formats import Batch, Expected, recordio
from formats.batch import rebatch

HERE = Path(__file__).parent
PROGRAMS = HERE.parent / ".venv-image" / "bin"  # ours, where there is nothing but what an image has
Given = Mapping[str, object]


class InMemory(Channel):
    """A channel whose rows have been read: what is left of a job is its core, as peers have theirs."""

    rows: Batch

    def _read(
        self, number: int, rows: int, expected: Expected, check: Check, closed: threading.Event
    ) -> Iterator[Batch]:
        yield from rebatch(iter([self.rows]), rows)


def fit(name: str, given: Given, data: Path | Batch, content_type: str | None = None) -> Any:
    """The model of a job in this process, all else default. data: the job's folder, or the rows of channel `train`."""
    algorithm = algorithms.find(name)
    report = Report("algo-1", algorithm.dimension, None)
    kind = InMemory if isinstance(data, Batch) else Channel
    folder = Path() if isinstance(data, Batch) else Paths(data).data
    content_type = content_type or algorithm.content_types[0]
    train = kind(ChannelConfig("train"), folder, content_type, report, bool, allows_missing=algorithm.allows_missing)
    if isinstance(train, InMemory) and isinstance(data, Batch):
        train.rows = data
    job = Job({"train": train}, Cluster(), report, bool)
    return algorithm.fit(job, algorithm.hyperparameters.parse({key: str(value) for key, value in given.items()}))


def timed_fit(name: str, given: Given, base: Path) -> float:
    """Seconds of a job in this process on RecordIO, what it imports not counted."""
    algorithms.find(name)
    started = time.perf_counter()
    fit(name, given, base, RECORDIO)
    return time.perf_counter() - started


def lay_out(base: Path, given: Given, content: Path | Batch, content_type: str | None = None) -> Path:
    """The folder of a job, as the platform lays it out. content: a file to move there, or rows, as RecordIO."""
    paths = Paths(base)
    for folder in (paths.config, paths.data / "train", paths.model, paths.output):
        folder.mkdir(parents=True, exist_ok=True)
    (paths.config / "hyperparameters.json").write_text(json.dumps({key: str(value) for key, value in given.items()}))
    channel = {"ContentType": content_type} if content_type else {}
    (paths.config / "inputdataconfig.json").write_text(json.dumps({"train": channel}))
    target = paths.data / "train" / "rows"
    if isinstance(content, Path):
        shutil.move(content, target)
    else:
        target.write_bytes(recordio.encode_features(content.features, content.labels))
    return target


def program(base: Path, name: str) -> Timed:
    """The program `train`, from its start to its end."""
    return alone([ours("train")], {"SAGEMAKER_BASE_DIR": str(base), "INBUILT_ALGORITHM": name})


def ours(name: str) -> Path:
    """One of our programs. xgboost imports scikit-learn and pandas wherever it finds them, which takes a second."""
    if not (PROGRAMS / name).is_file():
        raise Absent("our programs run in .venv-image, with the packages of an image, from make bench")
    return PROGRAMS / name


def peer_program(name: str, *arguments: object) -> Timed:
    """A program in `peers/`, from its start to its end. `-P`: its name must not hide a library's."""
    return alone([sys.executable, "-P", HERE / "peers" / f"{name}.py", *arguments], {})


def alone(command: Sequence[object], own: Mapping[str, str]) -> Timed:
    """Seconds of a command, and its greatest memory."""
    launcher = [sys.executable, "-I", "-S", HERE / "alone.py"]
    done = subprocess.run(
        list(map(str, [*launcher, *command])), env=os.environ | own, capture_output=True, text=True, check=False
    )
    if "ModuleNotFoundError" in done.stderr:
        raise Absent(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise Absent(f"{Path(str(command[0])).name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout)
    return Timed(found["seconds"], {"peak MB": found["peak"]})
