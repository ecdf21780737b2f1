"""The training cores on a GPU, beside the same on this machine's CPU and beside the floor of bytes and products.

Runs offline: `python -m benchmarks.gpu_cores`. Each core is timed in three ways, which say what is between it and the
floor: the copies alone, the computing alone on rows that are there, and both.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.cluster import Cluster
from algorithms.device import CPU, Device, decide
from algorithms.errors import UserError
from algorithms.kmeans.fit import State, summarise
from algorithms.kmeans.on_device import Centers
from algorithms.linear_learner.fit import raw_loss
from algorithms.linear_learner.grid import settings
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.on_device import DeviceTrainer
from algorithms.linear_learner.scaler import Scaler
from algorithms.linear_learner.trainer import Trainer
from algorithms.pca.covariance import Covariance
from formats import Batch

MNIST = Path(__file__).parents[1] / "data/mnist/t10k-images-idx3-ubyte.gz"
REPEATS = 5
Step = Callable[[Batch], None]


@dataclass(frozen=True)
class Core:
    """A step of training: what makes it on a device, the mini-batches on the host, and what it cannot do without.

    flops: of one step's products, of `dtype`; passes: how often the device reads the rows. cpu_steps: timed on the CPU
    """

    name: str
    make: Callable[[Device], Step]
    batches: list[Batch]
    steps: int
    cpu_steps: int
    flops: float
    dtype: str
    passes: int = 1

    def rows(self, steps: int) -> Iterator[Batch]:
        """So many mini-batches, the same ones again and again."""
        return (self.batches[i % len(self.batches)] for i in range(steps))


def kmeans(rows: int) -> Core:
    """MNIST repeated to 6 million rows, k = 100, extra_center_factor 10."""
    pixels = np.frombuffer(gzip.decompress(MNIST.read_bytes()), np.uint8, offset=16).reshape(-1, 784)
    digits = np.tile((pixels / np.float32(255)).astype(np.float32), (max(1, 2 * rows // len(pixels)), 1))
    start = digits[np.random.default_rng(0).choice(10_000, 1000, replace=False)]

    def make(device: Device) -> Step:
        state = State.starting_at(start.copy(), device)

        def step(batch: Batch) -> None:
            X = batch.features
            share = Centers(device.xp, state.centers).summarise(X) if device.gpus else summarise(X, state.centers)
            state.add(share[:-1, :-1], share[:-1, -1], 1.0)

        return step

    batches = [Batch(digits[i : i + rows]) for i in range(0, len(digits), rows)]
    return Core(f"k-means, batch {rows}", make, batches, 6_000_000 // rows, 10, 2.0 * rows * 1000 * 784, "float32")


def pca(rows: int, d: int = 4096) -> Core:
    """The covariance of 4,096 features, in float64."""
    X = np.random.default_rng(0).normal(size=(2 * rows, d)).astype(np.float32)

    def make(device: Device) -> Step:
        summary = Covariance(np.zeros(d), centred=True, device=device)
        return lambda batch: summary.add(batch.features)

    # a symmetric matrix: half of the products
    return Core(f"PCA, {d} features", make, [Batch(X[:rows]), Batch(X[rows:])], 200, 4, rows * d * d, "float64")


def linear_learner(rows: int, d: int = 4096, models: int = 32) -> Core:
    """32 models of 4,096 features by Adam; the rows are read for the scores and again for the gradients."""
    random = np.random.default_rng(0)
    X, h = (
        random.normal(size=(2 * rows, d)).astype(np.float32),
        LinearLearnerHyperparameters.parse(
            {"predictor_type": "binary_classifier", "num_models": str(models), "mini_batch_size": str(rows)}
        ),
    )
    y = (X[:, 0] + random.normal(size=len(X)) > 0).astype(np.float32)
    scaler = Scaler(np.full(d, 0.01, np.float32), np.ones(d, np.float32))
    weights = (random.normal(size=(d, models)) / 100).astype(np.float32)

    def make(device: Device) -> Step:
        arguments = h, settings(h, np.random.default_rng(0)), raw_loss(h), scaler, None, weights.copy()
        trainer = DeviceTrainer(device, *arguments) if device.gpus else Trainer(*arguments)

        def step(batch: Batch) -> None:
            trainer.learn(Cluster(), batch.features, batch.labels, rows, 1)

        return step

    batches = [Batch(X[:rows], y[:rows]), Batch(X[rows:], y[rows:])]
    return Core(f"linear learner, batch {rows}", make, batches, 200, 4, 4.0 * rows * d * models, "float32", 2)


CORES = ((kmeans, 5000), (kmeans, 50_000), (pca, 1024), (linear_learner, 1000), (linear_learner, 10_000))


def timed(device: Device, run: Callable[[], Any]) -> float:
    """Median seconds of REPEATS runs after one to warm up, to the end of what the device was asked."""
    times = []
    for _ in range(REPEATS + 1):
        wait(device)
        started = time.perf_counter()
        run()
        wait(device)
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def wait(device: Device) -> None:
    """For all that the device was asked."""
    if device.gpus:
        device.xp.cuda.get_current_stream().synchronize()


def limits(device: Device, side: int = 8192, numbers: int = 2**28) -> dict[str, float]:
    """Measured here: flops a second of large products, and bytes a second of copies to the device and on it."""
    xp, found = device.xp, {}
    for dtype in ("float32", "float64"):
        A = xp.ones((side, side), dtype)
        found[dtype] = 2.0 * side**3 / timed(device, lambda A=A: A @ A)
    there = xp.ones(numbers, np.float32)
    found["memory"] = 8.0 * numbers / timed(device, lambda: there.copy())  # read and written
    pinned = device.xp.cuda.alloc_pinned_memory(4 * numbers)
    here = np.frombuffer(pinned, np.float32, numbers)
    here[:] = 1
    found["bus"] = 4.0 * numbers / timed(device, lambda: there.set(here))
    return found


def measure(core: Core, device: Device, at_most: dict[str, float], share: float) -> dict[str, Any]:
    """Milliseconds a step: on the CPU; of the copies, of the computing, and of both on the GPU; and the floors."""
    steps = max(2, int(share * core.steps))
    step, on_cpu = core.make(device), core.make(CPU)
    there = Batch(*(None if a is None else device.put(a) for a in (core.batches[0].features, core.batches[0].labels)))

    def together() -> None:
        for batch in device.ahead(core.rows(steps)):
            step(batch)

    def copies() -> None:
        for _ in device.ahead(core.rows(steps)):
            pass

    def computing() -> None:
        for _ in range(steps):
            step(there)

    def cpu() -> None:
        for batch in core.rows(core.cpu_steps):
            on_cpu(batch)

    size = core.batches[0].features.nbytes
    seconds = {name: timed(device, run) / steps for name, run in (("copies", copies), ("computing", computing))}
    floor = max(core.flops / at_most[core.dtype], core.passes * size / at_most["memory"])
    seconds |= {"both": timed(device, together) / steps, "CPU": timed(CPU, cpu) / core.cpu_steps}
    seconds |= {"floor of computing": floor, "floor of copies": size / at_most["bus"]}
    ratios = {
        "computing / floor": seconds["computing"] / floor,
        "both / floors": seconds["both"] / max(floor, seconds["floor of copies"]),
        "CPU / both": seconds["CPU"] / seconds["both"],
    }
    return {"core": core.name, "steps": steps} | {f"{k} ms": 1000 * v for k, v in seconds.items()} | ratios


def main() -> int:
    """Prints a line of JSON for the machine and one for each core; where no GPU is, the reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=float, default=1.0, help="share of the steps that are run")
    share = parser.parse_args().steps
    try:
        decision = decide("gpu", "the benchmark", ("cpu", "gpu"))
    except UserError as error:
        print(f"skipped: {error}")
        return 0
    device = decision.opened()
    at_most = limits(device)
    print(json.dumps({"machine": decision.sentence} | {name: f"{rate:.4g} a second" for name, rate in at_most.items()}))
    for make, rows in CORES:
        found = measure(make(rows), device, at_most, share)
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
