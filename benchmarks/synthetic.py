"""The rows that everything is measured on: made here from a seed, and the digits that ship."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy import sparse

from formats import Batch

DIGITS = Path(__file__).parent.parent / "data" / "mnist"
Matrix = np.ndarray


def digits(n: int) -> tuple[Matrix, Matrix]:
    """The digits that ship, as often as need be: (n, 784) float32 in [0, 1] of 256 levels, and (n,) float32 0 to 9.

    One pixel in a hundred is another one's: no row is there twice.
    """
    pixels, numbers = (
        np.frombuffer(gzip.decompress((DIGITS / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    random = np.random.default_rng(0)
    chosen = np.arange(n) % len(numbers)
    rows = pixels.reshape(-1, 784)[chosen]
    changed = random.random(rows.shape, np.float32) < 0.01
    rows[changed] = random.permutation(rows[changed])
    return rows / np.float32(255), numbers[chosen].astype(np.float32)


def cover_types(n: int) -> tuple[Matrix, Matrix]:
    """(n, 54) float32: ten whole measures, a choice of 4, a choice of 40, as of the cover types; a label of 7."""
    random = np.random.default_rng(0)
    place = random.random((n, 3), np.float32)
    scales = np.array([2000, 360, 66, 1400, 600, 7000, 250, 250, 250, 7000], np.float32)
    measures = place @ random.random((3, 10), np.float32) / 1.5 * scales
    measures += random.normal(size=(n, 10)) * scales / 50
    area, soil = (place[:, 0] * 4).astype(int), (place[:, 1] * 40).astype(int)
    label = ((place * 20).astype(int).sum(axis=1) % 7).astype(np.float32)
    return np.column_stack([measures.round(), np.eye(4)[area], np.eye(40)[soil]]).astype(np.float32), label


def normal(n: int, d: int) -> tuple[Matrix, Matrix]:
    """(n, d) float32 normal deviates, and labels 0 and 1 that two features and their product tell, noise apart."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((n, d), np.float32)
    margins = rows[:, 0] * rows[:, 1] + rows[:, -1] + random.standard_normal(n, np.float32)
    return rows, (margins > 0).astype(np.float32)


def fields(n: int, d: int, stored: int) -> Batch:
    """Rows of `stored` ones, each in its own share of d features, with labels 0 and 1: one-hot categories."""
    random, share = np.random.default_rng(0), d // stored
    columns = random.integers(0, share, (n, stored), np.int32) + share * np.arange(stored, dtype=np.int32)
    starts = np.arange(0, n * stored + 1, stored, dtype=np.int32)
    rows = sparse.csr_array((np.ones(n * stored, np.float32), columns.reshape(-1), starts), shape=(n, d))
    return Batch(rows, random.integers(0, 2, n).astype(np.float32))


def documents(n: int, words: int, topics: int, length: int = 120) -> sparse.csr_array:
    """(n, words) float32 counts of documents of about `length` words, drawn from topics whose words follow Zipf."""
    random = np.random.default_rng(0)
    zipf = 1 / np.arange(1, words + 1)
    cumulated = np.stack([np.cumsum(random.permutation(zipf) / zipf.sum()) for _ in range(topics)])
    lengths = random.poisson(length, n) + 3
    mixtures = np.cumsum(random.dirichlet(np.full(topics, 0.1), n), axis=1)
    document = np.repeat(np.arange(n), lengths)
    topic = np.minimum((random.random(len(document))[:, None] > mixtures[document]).sum(axis=1), topics - 1)
    word = np.empty(len(document), np.int32)
    for i in range(topics):
        chosen = topic == i
        word[chosen] = np.minimum(np.searchsorted(cumulated[i], random.random(chosen.sum())), words - 1)
    counts = sparse.csr_array((np.ones(len(word), np.float32), (document, word)), shape=(n, words))
    counts.sum_duplicates()
    return counts


def write_levels(path: Path, rows: Matrix, labels: Matrix | None = None) -> None:
    """CSV of pixels, each in its shortest form; the label first."""
    names = [str(np.float32(level) / np.float32(255)) for level in range(256)]
    levels = (rows * 255).round().astype(np.uint8).tolist()
    first: Iterable[str] = [""] * len(levels) if labels is None else (f"{label:g}," for label in labels.tolist())
    with path.open("w") as file:
        file.writelines(
            label + ",".join([names[level] for level in row]) + "\n" for label, row in zip(first, levels, strict=True)
        )


def write_csv(path: Path, rows: Matrix, labels: Matrix | None = None, form: str = "%.6g") -> None:
    """CSV, the label first."""
    np.savetxt(path, rows if labels is None else np.column_stack([labels, rows]), fmt=form, delimiter=",")


def write_libsvm(path: Path, batch: Batch) -> None:
    """LibSVM of sparse rows, counted from 0."""
    X, labels = batch.features, batch.labels
    assert isinstance(X, sparse.csr_array)
    numbers = [0.0] * len(batch) if labels is None else labels.tolist()
    entries = [f"{i}:{value:g}" for i, value in zip(X.indices.tolist(), X.data.tolist(), strict=True)]
    bounds = X.indptr.tolist()
    with path.open("w") as file:
        for label, start, stop in zip(numbers, bounds, bounds[1:], strict=False):
            file.write(f"{label:g} {' '.join(entries[start:stop])}\n")
