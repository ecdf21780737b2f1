"""Factorization machines beside the same steps in NumPy and beside myFM's Gibbs sampling, on one-hot categories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Peer, Row, Size, silence
from formats import Batch

NAME, STORED, FACTORS, BATCH = "factorization_machines", 40, 16, 1000
GIVEN = {"num_factors": FACTORS, "predictor_type": "binary_classifier", "mini_batch_size": BATCH}
NUMPY_BATCHES, GIBBS = 10, 1
GROWTH = Growth(20_000, 10_000, lambda n, d: synthetic.fields(n, d, STORED), lambda _, d: GIVEN | {"feature_dim": d})


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Training in memory, from files, scoring."""
    n, d = size(200_000, 20_000), size(1_000_000, 100_000)
    batch, given = synthetic.fields(n, d, STORED), GIVEN | {"feature_dim": d}

    learner: list[Steps] = []

    def lazy_steps() -> None:
        learner[:] = learner or [Steps(d)]  # in the first round, which does not count
        for start in range(0, NUMPY_BATCHES * BATCH, BATCH):
            learner[0].step(batch.rows(start, start + BATCH))

    def gibbs() -> object:
        from myfm import MyFMClassifier

        return MyFMClassifier(FACTORS).fit(
            sparse.csr_matrix(batch.features), batch.labels == 1, n_iter=GIBBS, n_kept_samples=1
        )

    # of each value that is there: the weights and two moments of its feature, read and written
    yield Row(
        f"core, 1 epoch, {n:,} x {STORED} of {d:,}, {FACTORS} factors",
        n,
        "rows",
        lambda: jobs.fit(NAME, given, batch),
        {
            "the same steps in NumPy": Peer(lazy_steps, NUMPY_BATCHES * BATCH / n),
            "myFM, 1 Gibbs iteration": gibbs,
        },
        Floor(bytes=2.0 * 3 * 4 * (FACTORS + 1) * n * STORED),
    )
    some = batch.rows(0, size(50_000, 2000))
    synthetic.write_libsvm(base / "rows.libsvm", some)
    file = jobs.lay_out(base, given, base / "rows.libsvm", "text/libsvm")
    yield Row(
        f"end to end, LibSVM of {len(some):,} x {STORED} of {d:,}",
        len(some),
        "rows",
        lambda: jobs.program(base, NAME),
        {"scikit-learn and myFM, 1 iteration": lambda: jobs.peer_program(NAME, file, base / "peer", GIBBS)},
    )
    few = batch.rows(0, size(20_000, 2000))
    model = jobs.fit(NAME, given, some)
    with silence():
        peer = gibbs()
    yield Row(
        f"scoring {len(few):,} rows",
        len(few),
        "rows",
        lambda: model.predict(few),
        {"myFM predict_proba": lambda: peer.predict_proba(sparse.csr_matrix(few.features))},  # type: ignore[attr-defined]
        Floor(bytes=4.0 * (FACTORS + 1) * len(few) * STORED),
    )


class Steps:
    """Adam as ours: the features that occur are taken out, moved, and put back. The bias costs nothing: left out."""

    def __init__(self, d: int) -> None:
        random = np.random.default_rng(1)
        widths = ((1, 0.0), (FACTORS, 0.001))
        self.terms = [
            (random.normal(0, sigma, (d, width)).astype(np.float32), *np.zeros((2, d, width), np.float32))
            for width, sigma in widths
        ]
        self.steps = 0

    def step(self, batch: Batch) -> None:
        """One mini-batch."""
        self.steps += 1
        X, y = batch.features, batch.labels
        assert isinstance(X, sparse.csr_array)
        assert y is not None
        features, places = np.unique(X.indices, return_inverse=True)
        Z = sparse.csr_array((X.data, places, X.indptr), shape=(len(y), len(features)))
        squared = sparse.csr_array((X.data**2, places, X.indptr), shape=Z.shape)
        w, v = (weights[features] for weights, _, _ in self.terms)
        S = Z @ v
        margins = (Z @ w)[:, 0] + 0.5 * (S**2 - squared @ v**2).sum(axis=1)
        a = (1 / (1 + np.exp(-margins)) - y)[:, None] / np.float32(len(y))
        gradients = Z.T @ a, Z.T @ (a * S) - (squared.T @ a) * v
        rate = np.float32(0.001 * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps))
        for (weights, mean, square), g, old in zip(self.terms, gradients, (w, v), strict=True):
            m = np.float32(0.9) * mean[features] + np.float32(0.1) * g
            s = np.float32(0.999) * square[features] + np.float32(0.001) * g**2
            mean[features], square[features] = m, s
            weights[features] = old - rate * m / (np.sqrt(s) + np.float32(1e-8))
