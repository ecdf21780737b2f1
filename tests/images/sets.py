"""Small real data sets for jobs of every algorithm's example, each in rows to train on and rows held out."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

MNIST = Path(__file__).parents[2] / "data/mnist"


@dataclass(frozen=True)
class Rows:
    """Features (n, d) float32 and labels (n,) float32, None for an algorithm that learns without."""

    features: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Real:
    """A job on real rows, and how good its model must be.

    hyperparameters: as a user of the SDK writes them; what its estimators take from the data is not among them
    train, test:     rows of the channels; `test` is held out, for all channels but `train`
    quality:         of the answers to the rows of `test`, by their columns' names; greater is better
    good:            what a sound model reaches, and neither a guess nor a model of other rows
    estimator:       the SDK's own class for the algorithm; None, if it has none
    """

    hyperparameters: dict[str, Any]
    train: Rows
    test: Rows
    quality: Callable[[Mapping[str, np.ndarray]], float]
    good: float
    estimator: str | None = None


def digits() -> tuple[Rows, Rows]:
    """Handwritten digits (1797, 64): ink in 8 x 8 squares from 0 to 16; labels are the digits."""
    return held_out(*datasets.load_digits(return_X_y=True))


def mnist(n: int) -> tuple[Rows, Rows]:
    """The first n handwritten digits of data/mnist, (n, 784) from 0 to 1; labels are the digits."""
    images, labels = (
        np.frombuffer(gzip.decompress((MNIST / f"t10k-{name}-ubyte.gz").read_bytes())[header:], np.uint8)
        for name, header in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return held_out(images.reshape(-1, 784)[:n] / 255, labels[:n])


def breast_cancer() -> tuple[Rows, Rows]:
    """Thirty measurements of tumours (569, 30); labels are 1 for a benign one, 0 for a malignant one."""
    return held_out(*datasets.load_breast_cancer(return_X_y=True))


def wine() -> tuple[Rows, Rows]:
    """Thirteen measurements of wines (178, 13); labels are the three growers, from 0."""
    return held_out(*datasets.load_wine(return_X_y=True))


def held_out(features: np.ndarray, labels: np.ndarray) -> tuple[Rows, Rows]:
    """Three quarters of the rows to train on, the others to judge by."""
    parts = train_test_split(features.astype(np.float32), labels.astype(np.float32), random_state=0)
    return Rows(parts[0], parts[2]), Rows(parts[1], parts[3])
