"""The jobs that scale_hosts.py trains: synthetic rows of a realistic shape, enough for some seconds on half a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

Rows = tuple[np.ndarray | sparse.csr_array, np.ndarray | None]


@dataclass(frozen=True)
class Work:
    """One algorithm's job.

    rows:    of a file of RecordIO
    files:   of a shard, all the same file: what reads its rows once needs many, and it does not matter which
    passes:  how often training learns from each row: epochs, or rounds of boosting
    make:    random numbers and a number of rows -> that many features and labels
    beyond:  sums over the hosts in a job that the library makes by itself, where no clock of ours sees them
    """

    hyperparameters: dict[str, str]
    rows: int
    make: Callable[[np.random.Generator, int], Rows]
    files: int = 1
    passes: int = 1
    beyond: int = 0

    def scaled(self, factor: float) -> Work:
        """The same job of `factor` times as many rows."""
        return replace(
            self, rows=max(2000, round(self.rows * min(1, factor))), files=max(1, round(self.files * factor))
        )


def groups(random: np.random.Generator, n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) around k random points, and the number of each row's point (n,)."""
    labels = random.integers(0, k, n)
    points = 3 * random.standard_normal((k, d), dtype=np.float32)
    return points[labels] + random.standard_normal((n, d), dtype=np.float32), labels.astype(np.float32)


def halves(random: np.random.Generator, n: int, d: int) -> Rows:
    """Features (n, d), and whether a sum of the first ten and a product is positive, with noise (n,)."""
    X = random.standard_normal((n, d), dtype=np.float32)
    score = X[:, :10].sum(axis=1) + 3 * X[:, 0] * X[:, 1] + random.standard_normal(n, dtype=np.float32)
    return X, (score > 0).astype(np.float32)


def ratings(random: np.random.Generator, n: int, users: int, films: int) -> Rows:
    """Rows of two ones, a user and a film that few or many have seen, and whether the one liked the other (n,)."""
    who, what = random.integers(0, users, n), (films * random.random(n) ** 2).astype(np.int64)
    columns = np.stack([who, users + what], axis=1).reshape(-1)
    X = sparse.csr_array((np.ones(2 * n, np.float32), columns, np.arange(0, 2 * n + 1, 2)), shape=(n, users + films))
    return X, ((7 * who + 3 * what) % 11 > 4).astype(np.float32)


DEPTH, ROUNDS = 6, 30  # of the boosted trees

JOBS = {
    "factorization_machines": Work(
        {
            "feature_dim": "10000",
            "num_factors": "16",
            "predictor_type": "binary_classifier",
            "mini_batch_size": "1000",
            "epochs": "10",
        },
        rows=100_000,
        make=lambda random, n: ratings(random, n, 7000, 3000),
        passes=10,
    ),
    "kmeans": Work(
        {"feature_dim": "128", "k": "10", "mini_batch_size": "5000", "epochs": "15"},
        rows=60_000,
        make=lambda random, n: (groups(random, n, 128, 10)[0], None),
        passes=15,
    ),
    "knn": Work(
        {"feature_dim": "64", "k": "5", "predictor_type": "classifier", "sample_size": "20000"},
        rows=100_000,
        make=lambda random, n: groups(random, n, 64, 10),
        files=90,
    ),
    "linear_learner": Work(
        {
            "feature_dim": "128",
            "predictor_type": "binary_classifier",
            "mini_batch_size": "1000",
            "epochs": "15",
            "early_stopping_patience": "15",
        },
        rows=50_000,
        make=lambda random, n: halves(random, n, 128),
        passes=15,
    ),
    "pca": Work(
        {"feature_dim": "512", "num_components": "10", "mini_batch_size": "1000"},
        rows=20_000,
        make=lambda random, n: (groups(random, n, 512, 10)[0], None),
        files=2,
    ),
    "random_cut_forest": Work(
        {"feature_dim": "16", "num_trees": "100", "num_samples_per_tree": "256"},
        rows=200_000,
        make=lambda random, n: (random.standard_normal((n, 16), dtype=np.float32), None),
        files=90,
    ),
    "xgboost": Work(
        {"num_round": str(ROUNDS), "max_depth": str(DEPTH), "objective": "binary:logistic"},
        rows=150_000,
        make=lambda random, n: halves(random, n, 28),
        passes=ROUNDS,
        # of a round: the root's gradients, a histogram for each level that is split, and the metric
        beyond=ROUNDS * (1 + DEPTH + 1),
    ),
}
