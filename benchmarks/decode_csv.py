"""CSV to one float32 matrix on one core, beside pandas' C reader and pyarrow: `python benchmarks/decode_csv.py`.

Each reader reads the same file, in the page cache, and ends with one C-contiguous (n, d) float32 matrix. The readers
take turns, so that what else runs on the machine troubles all of them alike; the ratios are those of the medians.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", ARROW_NUM_THREADS="1", OMP_THREAD_LIMIT="1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from numpy.typing import NDArray

from formats import csv
from formats.batch import Expected

ROUNDS = 5
HEADER = f"{'data':<28}{'reader':<10}{'MB/s':>6}{'lowest':>8}{'highest':>8}{'inbuilt is':>14}"
Reader = Callable[[Path], NDArray[np.float32]]


def pixels(path: Path, form: Callable[[np.float32], str]) -> None:
    """Rows of 784 pixels in [0, 1], four of five of them 0 and in runs, as in pictures of digits."""
    rng = np.random.default_rng(0)
    ink = np.repeat(rng.random((5000, 98)) < 0.19, 8, axis=1)
    grey = [form(np.float32(level) / np.float32(255)) for level in range(256)]
    levels = np.where(ink, rng.integers(1, 256, ink.shape), 0)
    path.write_text("".join(",".join([grey[level] for level in row]) + "\n" for row in levels.tolist()))


def floats(path: Path, rows: int, form: str) -> None:
    """Rows of 10 normal deviates."""
    np.savetxt(path, np.random.default_rng(0).standard_normal((rows, 10)), fmt=form, delimiter=",")


def ours(path: Path) -> NDArray[np.float32]:
    """`formats.csv.read`, and the batches put together."""
    with open(path, "rb", buffering=0) as stream:
        return np.concatenate([np.asarray(batch.features) for batch in csv.read(stream, 5000, Expected())])


def pandas_c(path: Path) -> NDArray[np.float32]:
    """`pandas.read_csv` straight to float32, as is fastest there."""
    pd = importlib.import_module("pandas")
    return np.ascontiguousarray(pd.read_csv(path, header=None, dtype=np.float32, engine="c").to_numpy())


def arrow(path: Path) -> NDArray[np.float32]:
    """`pyarrow.csv.read_csv` without threads, its columns copied into the matrix."""
    pa, pa_csv = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.csv")
    with open(path, "rb") as file:
        names = [str(i) for i in range(file.readline().count(b",") + 1)]
    table = pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(use_threads=False, column_names=names),
        convert_options=pa_csv.ConvertOptions(column_types={name: pa.float32() for name in names}),
    )
    matrix = np.empty(table.shape, np.float32)
    for i, column in enumerate(table.columns):
        matrix[:, i] = column.to_numpy()
    return matrix


def importable(name: str) -> bool:
    """Whether the library is here to be measured."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def compare(readers: dict[str, Reader], path: Path) -> None:
    """All readers must read the same; it warms them up, too."""
    reference = ours(path)
    for name, reader in readers.items():
        assert np.allclose(reader(path), reference, rtol=1e-6, atol=0), name


def measure(readers: Mapping[str, Callable[[Path], object]], path: Path) -> dict[str, list[float]]:
    """Seconds of each round of each reader, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            start = time.perf_counter()
            reader(path)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def show(title: str, path: Path, seconds: Mapping[str, list[float]]) -> None:
    """Prints a line for each reader."""
    size = path.stat().st_size / 1e6
    for name, times in seconds.items():
        ratio = statistics.median(times) / statistics.median(seconds["inbuilt"])
        rates = [size / t for t in (statistics.median(times), max(times), min(times))]
        print(f"{title:<28}{name:<10}{rates[0]:>6.0f}{rates[1]:>8.0f}{rates[2]:>8.0f}{ratio:>8.1f}x as fast")


def main() -> None:
    """Prints one line a data set and reader."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    readers: dict[str, Reader] = {"inbuilt": ours}
    readers |= {name: reader for name, reader in (("pandas", pandas_c), ("pyarrow", arrow)) if importable(name)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        print(HEADER)
        data: list[tuple[str, Callable[[], None]]] = [
            ("784 pixels, shortest", lambda: pixels(path, str)),
            ("784 pixels, %g", lambda: pixels(path, lambda value: f"{value:g}")),
            ("10 floats, %.6f", lambda: floats(path, 200_000, "%.6f")),
            ("10 floats, 17 digits", lambda: floats(path, 100_000, "%.17g")),
        ]
        for title, write in data:
            write()
            compare(readers, path)
            show(title, path, measure(readers, path))


if __name__ == "__main__":
    main()
