"""Small tables as files, and what a job on them has left, for the tests of training."""

import numpy as np
import xgboost

from tests.job_folder import JobFolder


def table(n: int, seed: int = 0, d: int = 5) -> np.ndarray:
    """(n, 1 + d): a noisy sum of steps, and its features."""
    random = np.random.default_rng(seed)
    features = np.round(random.normal(size=(n, d)), 3)
    labels = np.sign(features[:, 0]) + np.sin(3 * features[:, 1]) + random.normal(size=n)
    return np.column_stack([np.round(labels, 3), features]).astype(np.float32)


def csv(rows: np.ndarray) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()


def libsvm(rows: np.ndarray, first: int = 1) -> bytes:
    lines = [f"{row[0]} " + " ".join(f"{i}:{value}" for i, value in enumerate(row[1:], first)) for row in rows.tolist()]
    return "\n".join(lines).encode()


def booster_of(job: JobFolder) -> xgboost.Booster:
    return xgboost.Booster(model_file=bytearray(job.artifact()["xgboost-model"]))


def log_of(job: JobFolder) -> str:
    return (job.base / "train.log").read_text()


def rounds_of(job: JobFolder) -> list[str]:
    return [line for line in log_of(job).splitlines() if "\ttrain-" in line]


def trees_of(booster: xgboost.Booster) -> list[str]:
    return booster.get_dump(with_stats=True)


def rmse(job: JobFolder, rows: np.ndarray) -> float:
    answers = booster_of(job).predict(xgboost.DMatrix(rows[:, 1:]))
    return float(np.sqrt(np.mean((answers - rows[:, 0]) ** 2)))
