"""A trained factorization machine: a bias, a weight for each feature, a vector for each feature, and their sum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from algorithms.device import CPU, PIECE, Device, roomy
from algorithms.errors import UserError
from algorithms.factorization_machines import archive
from algorithms.factorization_machines._factorization import margins
from algorithms.factorization_machines.archive import Archive, Predictor
from algorithms.factorization_machines.on_device import Scores, model_bytes
from algorithms.machine import cpu_count
from formats import Batch, Columns
from formats._finite import first_not_finite
from formats.batch import Dense

FILE = "model_algo-1"
TOO_LARGE = "the values are too large: products of them with the factors are beyond float32. Please scale the data."
ALONE = 1 << 20  # products that one thread makes before others are asked to help: less than 1 ms


@dataclass(frozen=True)
class FactorizationMachine:
    """A row x has the margin w0 + sum_i w_i x_i + sum_i sum_(j > i) <v_i, v_j> x_i x_j (guide, "How ... Work").

    factors:  v, (N, k) float32, C-contiguous
    linear:   w, (N,) float32
    bias:     w0, (1,) float32
    device:   where dense rows are scored; the arrays are on the host wherever the model was trained
    """

    factors: Dense
    linear: Dense
    bias: Dense
    predictor_type: Predictor
    device: Device = CPU

    @property
    def width(self) -> int:
        """Number of features `N`."""
        return int(self.factors.shape[0])

    @cached_property
    def _on_device(self) -> Scores:
        """The same in the device's memory."""
        return Scores(self.device, self.factors, self.linear, self.bias)

    def margins(self, features: Dense | sparse.csr_array) -> Dense:
        """(n,) float32: the sums. Raises UserError where float32 cannot hold one."""
        if isinstance(features, np.ndarray) and self.device.gpus and len(features):
            found = self._on_device(features)
            if len(unknown := np.flatnonzero(~np.isfinite(found))):
                found[unknown] = self._sums(features[unknown])
        else:
            found = self._sums(features)
        if first_not_finite(found.view(np.uint32)) >= 0:
            raise UserError(TOO_LARGE)
        return found

    def _sums(self, features: Dense | sparse.csr_array) -> Dense:
        """The margins, some of them perhaps infinite or NaN."""
        found = np.empty(features.shape[0], np.float32)
        if isinstance(features, np.ndarray):
            starts, columns, values = stored(features)
        else:
            starts, columns, values = features.indptr, features.indices, features.data
        threads = 1 if values.size * self.factors.shape[1] < ALONE else cpu_count()
        margins(starts, columns, values, float(self.bias[0]), self.linear, self.factors, found, threads)
        return found

    def predict(self, batch: Batch) -> Columns:
        """`score` (n,) float32; a binary classifier's is the probability of label 1, with `predicted_label` beside it.

        Raises UserError for rows whose margins float32 cannot hold.
        """
        margin = self.margins(batch.features)
        if self.predictor_type == "regressor":
            return {"score": margin}
        # a score is at least 1/2 where its margin is at least 0, whatever the rounding of scores close to 1/2
        return {"score": expit(margin), "predicted_label": (margin >= 0).astype(np.float32)}

    def self_test(self, batch: Batch) -> Columns:
        """The scores: the label of a row next to the boundary is another where a device rounds otherwise."""
        return {"score": self.predict(batch)["score"]}

    def save(self, directory: Path) -> None:
        """Writes `model_algo-1`, as the hosted service does."""
        archive.write(directory / FILE, Archive(self.factors, self.linear, self.bias, self.predictor_type))

    @classmethod
    def load(cls, directory: Path) -> FactorizationMachine:
        """Reads `model_algo-1`, ours or the hosted service's. Raises UserError."""
        found = archive.read(directory / FILE)
        return cls(found.factors, found.linear, found.bias, found.predictor_type)


def placed(model: FactorizationMachine, device: Device) -> FactorizationMachine:
    """The model that answers dense rows from the device, if that has room for it."""
    return replace(model, device=roomy(device, 4 * PIECE + model_bytes(*model.factors.shape), "The model"))


def stored(rows: Dense) -> tuple[NDArray[np.int64], NDArray[np.int64], Dense]:
    """Of dense rows (n, N) what CSR stores: where each row starts (n + 1,), columns and values of those not 0."""
    n, width = rows.shape
    values = rows.reshape(-1)
    places = (values != 0).nonzero()[0]  # of booleans four times faster than of numbers
    before = np.arange(0, (n + 1) * width, width)
    starts = places.searchsorted(before)
    return starts, places - np.repeat(before[:-1], np.diff(starts)), values[places]
