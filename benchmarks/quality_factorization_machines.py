"""How good factorization machines are on MovieLens (latest, small) and MNIST, beside what was published of others.

    python -m benchmarks.quality_factorization_machines [FOLDER]

FOLDER has movielens-latest-small/ratings.csv and mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz, as their
sources publish them; what is not there is left out.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

import algorithms
from algorithms.algorithm import RECORDIO
from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job
from algorithms.report import Report
from formats import Batch, recordio

TUNED = {
    "epochs": "15",
    "mini_batch_size": "100",
    "linear_lr": "0.002",
    "linear_wd": "0.0005",
    "factors_lr": "0.0005",
    "factors_wd": "0.0005",
    "factors_init_sigma": "0.01",
}
Rows = tuple[np.ndarray | sparse.csr_array, np.ndarray]


def scores(train: Rows, test: Rows, **given: str) -> dict[str, float]:
    """The test metrics of a model of `train`, and the seconds that training took, reading included."""
    algorithm = algorithms.find("factorization_machines")
    assert algorithm.evaluate is not None
    h = algorithm.hyperparameters.parse(given | {"feature_dim": str(train[0].shape[1])})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train").mkdir()
        (Path(folder) / "train" / "rows").write_bytes(recordio.encode_features(*train))
        report = Report("algo-1", algorithm.dimension, None)
        stopped, config = (lambda: False), ChannelConfig("train")
        channel = Channel(config, Path(folder), RECORDIO, report, stopped, allows_missing=False)
        job = Job({"train": channel}, Cluster(), report, stopped)
        started = time.perf_counter()
        model = algorithm.fit(job, h)
        seconds = time.perf_counter() - started
        return algorithm.evaluate(job, h, model, iter([Batch(*test)])) | {"seconds": seconds}


def movielens(path: Path) -> tuple[Rows, Rows]:
    """Of each rating its user and its film, one-hot; 90 % to learn from."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    users, user = np.unique(table[:, 0], return_inverse=True)
    films, film = np.unique(table[:, 1], return_inverse=True)
    n, columns = len(table), np.column_stack([user, len(users) + film]).ravel()
    ones, starts = np.ones(2 * n, np.float32), np.arange(0, 2 * n + 1, 2)
    rows = sparse.csr_array((ones, columns, starts), shape=(n, len(users) + len(films)))
    labels = table[:, 2].astype(np.float32)
    order = np.random.default_rng(0).permutation(n)
    first, last = order[: int(0.9 * n)], order[int(0.9 * n) :]
    return (rows[first], labels[first]), (rows[last], labels[last])


def digits(folder: Path, name: str) -> Rows:
    """Pixels in [0, 1], and whether the digit is 0."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((folder / f"{name}-{kind}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for kind, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return pixels.reshape(-1, 784) / np.float32(255), (labels == 0).astype(np.float32)


def show(title: str, found: dict[str, float], published: str) -> None:
    print(f"{title}: {', '.join(f'{name} {value:.4f}' for name, value in found.items())} ({published})", flush=True)


if __name__ == "__main__":
    data = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "data")
    ratings, mnist = data / "movielens-latest-small" / "ratings.csv", data / "mnist"
    if ratings.exists():
        parts = movielens(ratings)
        given = {"num_factors": "8", "predictor_type": "regressor"}
        show("MovieLens, 100 epochs", scores(*parts, **given, epochs="100"), "hosted: rmse 0.8963")
        show("MovieLens, tuned", scores(*parts, **given, **TUNED), "libFM: rmse 0.874 by SGD, 0.881 by MCMC")
    digits_there = (mnist / "train-images-idx3-ubyte.gz").exists()
    if digits_there:
        given = {"num_factors": "10", "predictor_type": "binary_classifier", "mini_batch_size": "200"}
        show("MNIST, 0 or not", scores(digits(mnist, "train"), digits(mnist, "t10k"), **given), "hosted: 0.9806")
    if not (ratings.exists() or digits_there):
        sys.exit(f"neither {ratings} nor {mnist}/train-images-idx3-ubyte.gz is there; see the first lines of this file")
