"""What an algorithm's package declares, as data, for the shell, the server, the documentation and the tests to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import formats
from formats.batch import Batch, Columns, Expected

if TYPE_CHECKING:
    from algorithms.device import Device
    from algorithms.hyperparameters import Hyperparameters
    from algorithms.job import Job

RECORDIO = "application/x-recordio-protobuf"
JSON = "application/json"
JSONLINES = "application/jsonlines"
CSV = "text/csv"
LIBSVM = "text/libsvm"
PARQUET = "application/x-parquet"
QUALITY_LINE = r"#quality_metric: host=\S+, {channel} {name} <{kind}>=(\S+)"


class Model(Protocol):
    """What training gives and serving loads: plain arrays, complete, never half-trained."""

    @property
    def width(self) -> int:
        """Number of features of a row."""

    def predict(self, batch: Batch) -> Columns:
        """The answers, by the guide's names, in the guide's order: element i of each column belongs to row i."""

    def save(self, directory: Path) -> None:
        """Writes the artifact in the hosted service's own format."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that training reports; `channel:name` is what the guide and the tuner call it.

    pattern: a regular expression of its names in the log, where they say more: `binary_f_1.000` is a `binary_f_beta`
    """

    channel: str
    name: str
    direction: Literal["minimize", "maximize"]
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """An input channel that an algorithm knows."""

    name: str
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One algorithm, complete.

    name:           its folder
    repository:     the guide's repository name (`linear-learner`), an alias of `name`
    dimension:      its name in `#metrics` lines, as the hosted service prints it
    fit:            trains; ends early, with what there is, when `job.stopped()`. Takes a `device`, if there is a choice
    load:           reads the artifact, ours or the hosted service's; raises UserError if it is not one
    evaluate:       scores batches of the test channel: a value for each metric of that channel asked for; None for an
                    algorithm without a test channel
    content_types:  of the training channels, the default first
    request_types, response_types: of the server, the default first
    wrapper:        the key around the answers in JSON
    csv_joined:     a CSV answer of one number a row has all of them on one line; in batch transform, or where lines are
                    asked for, it has one a line, and a newline at its end
    expected:       what requests to a model must look like
    adapted:        the model as the `SAGEMAKER_INFERENCE_...` variables want it; raises UserError for one that makes no
                    sense. None: the algorithm has no such choices
    verbose:        the model that answers `Accept: ...; verbose=true`, with more columns. None: there are no more
    self_test:      what the server compares with the stored answer to a few training rows before it is ready
    metric_line:    the regular expression that finds a metric in the log: `{channel}`, `{name}`, `{kind}` (loss, score)
    max_hosts:      None means any number
    devices:        what it computes on: "cpu", and "gpu" if a GPU is of use to it
    on_device:      the model that answers from a device, its arrays there. None: it answers on the CPU only
    allows_missing: NaN among the features is a missing value, not a mistake
    """

    name: str
    repository: str
    dimension: str
    hyperparameters: type[Hyperparameters]
    fit: Callable[..., Model]
    load: Callable[[Path], Model]
    channels: tuple[ChannelSpec, ...]
    metrics: tuple[Metric, ...]
    evaluate: Callable[[Job, Any, Any, Iterator[Batch]], dict[str, float]] | None = None
    content_types: tuple[str, ...] = (RECORDIO, CSV, JSONLINES)
    request_types: tuple[str, ...] = (JSON, JSONLINES, CSV, RECORDIO)
    response_types: tuple[str, ...] = (JSON, JSONLINES, CSV, RECORDIO)
    wrapper: str = "predictions"
    csv_joined: bool = False
    expected: Callable[[Any], Expected] = lambda model: Expected(model.width)
    adapted: Callable[[Any, Mapping[str, str]], Model] | None = None
    verbose: Callable[[Any], Model] | None = None
    self_test: Callable[[Any, Batch], Columns] = lambda model, batch: model.predict(batch)
    metric_line: str = QUALITY_LINE
    max_hosts: int | None = None
    devices: tuple[Literal["cpu", "gpu"], ...] = ("cpu",)
    on_device: Callable[[Any, Device], Model] | None = None
    allows_missing: bool = False

    def training_media_types(self) -> set[str]:
        """The content types of the training channels, with their aliases."""
        return {alias for name in self.content_types for alias in formats.find(name).MEDIA_TYPES}

    def metric(self, channel: str, name: str) -> Metric:
        """The declared metric that the log calls so; a metric that nobody declared must not be reported."""
        for metric in self.metrics:
            if metric.channel == channel and re.fullmatch(metric.pattern or re.escape(metric.name), name):
                return replace(metric, name=name)
        raise LookupError(f"{self.name} declares no metric {channel}:{name}")
