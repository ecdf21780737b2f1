"""The benchmark of what computes on a GPU: it runs from end to end, here with few rows, and skips where none is."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from algorithms.device import Device
from benchmarks import gpu_cores
from tests.gpu.forwarded import found


@pytest.mark.parametrize("make", dict.fromkeys(make for make, _ in gpu_cores.CORES))
def test_each_core_is_measured_in_all_ways(cupy, make, monkeypatch) -> None:
    monkeypatch.setattr(gpu_cores, "REPEATS", 1)
    device = Device(cupy, 1)
    rates = gpu_cores.limits(device, 64, 2**12)
    assert rates.keys() == {"float32", "float64", "memory", "bus"}
    assert all(rate > 0 for rate in rates.values())
    few = {"d": 16} if "d" in inspect.signature(make).parameters else {}
    measured = gpu_cores.measure(make(50, **few), device, rates, 0)
    times = ("copies", "computing", "both", "CPU", "floor of computing", "floor of copies")
    ratios = ("computing / floor", "both / floors", "CPU / both")
    assert measured.keys() == {"core", "steps", *(f"{name} ms" for name in times), *ratios}
    assert all(measured[name] > 0 for name in measured.keys() - {"core"})


def test_without_a_gpu_the_benchmark_says_why() -> None:
    if not found().fault:
        pytest.skip("a GPU is here, with which the benchmark would run for minutes: make bench-gpu does")
    command, root = [sys.executable, "-m", "benchmarks.gpu_cores"], Path(gpu_cores.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("skipped: INBUILT_DEVICE is gpu, but no GPU can be used: ")
