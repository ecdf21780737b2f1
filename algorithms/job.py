"""A training job as the platform lays it out under /opt/ml.

Guide: "How Amazon SageMaker Provides Training Information".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, Literal

from algorithms.errors import UserError

if TYPE_CHECKING:
    from algorithms.channel import Channel
    from algorithms.cluster import Cluster
    from algorithms.report import Report


@dataclass(frozen=True, slots=True)
class Paths:
    """Every path of the contract, named once."""

    base: Path

    @property
    def config(self) -> Path:
        """The folder of the platform's JSON files."""
        return self.base / "input" / "config"

    @property
    def data(self) -> Path:
        """Parent of the channels: `data/train/...` in File mode, the FIFOs `data/train_0` ... in Pipe mode."""
        return self.base / "input" / "data"

    @property
    def model(self) -> Path:
        """All of it becomes model.tar.gz."""
        return self.base / "model"

    @property
    def failure(self) -> Path:
        """Its first 1,024 characters are shown as the job's FailureReason."""
        return self.base / "output" / "failure"

    @property
    def output(self) -> Path:
        """All of it becomes output.tar.gz."""
        return self.base / "output" / "data"

    @property
    def metrics(self) -> Path:
        """The metrics as JSON Lines."""
        return self.output / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """What is written here is copied to the job's CheckpointConfig, and is here again when the job is restarted."""
        return self.base / "checkpoints"


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One entry of `inputdataconfig.json`.

    content_type: None when the user set none
    replicated:   every host sees all of the data (S3DistributionType FullyReplicated), not a share of it
    """

    name: str
    content_type: str | None = None
    mode: Literal["File", "Pipe"] = "File"
    replicated: bool = True


@dataclass(frozen=True, slots=True)
class JobConfig:
    """What the platform says of the job; missing files and fields get the defaults that local mode relies on.

    checkpoints: where to keep them, None if nobody asked for any
    """

    paths: Paths
    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, ChannelConfig]
    hosts: tuple[str, ...]
    current_host: str
    checkpoints: Path | None = None

    @classmethod
    def read(cls, paths: Paths) -> JobConfig:
        """From the JSON files in `input/config`; raises UserError for one that is malformed."""
        resources = _read_object(paths.config / "resourceconfig.json")
        current_host = str(resources.get("current_host") or "algo-1")
        hosts = resources.get("hosts") or [current_host]
        if not isinstance(hosts, list) or current_host not in hosts:
            raise UserError(f"resourceconfig.json: hosts must be a list that holds '{current_host}', got {hosts}")
        if len({str(host) for host in hosts}) != len(hosts):
            raise UserError(f"resourceconfig.json: hosts must be different names, got {hosts}")
        channels = _read_object(paths.config / "inputdataconfig.json")
        if not channels and paths.data.is_dir():
            channels = {folder.name: {} for folder in sorted(paths.data.iterdir()) if folder.is_dir()}
        return cls(
            paths,
            _read_object(paths.config / "hyperparameters.json"),
            {name: _channel(name, fields) for name, fields in channels.items()},
            tuple(sorted(map(str, hosts))),
            current_host,
            _checkpoints(paths),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A running job, as `fit` and `evaluate` see it.

    channels: those the user gave, by name
    stopped:  true once the platform has asked the job to end (SIGTERM)
    paths:    the job's folders; one for large temporary files can be made in `base`, on the large volume
    checkpoints: the folder for what a restarted job can go on from, None if nobody asked for any
    """

    channels: Mapping[str, Channel]
    cluster: Cluster
    report: Report
    stopped: Callable[[], bool]
    paths: Paths = Paths(Path(gettempdir()))
    checkpoints: Path | None = None


class NothingLearned(Exception):  # noqa: N818 - an outcome, not a mistake
    """The job was told to stop before there was anything to save."""


# to the container a FastFile channel is a folder like any other
_MODES: dict[str, Literal["File", "Pipe"]] = {"File": "File", "FastFile": "File", "Pipe": "Pipe"}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path.name} must be a JSON object: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path.name} must be a JSON object, got {type(content).__name__}")
    return content


def _checkpoints(paths: Paths) -> Path | None:
    """LocalPath of `checkpointconfig.json`; without that file, the folder of that name if somebody made it."""
    config = _read_object(paths.config / "checkpointconfig.json")
    if config:
        local = config.get("LocalPath") or str(paths.checkpoints)
        if not isinstance(local, str):
            raise UserError(f"checkpointconfig.json: LocalPath must be text, got {local!r}")
        return Path(local)
    return paths.checkpoints if paths.checkpoints.is_dir() else None


def _channel(name: str, fields: Any) -> ChannelConfig:
    if not isinstance(fields, dict):
        raise UserError(f"inputdataconfig.json: channel '{name}' must be a JSON object, got {fields!r}")
    for key, value in fields.items():
        if value is not None and not isinstance(value, str):
            raise UserError(f"channel '{name}': {key} must be text, got {value!r}")
    mode = fields.get("TrainingInputMode") or "File"
    if mode not in _MODES:
        raise UserError(f"channel '{name}': TrainingInputMode must be File or Pipe, got '{mode}'")
    distribution = fields.get("S3DistributionType") or "FullyReplicated"
    if distribution not in ("FullyReplicated", "ShardedByS3Key"):
        raise UserError(
            f"channel '{name}': S3DistributionType must be FullyReplicated or ShardedByS3Key, got '{distribution}'"
        )
    wrapper = fields.get("RecordWrapperType") or "None"
    if wrapper != "None":
        raise UserError(f"channel '{name}': RecordWrapperType must be None, got '{wrapper}'")
    return ChannelConfig(name, fields.get("ContentType") or None, _MODES[mode], distribution == "FullyReplicated")
