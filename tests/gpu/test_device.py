"""What is computed with, and what is said of it: real programs, with and without a GPU, or a CuPy that forwards."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import algorithms
from algorithms import device as device_module
from algorithms.device import CPU, Device, Found, decide, look, look_apart
from algorithms.errors import UserError
from formats import Batch
from tests.examples import RECORDIO, encoded, example
from tests.gpu.forwarded import FOLDER, found

BOTH = [name for name in algorithms.names() if "gpu" in algorithms.find(name).devices]
CPU_ONLY = [name for name in algorithms.names() if "gpu" not in algorithms.find(name).devices]
THERE, BROKEN = Found("H1", driver=True), Found(fault="CuPy cannot use it: Fault: no driver")
ABSENT = Found(fault="CuPy is not installed, as in the images for CPU")


@pytest.mark.parametrize("wanted", ["auto", "gpu"])
def test_a_gpu_that_is_there_is_used(wanted: str) -> None:
    decision = decide(wanted, "x", ("cpu", "gpu"), lambda: THERE)
    assert (decision.gpu, decision.sentence, decision.fallback) == (True, "x computes on the GPU: H1.", False)


def test_without_one_the_cpu_computes_and_the_reason_is_given() -> None:
    decision = decide("auto", "x", ("cpu", "gpu"), lambda: BROKEN)
    assert decision.sentence == "x computes on the CPU; no GPU is used: CuPy cannot use it: Fault: no driver."
    assert decision.opened() is CPU


@pytest.mark.parametrize(("driver", "fallback"), [(True, True), (False, "cupy" in sys.modules)])
def test_a_gpu_that_lies_idle_is_a_warning(driver: bool, fallback: bool) -> None:
    if found().fault != ABSENT.fault:
        pytest.skip("CuPy is installed here")
    assert decide("auto", "x", ("cpu", "gpu"), lambda: Found(fault="-", driver=driver)).fallback is fallback


def test_the_cpu_is_used_where_it_is_asked_for_and_nobody_looks() -> None:
    def never() -> Found:
        raise AssertionError

    assert decide("cpu", "x", ("cpu", "gpu"), never).sentence == "x computes on the CPU, as INBUILT_DEVICE says."
    for wanted in ("auto", "cpu", "gpu"):
        decision = decide(wanted, "x", ("cpu",), never)
        assert decision.sentence.startswith("x computes on the CPU only, as in the guide")
        assert not decision.gpu


@pytest.mark.parametrize("name", CPU_ONLY)
@pytest.mark.parametrize(
    ("wanted", "driver", "said"), [("auto", True, 1), ("gpu", True, 1), ("cpu", True, 0), ("auto", False, 0)]
)
def test_an_algorithm_of_the_cpu_says_so_where_a_gpu_is(tmp_path, monkeypatch, name, wanted, driver, said) -> None:
    (tmp_path / "version").touch()
    monkeypatch.setattr(device_module, "DRIVER", tmp_path / ("version" if driver else "absent"))
    decision = decide(wanted, name, algorithms.find(name).devices)
    unused = said * ": the GPU is not used"
    assert decision.sentence == f"{name} computes on the CPU only, as in the guide{unused}."


def test_a_gpu_that_is_asked_for_and_not_there_is_the_users() -> None:
    with pytest.raises(UserError) as refused:
        decide("gpu", "x", ("cpu", "gpu"), lambda: ABSENT)
    assert str(refused.value) == (
        "INBUILT_DEVICE is gpu, but no GPU can be used: CuPy is not installed, as in the images for CPU. Please run an "
        "image for GPU on a machine with one (docker run --gpus all), or set INBUILT_DEVICE to auto or cpu."
    )


def test_looking_from_another_process_finds_the_same() -> None:
    assert look_apart() == look()


def test_a_cpu_copies_nothing() -> None:
    rows = np.ones((2, 2), np.float32)
    batch = Batch(rows)
    assert CPU.put(rows) is rows
    assert CPU.get(rows) is rows
    assert next(CPU.ahead([batch])) is batch


def test_batches_arrive_as_they_left(cupy) -> None:
    random = np.random.default_rng(0)
    sizes = [1, 700, 0, 3, 700, 2000, 1]  # more than one piece to copy, growing and shrinking
    batches = [Batch(random.random((n, 500), np.float32), random.random(n, np.float32)) for n in sizes]
    device, seen = Device(cupy, 1), 0
    for batch, there in zip(batches, device.ahead(batches), strict=False):
        assert np.array_equal(device.get(there.features), batch.features)
        assert np.array_equal(device.get(there.labels), batch.labels)
        seen += 1
    assert seen == len(sizes)


def test_a_place_is_not_what_is_still_computed_in(cupy) -> None:
    """The device's memory is handed out again while it computes: here a difference's, as long as a batch."""
    random = np.random.default_rng(0)
    batches = [Batch(random.random((4096, 1024), np.float32)) for _ in range(4)]
    device = Device(cupy, 1)
    busy, means = device.put(random.random((4096, 4096), np.float32) if cupy.__name__ == "cupy" else np.eye(2)), []
    for _ in range(2):  # the first time kernels are compiled, which takes long
        means.clear()
        for there in device.ahead(batches):
            for _ in range(5):
                busy @ busy  # the host is ahead of the device then
            means.append((there.features - there.features[:1]).sum(axis=0))
    for mean, batch in zip(means, batches, strict=True):
        expected = (batch.features - batch.features[:1]).sum(axis=0, dtype=np.float64)
        np.testing.assert_allclose(device.get(mean), expected, rtol=1e-3, atol=0.1)


def test_a_new_place_waits_for_all_that_was_asked_before(forwarding) -> None:
    """Its memory may be what earlier steps compute in."""
    waited = []
    forwarding.cuda.Stream.wait_event = lambda self, event: waited.append(event.stream)
    list(Device(forwarding, 1).ahead([Batch(np.ones((1, 2), np.float32))]))
    current = forwarding.cuda.get_current_stream()
    assert waited[0] is current  # the copy waits
    assert waited[1] is not current  # and then the computing


def test_a_copy_waits_for_the_computing_on_the_batch_before_last(forwarding) -> None:
    """A place on the device is written again only after what was asked of it, and read only after the copy."""
    batches = [Batch(np.full((2, 2), i, np.float32)) for i in range(5)]
    places = [id(there.features._host.base) for there in Device(forwarding, 1).ahead(batches)]
    assert places[0] == places[2] == places[4]
    assert places[1] == places[3] != places[0]
    stream = forwarding.copies[-1][1]
    assert len(stream.awaited) == 5  # the events of computing
    assert len(forwarding.cuda.get_current_stream().awaited) == 5  # those of copying
    assert not set(map(id, stream.awaited)) & set(map(id, forwarding.cuda.get_current_stream().awaited))


def folder_of(job_folder, name: str):
    case = example(name)
    job = job_folder(name)
    job.hyperparameters = dict(case.HYPERPARAMETERS)
    features, labels = case.rows(500)
    job.channel("train", {"rows": encoded(features, RECORDIO, labels)}, RECORDIO)
    return job


def test_a_job_that_wants_a_gpu_and_has_none(job_folder) -> None:
    if not found().fault:
        pytest.skip("there is a GPU")
    job = folder_of(job_folder, BOTH[0])
    job.environment["INBUILT_DEVICE"] = "gpu"
    ended = job.train()
    assert ended.exit_code == 2
    assert ended.failure.startswith("ClientError: INBUILT_DEVICE is gpu, but no GPU can be used: CuPy")
    job.environment["INBUILT_DEVICE"] = "tpu"
    assert job.train().failure == (
        "ClientError: environment variable INBUILT_DEVICE must be one of auto, cpu, gpu, got 'tpu'"
    )


@pytest.mark.parametrize("name", BOTH)
def test_a_whole_job_where_cupy_forwards(job_folder, name: str) -> None:
    """`train` finds it, says so, and writes the artifact that it writes on a CPU, but for rounding."""
    on_cpu, on_gpu = folder_of(job_folder, name), folder_of(job_folder, name)
    on_cpu.environment["INBUILT_DEVICE"] = "cpu"
    on_gpu.environment["PYTHONPATH"] = str(FOLDER)
    logs = [job.train().log for job in (on_cpu, on_gpu)]
    for log, gpus, where in zip(logs, (0, 1), ("CPU, as INBUILT_DEVICE says", "GPU: NumPy in disguise"), strict=True):
        assert f"Number of GPUs being used: {gpus}\n" in log
        assert f"{name} computes on the {where}." in log
    assert on_cpu.artifact().keys() == on_gpu.artifact().keys()
    batch = Batch(example(name).rows(30, seed=1)[0])
    models = [algorithms.find(name).load(job.model) for job in (on_cpu, on_gpu)]
    here, there = (model.predict(batch) for model in models)
    for column in here:
        np.testing.assert_allclose(there[column], here[column], rtol=1e-4, atol=1e-4)


def test_only_one_file_imports_cupy() -> None:
    """And that only where it is installed and wanted: an image for CPU has none."""
    root = Path(algorithms.__file__).parents[1]
    sources = [path for folder in ("formats", "algorithms", "serving") for path in (root / folder).glob("**/*.py")]
    importing = re.compile(r"^\s*(import|from) cupyx?\b|import_module\(.cupyx?\b", re.MULTILINE)
    assert [path.name for path in sources if importing.search(path.read_text())] == ["device.py"]


@pytest.mark.parametrize(("name", "wanted"), [(BOTH[0], "cpu"), *((name, "gpu") for name in CPU_ONLY)])
def test_programs_that_use_no_gpu_import_no_cupy(job_folder, tmp_path: Path, name: str, wanted: str) -> None:
    """One that would fail is there; an algorithm without code for a GPU says that it computes on the CPU."""
    job = folder_of(job_folder, name)
    (tmp_path / "cupy.py").write_text("raise SystemError('imported')")
    job.environment |= {"PYTHONPATH": str(tmp_path), "INBUILT_DEVICE": wanted}
    ended = job.train()
    assert ended.exit_code == 0, ended.failure
    assert "Number of GPUs being used: 0\n" in ended.log
    assert f"{name} computes on the CPU{' only, as in the guide' if name in CPU_ONLY else ', as'}" in ended.log
    with job.serve() as served:
        assert served.invoke(encoded(example(name).rows(3, seed=1)[0], RECORDIO), RECORDIO).status == 200


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("raise ImportError('libcublas.so.13 is missing.\\nand more')", "ImportError: libcublas.so.13 is missing"),
        # as CuPy says that it cannot compile for this GPU
        ("class CompileError(Exception): pass\nraise CompileError('unknown arch')", "CompileError: unknown arch"),
    ],
)
def test_a_cupy_that_cannot_be_used_is_a_reason(tmp_path: Path, program: str, fault: str) -> None:
    (tmp_path / "cupy.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "algorithms.device"], env=environment, capture_output=True, text=True, check=True
    )
    assert f'"fault": "CuPy cannot use it: {fault}"' in done.stdout
