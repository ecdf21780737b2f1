"""The story of a training job: read what the platform says, train, save, score, and end with the right exit code."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import algorithms
import formats
from algorithms import artifact
from algorithms.algorithm import Algorithm, Model
from algorithms.channel import Channel
from algorithms.cluster import connect
from algorithms.device import Device, decide
from algorithms.environment import Environment, base_directory
from algorithms.errors import PlatformError, UserError
from algorithms.hyperparameters import Hyperparameters
from algorithms.job import Job, JobConfig, NothingLearned, Paths
from algorithms.report import Counters, Report, log, start_log
from formats import Batch, Expected, UnknownMediaTypeError, parse_media_type

SHOWN = 1024  # characters of the failure file, as many as the platform shows
_TEST_ROWS = 5000  # rows of the test channel scored at a time
_MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}


def main() -> int:
    """The program `train`. Exit code 0: trained; 2: the customer's mistake; 1: ours; 3: the machine's."""
    started = time.perf_counter()
    paths = Paths(base_directory(os.environ))
    start_log(20)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        paths.failure.unlink(missing_ok=True)
        environment = Environment.read(os.environ)
        start_log(environment.log_level)
        log.info("Docker entrypoint called with argument(s): train", extra={"plain": True})
        if environment.job_name:
            log.info("Training job %s", environment.job_name)
        run(environment, stop, started)
    except NothingLearned:
        log.warning("Stopped before anything was learned: there is no model to save.")
    except Exception as error:
        return _fail(paths.failure, error)
    return 0


def run(environment: Environment, stop: threading.Event, started: float) -> None:
    """Trains the environment's algorithm on the job laid out under `environment.base`.

    stop: set when the platform asks the job to end. started: `time.perf_counter()` at process start.
    """
    algorithm = algorithms.find(environment.algorithm)
    paths = Paths(environment.base)
    config = JobConfig.read(paths)
    hyperparameters = _configure(algorithm, config)
    _check(algorithm, config)
    paths.output.mkdir(parents=True, exist_ok=True)
    report = Report(config.current_host, algorithm.dimension, paths.metrics)
    channels = _channels(algorithm, config, report, stop)
    device = _device(environment.device, algorithm)
    setup = time.perf_counter() - started
    with connect(config.hosts, config.current_host, environment.cluster_port, stopped=stop.is_set) as cluster:
        job = Job(channels, cluster, report, stop.is_set, paths, config.checkpoints)
        _require_data(job)
        model = algorithm.fit(job, hyperparameters, **({"device": device} if "gpu" in algorithm.devices else {}))
        for channel in channels.values():
            channel.forget()
        _score(algorithm, job, hyperparameters, model)
        if cluster.is_leader:
            with report.timed("model.serialize.time"):
                artifact.save(paths.model, algorithm, hyperparameters, model, channels["train"].sample)
        report.metrics()
    total = time.perf_counter() - started
    report.metrics({"setuptime": 1000 * setup, "totaltime": 1000 * total})


def _configure(algorithm: Algorithm, config: JobConfig) -> Hyperparameters:
    """The hyperparameters, logged as the hosted service logs its merging of defaults and the customer's."""
    kind = algorithm.hyperparameters
    fields = [(field.alias or name, field) for name, field in kind.model_fields.items()]
    defaults = {name: field.default for name, field in fields if not field.is_required() and field.default is not None}
    log.info("Reading default configuration from algorithms.%s: %s", algorithm.name, defaults)
    source = config.paths.config / "hyperparameters.json"
    log.info("Merging with provided configuration from %s: %s", source, dict(config.hyperparameters))
    hyperparameters = kind.parse(config.hyperparameters)
    log.info("Final configuration: %s", hyperparameters.values())
    return hyperparameters


def _check(algorithm: Algorithm, config: JobConfig) -> None:
    """What can be known to fail before any data are read."""
    if algorithm.max_hosts is not None and len(config.hosts) > algorithm.max_hosts:
        raise UserError(
            f"{algorithm.name} trains on at most {algorithm.max_hosts} host, the job has {len(config.hosts)}. "
            "Please set the instance count accordingly."
        )
    known = {channel.name: channel.required for channel in algorithm.channels}
    described = ", ".join(f"{name} ({'required' if required else 'optional'})" for name, required in known.items())
    for name in config.channels:
        if name not in known:
            raise UserError(f"unknown channel '{name}'; {algorithm.name} reads the channels {described}.")
    for name, required in known.items():
        if required and name not in config.channels:
            raise UserError(f"channel '{name}' is missing; {algorithm.name} reads the channels {described}.")
    with artifact.staged(config.paths.model):
        pass  # an unwritable model folder is better known now than after hours of training


def _device(wanted: str, algorithm: Algorithm) -> Device:
    """What the job computes on, and in the log why. Raises UserError for a GPU that is wanted and not there."""
    decision = decide(wanted, algorithm.name, algorithm.devices)
    log.log(logging.WARNING if decision.fallback else logging.INFO, decision.sentence)
    device = decision.opened()
    log.info("Number of GPUs being used: %d", device.gpus)
    return device


def _channels(algorithm: Algorithm, config: JobConfig, report: Report, stop: threading.Event) -> dict[str, Channel]:
    channels = {}
    for name, channel in config.channels.items():
        content_type = channel.content_type or algorithm.content_types[0]
        media_type = parse_media_type(content_type)
        try:
            formats.expected_of(media_type, Expected())
        except UnknownMediaTypeError as error:
            raise UserError(f"channel '{name}': {error}.") from None
        if media_type.name not in algorithm.training_media_types():
            raise UserError(
                f"channel '{name}': content type must be one of {', '.join(algorithm.content_types)}, "
                f"got '{content_type}'."
            )
        log.info("Loaded iterator creator %s for content type ('%s', '1.0')", media_type.name, media_type.name)
        channels[name] = Channel(
            channel,
            config.paths.data,
            content_type,
            report,
            stop.is_set,
            allows_missing=algorithm.allows_missing,
        )
    return channels


def _require_data(job: Job) -> None:
    """A File channel without files is the customer's mistake, unless another host of the job has some."""
    for channel in job.channels.values():
        if not job.cluster.total(channel.config.mode == "Pipe" or bool(channel.files())):
            raise channel.without_data()


def _score(algorithm: Algorithm, job: Job, hyperparameters: Any, model: Model) -> None:
    """Scores the test channel; of a replicated one, only on the leader, so that sums over hosts count it once."""
    channel, evaluate = job.channels.get("test"), algorithm.evaluate
    if evaluate is None:
        return
    if channel is None:
        log.info("Test data is not provided.")
        return
    seen = [0, 0]

    def counted(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            seen[0] += len(batch)
            seen[1] += 1
            yield batch

    if channel.config.replicated and job.cluster.rank > 0:
        values = evaluate(job, hyperparameters, model, iter(()))
    else:
        expected = Expected(model.width, None)
        with channel.epoch(_TEST_ROWS, expected) as batches:
            values = evaluate(job, hyperparameters, model, counted(batches))
    if job.cluster.total(job.stopped()):
        log.warning("Stopped while the test channel was scored: its metrics are left out.")
        return
    if job.cluster.total(seen[0]) == 0:
        raise channel.without_data()
    job.report.metrics(Counters().epoch(*seen), Meta="test_data_iter")
    job.report.scores({algorithm.metric("test", name): value for name, value in values.items()})


def _fail(failure: Path, error: Exception) -> int:
    """Logs the traceback, writes the failure file and returns the exit code."""
    if isinstance(error, OSError) and error.errno in _MACHINE_FAULTS:
        error = PlatformError(f"{error.strerror}{f': {error.filename}' if error.filename else ''}")
    if isinstance(error, MemoryError):
        error = PlatformError(
            f"the machine has not enough memory: {error}. Please use a larger one, or smaller settings."
        )
    exit_code, prefix = getattr(error, "exit_code", 1), getattr(error, "prefix", "AlgorithmError: ")
    message = (
        f"{prefix}{error}"
        if isinstance(error, UserError | PlatformError)
        else (f"{prefix}{type(error).__name__}: {error}. This is a fault of Inbuilt; the log has its traceback.")
    )
    if not isinstance(error, UserError):
        traceback.print_exception(error, file=sys.stderr)
    log.error("%s", message)
    try:
        failure.parent.mkdir(parents=True, exist_ok=True)
        shown = message if len(message) <= SHOWN else message[: SHOWN - 3] + "..."
        failure.write_bytes(shown.encode("utf-8", "backslashreplace"))
    except OSError as unwritable:
        log.error("cannot write the failure file: %s", unwritable)
    return int(exit_code)


if __name__ == "__main__":
    sys.exit(main())
