"""What the tests of code for a GPU run on: a CuPy that forwards to NumPy, and the real one where a GPU is."""

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from algorithms.device import Found, look
from tests.gpu.compiled import kernels_of

FOLDER = Path(__file__).parent / "forwarding"  # as PYTHONPATH it is what `import cupy` finds


@cache
def found() -> Found:
    """What this machine has."""
    return look()


def require_gpu() -> ModuleType:
    """The real CuPy; skips the test, and says why, where it can compute on nothing."""
    if found().fault:
        pytest.skip(f"no GPU: {found().fault}")
    return importlib.import_module("cupy")


@pytest.fixture
def forwarding() -> ModuleType:
    """A fresh one, which counts from 0; `import cupy` does not find it."""
    spec = importlib.util.spec_from_file_location("forwarding_cupy", FOLDER / "cupy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compiled(forwarding: ModuleType) -> ModuleType:
    """One that has the kernels of CUDA, too, compiled for the CPU."""
    forwarding.ElementwiseKernel = kernels_of(forwarding)
    return forwarding


@pytest.fixture(params=["forwarding", "compiled", "gpu"])
def cupy(request: pytest.FixtureRequest) -> ModuleType:
    """First those that forward, then the real one."""
    return require_gpu() if request.param == "gpu" else request.getfixturevalue(request.param)
