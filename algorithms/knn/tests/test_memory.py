"""Training needs memory for `sample_size` rows, however many it reads: the real program, on a FIFO."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from formats.recordio import encode_features
from tests.examples import RECORDIO
from tests.job_folder import JobFolder

SAMPLE, WIDTH = 12_000, 1000
SIZE = SAMPLE * WIDTH * 4 // 1024  # of the sample, KiB


def peak(job: JobFolder, block: bytes, times: int, **given: object) -> int:
    """Greatest resident size of a training job that reads a block of rows this many times, KiB."""
    job.hyperparameters = {"k": "1", "predictor_type": "regressor", "mini_batch_size": "500"}
    job.hyperparameters |= {name: str(value) for name, value in given.items()}
    [pipe] = job.pipe("train", RECORDIO, 1)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            for _ in range(times):
                file.write(block)

    process = job.start("train", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    writer = threading.Thread(target=write, args=(pipe,), daemon=True)
    writer.start()
    greatest = 0  # of `getrusage` it would be that of the tests' own process, which the program was forked from
    while process.poll() is None:
        words = Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()
        greatest = int(words[0]) if words else greatest  # there is none once the program has ended
        time.sleep(0.005)
    assert process.returncode == 0, (job.base / "train.log").read_text()
    writer.join(10)
    return greatest


@pytest.fixture(scope="module")
def block() -> bytes:
    """As many rows as are sampled."""
    random = np.random.default_rng(0)
    return encode_features(random.random((SAMPLE, WIDTH), np.float32), np.zeros(SAMPLE, np.float32))


def test_memory_is_bounded_by_the_sample(job_folder: Callable[[str], JobFolder], block: bytes) -> None:
    """The rows of the sample, which are the index's; twenty times as many rows read cost nothing more."""
    few = peak(job_folder("knn"), block, 1, sample_size=10)
    once = peak(job_folder("knn"), block, 1, sample_size=SAMPLE)
    often = peak(job_folder("knn"), block, 20, sample_size=SAMPLE)
    assert once - few > 0.8 * SIZE  # or this would measure nothing
    assert once - few < 1.5 * SIZE
    assert often - once < 0.5 * SIZE


def test_rows_are_projected_before_they_are_kept(job_folder: Callable[[str], JobFolder], block: bytes) -> None:
    few = peak(job_folder("knn"), block, 1, sample_size=10)
    given = {"dimension_reduction_type": "sign", "dimension_reduction_target": 50}
    assert peak(job_folder("knn"), block, 3, sample_size=SAMPLE, **given) - few < 0.6 * SIZE
