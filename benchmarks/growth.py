"""How time and memory of a training job grow with its rows and its features: 1, 4 and 16 times, and the exponent.

python -m benchmarks.growth ALGORITHM FOLDER    one job in this process: its seconds, and the MB that it took
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms.job import Paths
from benchmarks import jobs
from benchmarks.measure import spread
from formats import Batch

TIMES = (1, 4, 16)


@dataclass(frozen=True)
class Growth:
    """Jobs to grow. given: hyperparameters of d features; make: n rows of d features; from `rows` of `features`."""

    rows: int
    features: int
    make: Callable[[int, int], Batch]
    given: Callable[[int, int], jobs.Given]


def measured(name: str, growth: Growth, repeats: int, quick: bool) -> dict[str, Any]:
    """Reading from RecordIO included, the process's start not. MB: the greatest, less what was there before."""
    n, d = (growth.rows // 4 if quick else growth.rows), growth.features
    found: dict[str, Any] = {"algorithm": name, "rows": n, "features": d}
    for of, sizes in (("rows", [(n * t, d) for t in TIMES]), ("features", [(n, d * t) for t in TIMES])):
        points = [_point(name, growth, *size, repeats) for size in sizes]
        found[f"by_{of}"] = {
            "times": TIMES,
            "seconds": [point["seconds"] for point in points],
            "mb": [point["mb"] for point in points],
            "exponent_of_seconds": exponent(TIMES, [point["seconds"]["median"] for point in points]),
            "exponent_of_mb": exponent(TIMES, [max(1.0, point["mb"]["median"]) for point in points]),
        }
    return found


def exponent(times: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the line through the logarithms, by least squares: 1 is proportional, 0 is constant."""
    x, y = [math.log(t) for t in times], [math.log(value) for value in values]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    return sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / sum((a - x_mean) ** 2 for a in x)


def _point(name: str, growth: Growth, n: int, d: int, repeats: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        jobs.lay_out(base, growth.given(n, d), growth.make(n, d))
        command = [sys.executable, "-m", "benchmarks.growth", name, folder]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            for _ in range(repeats)
        ]
    return {key: spread([run[key] for run in runs]) for key in ("seconds", "mb")}


def main(name: str, base: Path) -> None:
    """Trains; the memory is what the kernel counted."""
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    given = json.loads((Paths(base).config / "hyperparameters.json").read_text())
    before = _memory("VmRSS")
    timed = jobs.timed_fit(name, given, base)
    print(f"\n{json.dumps({'seconds': timed, 'mb': _memory('VmHWM') - before})}")


def _memory(field: str) -> float:
    """MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
