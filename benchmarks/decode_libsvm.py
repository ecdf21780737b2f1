"""LibSVM to one CSR matrix on one core, beside scikit-learn's reader: `python benchmarks/decode_libsvm.py`.

Both read the same file, in the page cache, and end with one float32 CSR matrix and the labels. The readers take turns,
so that what else runs on the machine troubles both alike; the ratios are those of the medians.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OMP_THREAD_LIMIT="1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from decode_csv import HEADER, measure, show
from sklearn.datasets import load_svmlight_file

from formats import libsvm
from formats.batch import Batch, Expected, concatenate

Reader = Callable[[Path], Batch]


def mushrooms(path: Path) -> None:
    """Rows of about 20 of 126 binary features, as in the mushroom data that come with XGBoost."""
    rng = np.random.default_rng(0)
    kept = rng.random((100_000, 126)) < 20 / 126
    names = [f"{i}:1" for i in range(1, 127)]
    with path.open("w") as file:
        for label, row in zip(rng.integers(0, 2, len(kept)), kept, strict=True):
            file.write(f"{label} {' '.join(names[i] for i in np.flatnonzero(row))}\n")


def shells(path: Path) -> None:
    """Rows of 8 features, all given, with 3 decimals, as in the abalone data of the guide."""
    rng = np.random.default_rng(0)
    form = "%d " + " ".join(f"{i}:%.3g" for i in range(1, 9))
    np.savetxt(path, np.column_stack([rng.integers(1, 30, 200_000), rng.random((200_000, 8))]), fmt=form)


def floats(path: Path) -> None:
    """Rows of 30 normal deviates with 17 digits."""
    rng = np.random.default_rng(0)
    form = "%d " + " ".join(f"{i}:%.17g" for i in range(1, 31))
    np.savetxt(path, np.column_stack([rng.integers(0, 2, 30_000), rng.standard_normal((30_000, 30))]), fmt=form)


def ours(path: Path) -> Batch:
    """`formats.libsvm.read`, and the batches put together."""
    with open(path, "rb", buffering=0) as stream:
        return concatenate(list(libsvm.read(stream, 50_000, Expected(first_index=1))))


def sklearn(path: Path) -> Batch:
    """`load_svmlight_file`, told what it would otherwise find out."""
    features, labels = load_svmlight_file(str(path), dtype=np.float32, zero_based=False)
    return Batch(features, labels)


def compare(readers: dict[str, Reader], path: Path) -> None:
    """All readers must read the same; it warms them up, too."""
    reference = ours(path)
    for name, reader in readers.items():
        found = reader(path)
        np.testing.assert_allclose(found.features.data, reference.features.data, rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(found.features.indices, reference.features.indices, err_msg=name)
        np.testing.assert_array_equal(found.features.indptr, reference.features.indptr, err_msg=name)
        np.testing.assert_array_equal(found.labels, reference.labels, err_msg=name)


def main() -> None:
    """Prints one line a data set and reader."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    readers: dict[str, Reader] = {"inbuilt": ours, "sklearn": sklearn}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.libsvm")
        print(HEADER)
        data: list[tuple[str, Callable[[Path], None]]] = [
            ("20 of 126 binary features", mushrooms),
            ("8 floats, %.3g", shells),
            ("30 floats, 17 digits", floats),
        ]
        for title, write in data:
            write(path)
            compare(readers, path)
            show(title, path, measure(readers, path))


if __name__ == "__main__":
    main()
