"""The log of a training job, in the lines that the tuner's regular expressions look for.

The forms are those of the hosted service's logs. The same metrics go to `output/data/metrics.jsonl`.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from algorithms.algorithm import Metric

log = logging.getLogger("inbuilt")


class _Formatter(logging.Formatter):
    """`[MM/DD/YYYY HH:MM:SS LEVEL thread] message`; records marked `plain` are printed as they are."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if getattr(record, "plain", False) else super().format(record)


def start_log(level: int) -> None:
    """Sends the `inbuilt` logger, and nothing else, to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter("[%(asctime)s %(levelname)s %(thread)d] %(message)s", "%m/%d/%Y %H:%M:%S"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level)


class Report:
    """Says what happens in a job: `host` and `dimension` (the algorithm's name in `#metrics`) stand in every line."""

    def __init__(self, host: str, dimension: str, metrics_file: Path | None) -> None:
        self._host = host
        self._dimension = dimension
        self._metrics_file = metrics_file
        self._times: dict[str, list[float]] = defaultdict(list)
        self._started = time.time()

    def scores(self, values: Mapping[Metric, float]) -> None:
        """The final values of a channel's metrics: first all `#test_score` lines, then all `#quality_metric` lines."""
        for metric, value in values.items():
            log.info("#%s_score (%s) : %s", metric.channel, self._host, (metric.name, value))
        for metric, value in values.items():
            self.quality(metric, value)

    def quality(self, metric: Metric, value: float, *, epoch: int | None = None, batch: int | None = None) -> None:
        """`#quality_metric: host=algo-1, epoch=0, batch=0 train rmse <loss>=72.2` (no comma after the batch)."""
        place = "" if epoch is None else f"epoch={epoch}, "
        place += "" if batch is None else f"batch={batch} "
        kind = "loss" if metric.direction == "minimize" else "score"
        log.info(
            "#quality_metric: host=%s, %s%s %s <%s>=%r", self._host, place, metric.channel, metric.name, kind, value
        )
        self._write(metric=f"{metric.channel}:{metric.name}", value=value, epoch=epoch, batch=batch)

    def round(self, number: int, values: Mapping[str, float]) -> None:
        """`[0]<TAB>train-rmse:2.65091<TAB>validation-rmse:2.67796`, as XGBoost prints the metrics of a round.

        values: by `channel-metric`. Five decimals, or six digits where those would show nothing.
        """
        shown = {name: f"{value:.5f}" if abs(value) >= 0.001 else f"{value:.6g}" for name, value in values.items()}
        log.info("\t".join([f"[{number}]", *map(":".join, shown.items())]), extra={"plain": True})
        for name, value in values.items():
            self._write(metric=name.replace("-", ":", 1), value=value, epoch=number)

    def criterion(self, epoch: int, name: str, value: float) -> None:
        """`#early_stopping_criteria_metric`: the value that says whether an epoch was an improvement."""
        log.info(
            "#early_stopping_criteria_metric: host=%s, epoch=%d, criteria=%s, value=%r", self._host, epoch, name, value
        )

    def progress(self, epochs_done: int, epochs: int) -> None:
        """`#progress_metric`, in percent of all epochs."""
        percent = 100 * epochs_done / epochs
        log.info("#progress_metric: host=%s, completed %.4g %% of epochs", self._host, percent)
        self._write(metric="train:progress", value=percent, epoch=epochs_done - 1)

    def throughput(self, records: int, seconds: float) -> None:
        """`#throughput_metric`, in records a second."""
        rate = records / max(seconds, 1e-9)
        log.info("#throughput_metric: host=%s, train throughput=%r records/second", self._host, rate)
        self._write(metric="train:throughput", value=rate)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds the time that the block takes, in milliseconds, to the metric `name` of the next `metrics()`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._times[name].append(1000 * (time.perf_counter() - started))

    def metrics(self, counters: Mapping[str, float] | None = None, **dimensions: Any) -> None:
        """A `#metrics` line: `counters` if given, else the times gathered since the last call."""
        now = time.time()
        values: Mapping[str, list[float]]
        values = dict(self._times) if counters is None else {name: [value] for name, value in counters.items()}
        if counters is None:
            self._times.clear()
        line = {
            "StartTime": self._started,
            "EndTime": now,
            "Dimensions": {"Algorithm": self._dimension, "Host": self._host, "Operation": "training", **dimensions},
            "Metrics": {
                name: {"sum": float(sum(each)), "count": len(each), "min": min(each), "max": max(each)}
                for name, each in values.items()
            },
        }
        self._started = now
        log.info("#metrics %s\n", json.dumps(line), extra={"plain": True})

    def read(self, pipeline: Path, epoch: int, seconds: float, batches: int, size: int) -> None:
        """The data reader's line at the end of an epoch; `num_examples` counts batches, as the hosted service does."""
        stats = {
            "data_pipeline": str(pipeline),
            "epoch": epoch,
            "duration": round(1000 * seconds),
            "num_examples": batches,
            "num_bytes": size,
        }
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S.%f}"[:-3]
        log.info("[%s] [tensorio] [info] epoch_stats=%s", now, json.dumps(stats), extra={"plain": True})

    def _write(self, **fields: Any) -> None:
        if self._metrics_file is None:
            return
        record = {"time": time.time(), "host": self._host} | {k: v for k, v in fields.items() if v is not None}
        value = record.get("value")
        if isinstance(value, float) and not math.isfinite(value):
            record["value"] = None  # JSON has no word for it
        with self._metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class Counters:
    """The record counters that `#metrics` prints for a data iterator over its epochs."""

    def __init__(self) -> None:
        self._totals = [0, 0]  # records, batches
        self._greatest = [0, 0]
        self._resets = 0

    def epoch(self, records: int, batches: int) -> dict[str, float]:
        """Counts one more pass over `records` in `batches` and returns what the line says of it."""
        self._totals = [self._totals[0] + records, self._totals[1] + batches]
        self._greatest = [max(self._greatest[0], records), max(self._greatest[1], batches)]
        self._resets += 1
        return {
            "Total Records Seen": self._totals[0],
            "Total Batches Seen": self._totals[1],
            "Max Records Seen Between Resets": self._greatest[0],
            "Max Batches Seen Between Resets": self._greatest[1],
            "Reset Count": self._resets - 1,
            "Number of Records Since Last Reset": records,
            "Number of Batches Since Last Reset": batches,
        }
