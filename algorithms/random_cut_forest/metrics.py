"""How well scores tell anomalies from normal rows: the guide's three-sigma rule and what is counted by it.

Guide, "Tuning a RCF Model": a row is called anomalous if its score is beyond three standard deviations from the mean
score of the test rows. Precision, recall and F1 are scikit-learn's with `zero_division=0`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from algorithms.cluster import Cluster
from formats.batch import Dense

SIGMAS = 3.0
NAMES = {
    "accuracy": ("accuracy",),
    "precision_recall_fscore": (
        "precision",
        "recall",
        "f1",
        "negative_precision",
        "negative_recall",
        "negative_f1",
    ),
}  # by the value of `eval_metrics`; precision, recall and f1 are those of anomalies, negative ones of normal rows
ALL_NAMES = tuple(name for names in NAMES.values() for name in names)
OBJECTIVE = "f1"  # what the tuner looks for, whatever is asked for besides


def limit(mean: float, deviation: float) -> float:
    """The score beyond which a row is an anomaly."""
    return mean + SIGMAS * deviation


def anomalous(scores: Dense, beyond: float) -> NDArray[np.bool_]:
    """Which scores (n,) are; compared in float64, or the limit would be rounded to float32."""
    return scores > np.float64(beyond)


def moments(scores: Dense, cluster: Cluster) -> tuple[float, float]:
    """Mean and standard deviation, divided by their number, of all hosts' scores; 0 and 0 of none."""
    n, total = cluster.all_reduce(np.array([len(scores), scores.sum(dtype=np.float64)])).tolist()
    mean = total / max(n, 1)
    # about the mean: a difference of large sums would leave few digits of a small deviation
    squares = cluster.all_reduce(np.array([np.square(scores.astype(np.float64) - mean).sum()]))
    return mean, float(np.sqrt(squares[0] / max(n, 1)))


def evaluated(
    scores: Dense, labels: NDArray[np.bool_], eval_metrics: Sequence[str], cluster: Cluster
) -> dict[str, float]:
    """The metrics asked for, and f1, of all hosts' scores (n,) and labels (n,), true for an anomaly."""
    called = anomalous(scores, limit(*moments(scores, cluster)))
    counts = np.array(
        [(called & labels).sum(), (called & ~labels).sum(), (~called & labels).sum(), (~called & ~labels).sum()],
        np.int64,
    )
    true, false, missed, normal = cluster.all_reduce(counts).tolist()
    found = {"accuracy": _ratio(true + normal, true + false + missed + normal)}
    found |= {
        "precision": _ratio(true, true + false),
        "recall": _ratio(true, true + missed),
        "f1": _ratio(2 * true, 2 * true + false + missed),
        "negative_precision": _ratio(normal, normal + missed),
        "negative_recall": _ratio(normal, normal + false),
        "negative_f1": _ratio(2 * normal, 2 * normal + missed + false),
    }
    wanted = {OBJECTIVE} | {name for metric in eval_metrics for name in NAMES[metric]}
    return {name: value for name, value in found.items() if name in wanted}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
