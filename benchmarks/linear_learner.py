"""Thirty-two linear models at once beside one of scikit-learn's, on digits: is it a 0?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Absent, Peer, Row, Size, Timed
from formats import Batch

NAME, MODELS = "linear_learner", 32
MXNET = Path(os.environ.get("INBUILT_MXNET_PYTHON") or jobs.HERE.parent / ".venv-mxnet" / "bin" / "python")
MXNET_EPOCHS = 3  # of all
GIVEN = {"predictor_type": "binary_classifier"}
GROWTH = Growth(
    10_000,
    32,
    lambda n, d: Batch(*synthetic.normal(n, d)),
    lambda _, d: GIVEN | {"feature_dim": d, "epochs": 2, "mini_batch_size": 1000},
)


def settings(batch: int, epochs: int) -> dict[str, object]:
    """Hyperparameters of a job that runs all its epochs."""
    return GIVEN | {
        "feature_dim": 784,
        "mini_batch_size": batch,
        "epochs": epochs,
        "early_stopping_patience": epochs + 1,
    }


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Training in memory with two mini-batch sizes, from files, scoring."""
    X, numbers = synthetic.digits(size(60_000, 6000))
    y, (n, d), epochs = (numbers == 0).astype(np.float32), X.shape, size(15, 3)

    def scikit_learn() -> object:
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(loss="log_loss", max_iter=epochs, tol=None, random_state=0).fit(X, y)

    def mxnet_outputs() -> Timed:
        if not MXNET.exists():
            raise Absent("MXNet cannot be imported beside a current NumPy: it needs .venv-mxnet, from make test")
        command = [
            MXNET,
            "-W",
            "ignore",
            "-P",
            jobs.HERE / "peers" / "linear_learner_mxnet.py",
            base,
            1000,
            MXNET_EPOCHS,
        ]
        for name, array in (("X", X), ("y", y)):
            if not (base / f"{name}.npy").exists():
                np.save(base / f"{name}.npy", array)
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
        return Timed(float(done.stdout.split()[-1]))

    # each epoch: margins and gradients of all models; the rows come from memory once
    floor = Floor(4.0 * epochs * n * d * MODELS, 4.0 * epochs * n * d)
    for batch in (200, 1000):
        yield Row(
            f"core, {MODELS} models, {n:,} x {d}, {epochs} epochs, mini-batches of {batch:,}",
            n * epochs,
            "rows",
            lambda batch=batch: jobs.fit(NAME, settings(batch, epochs), Batch(X, y)),  # type: ignore[misc]
            {
                "scikit-learn SGDClassifier, 1 model": scikit_learn,
                f"MXNet, {MODELS} outputs, mini-batches of 1,000": Peer(mxnet_outputs, MXNET_EPOCHS / epochs),
            },
            floor,
        )
    m = size(20_000, 2000)
    synthetic.write_levels(base / "rows.csv", X[:m], y[:m])
    file = jobs.lay_out(base, settings(1000, epochs), base / "rows.csv", "text/csv")
    yield Row(
        f"end to end, CSV of {m:,} x {d}, {epochs} epochs",
        m,
        "rows",
        lambda: jobs.program(base, NAME),
        {"pandas and scikit-learn, 1 model": lambda: jobs.peer_program(NAME, file, base / "peer", epochs)},
    )
    model, peer = jobs.fit(NAME, settings(1000, 1), Batch(X, y)), scikit_learn()
    yield Row(
        f"scoring {n:,} rows of {d}",
        n,
        "rows",
        lambda: model.predict(Batch(X)),
        {"scikit-learn predict_proba": lambda: peer.predict_proba(X)},  # type: ignore[attr-defined]
        Floor(2.0 * n * d, 4.0 * n * d),
    )
