"""Where dense rows are computed with: a GPU through CuPy, or the CPU through NumPy; it is decided once, and said.

Code that runs on both takes `device.xp`, the module of its arrays: `numpy` or `cupy`. CuPy is imported nowhere else,
and here only where it is installed and wanted. Artifacts, and what hosts add up, are arrays of NumPy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.errors import UserError
from algorithms.machine import free_memory
from algorithms.report import log
from formats import Batch

DRIVER = Path("/proc/driver/nvidia/version")  # is there where the driver of a GPU is, in a container of CUDA too
PATIENCE = 120.0  # seconds for a GPU to answer, its libraries being read for the first time
PIECE = 2**25  # numbers, 128 MiB, that answering takes at a time besides the model, however large a request is


@dataclass(frozen=True, slots=True)
class Device:
    """xp: `numpy` or `cupy`, whose arrays are computed with; gpus: how many are used, 0 or 1."""

    xp: Any = np
    gpus: int = 0

    def put(self, array: NDArray[Any]) -> Any:
        """The array where it is computed with: on a CPU itself."""
        return self.xp.asarray(array) if self.gpus else array

    def get(self, array: Any) -> NDArray[Any]:
        """The array for the host to read, after all that was asked of the device before: on a CPU itself."""
        result: NDArray[Any] = self.xp.asnumpy(array) if self.gpus else array
        return result

    def answers(self, X: NDArray[np.float32], of: Callable[[Any], Any], besides: int) -> NDArray[Any]:
        """What `of` makes of dense rows (n, d), n > 0, where they are computed with, one answer a row, on the host.

        besides: numbers that it takes for a row, beside the row
        """
        rows = max(1, PIECE // (X.shape[1] + besides))
        pieces = [X[start : start + rows] for start in range(0, len(X), rows)]
        with np.errstate(over="ignore", invalid="ignore"):  # a GPU does not tell either: answers are looked at
            found = [self.get(of(self.put(piece))) for piece in pieces]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def ahead(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches, their features and labels where they are computed with, valid until the next is asked for.

        While the device computes with one, the next is copied to it. On a CPU they are the batches themselves.
        """
        if not self.gpus:
            return iter(batches)
        from algorithms.pinned import ahead

        return ahead(self.xp, batches)

    def free_memory(self) -> float:
        """Bytes that can be had."""
        if not self.gpus:
            return free_memory()
        held = self.xp.get_default_memory_pool()
        return float(self.xp.cuda.runtime.memGetInfo()[0] + held.free_bytes())


CPU = Device()


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a GPU: its name, or why it cannot be used; driver: whether this machine has one at all."""

    name: str = ""
    fault: str = ""
    driver: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """gpu: whether to use one. sentence: what was found, and why; fallback: it is not what the machine promised."""

    gpu: bool
    sentence: str
    fallback: bool = False

    def opened(self) -> Device:
        """The device. Of a GPU it belongs to the process that calls this, and does not survive a fork."""
        return Device(_cupy(), 1) if self.gpu else CPU


def look() -> Found:
    """Whether this process can compute on a GPU: asks it for a product, which takes driver and libraries."""
    driver = DRIVER.exists()
    if find_spec("cupy") is None:
        return Found(fault="CuPy is not installed, as in the images for CPU", driver=driver)
    try:
        cupy = _cupy()
        if not cupy.cuda.runtime.getDeviceCount():
            return Found(fault="CuPy sees none", driver=driver)
        ones = cupy.ones((2, 2), np.float32)
        if float((ones @ ones).sum()) != 8:
            return Found(fault="it multiplies wrongly", driver=driver)
        return Found(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(), driver=driver)
    except Exception as error:  # of CuPy's own, where a kernel cannot be compiled; a CPU is there all the same
        first = str(error).strip().partition("\n")[0].rstrip(".")
        return Found(fault=f"CuPy cannot use it: {type(error).__name__}: {first}", driver=driver)


def look_apart() -> Found:
    """The same from a process of its own: one that has asked a GPU for anything must not fork."""
    if find_spec("cupy") is None:
        return look()
    command = [sys.executable, "-m", "algorithms.device"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)  # noqa: S603
        return Found(**json.loads(done.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, TypeError) as error:
        return Found(fault=f"the process that looked for it failed: {error}", driver=DRIVER.exists())


def decide(wanted: str, algorithm: str, devices: Sequence[str], look: Callable[[], Found] = look) -> Decision:
    """Whether an algorithm that can use these `devices` uses a GPU.

    wanted: `INBUILT_DEVICE`: auto, cpu or gpu. Raises UserError where it is gpu, and there is none that can be used.
    """
    if "gpu" not in devices:
        unused = ": the GPU is not used" if wanted != "cpu" and DRIVER.exists() else ""
        return Decision(False, f"{algorithm} computes on the CPU only, as in the guide{unused}.")
    if wanted == "cpu":
        return Decision(False, f"{algorithm} computes on the CPU, as INBUILT_DEVICE says.")
    found = look()
    if not found.fault:
        return Decision(True, f"{algorithm} computes on the GPU: {found.name}.")
    if wanted == "gpu":
        raise UserError(
            f"INBUILT_DEVICE is gpu, but no GPU can be used: {found.fault}. Please run an image for GPU on a machine "
            "with one (docker run --gpus all), or set INBUILT_DEVICE to auto or cpu."
        )
    # an image for GPU on a machine without one, or the reverse, costs its user money
    fallback = found.driver or find_spec("cupy") is not None
    return Decision(False, f"{algorithm} computes on the CPU; no GPU is used: {found.fault}.", fallback)


def dense_only(device: Device, first: Batch | None) -> Device:
    """The device for rows like the first ones, None for no rows: sparse ones stay on the CPU, and the log says so.

    The guide has GPUs for dense data only, too.
    """
    if not (device.gpus and first is not None and first.is_sparse):
        return device
    log.info("The data are sparse: they are computed with on the CPU. The GPU is for dense data.")
    return CPU


def roomy(device: Device, needed: float, what: str) -> Device:
    """The device, or the CPU where a GPU has fewer bytes of memory than `what` needs."""
    if not device.gpus or needed <= (free := device.free_memory()):
        return device
    log.warning(
        "%s needs %.1f GiB of the GPU's memory, %.1f are free: the CPU computes.", what, needed / 2**30, free / 2**30
    )
    return CPU


def _cupy() -> Any:
    cache = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy"
    if not any(os.access(path, os.W_OK) for path in (cache, Path(cache).parent)):
        os.environ.setdefault("CUPY_CACHE_IN_MEMORY", "1")  # where nothing can be written it would fail, not do without
    return import_module("cupy")


def main() -> int:
    """Prints what `look` finds."""
    found = look()
    sys.stdout.write(json.dumps({"name": found.name, "fault": found.fault, "driver": found.driver}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
