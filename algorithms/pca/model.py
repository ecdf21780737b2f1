"""A trained PCA model: the mean and the components."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.device import CPU, Device
from algorithms.errors import UserError
from algorithms.pca.covariance import ROWS, centred
from algorithms.threads import shared, threads_for
from formats import Batch, Columns, FormatError, ndarray
from formats._finite import first_not_finite
from formats.batch import Dense

FILE = "model_algo-1"
TOO_LARGE = "the values are too large: sums or projections of them are beyond float32. Please scale the data."


@dataclass(frozen=True)
class PCAModel:
    """Components in ascending order, as the hosted service has them: the one that holds most is the last.

    mean: (1, d) float32, zeros if it was not to be subtracted
    v:    (d, n) float32, orthonormal columns, the components
    s:    (n,) float32, the singular values of the training rows less the mean (not divided by their number)
    device: where dense rows are projected; the arrays above are on the host wherever the model was trained
    """

    mean: Dense
    v: Dense
    s: Dense
    device: Device = CPU

    @property
    def width(self) -> int:
        """Number of features `d`."""
        return int(self.v.shape[0])

    @cached_property
    def _exact(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean, components, and the mean's projection, in float64.

        The order in which BLAS adds up products depends on the number of rows: rounded from float64, an answer is the
        same alone and among other rows, unless its terms cancel.
        """
        mean, v = self.mean.astype(np.float64), self.v.astype(np.float64)
        return mean, v, mean @ v

    @cached_property
    def _on_device(self) -> tuple[Any, Any]:
        """Mean and components, in float64, in the device's memory."""
        mean, v, _ = self._exact
        return self.device.put(mean), self.device.put(v)

    def predict(self, batch: Batch) -> Columns:
        """`projection` (n_rows, n) float32: (x - mean) v. Raises UserError where float32 cannot hold it."""
        X, (mean, v, of_mean) = batch.features, self._exact
        projection = np.empty((len(batch), v.shape[1]), np.float32)
        with np.errstate(over="ignore"):
            if not isinstance(X, np.ndarray):
                projection[:] = X.astype(np.float64) @ v - of_mean  # not of X - mean, which the mean would fill
            elif self.device.gpus:
                mean, v = self._on_device
                projection[:] = self.device.get((self.device.put(X) - mean) @ v)
            elif len(X) <= ROWS:
                projection[:] = (X - mean) @ v
            else:
                shared(lambda _, rows: self._project(X[rows], projection[rows]), len(X), v.size, threads_for(v.size))
        if first_not_finite(projection.reshape(-1).view(np.uint32)) >= 0:
            raise UserError(TOO_LARGE)
        return {"projection": projection}

    def _project(self, X: Dense, projection: Dense) -> None:
        """Dense rows in pieces, which stay in the cache between being centred and being multiplied."""
        (mean, v, _), start = self._exact, 0
        buffer = np.empty((ROWS, len(v)))
        with np.errstate(over="ignore"):  # of this thread
            for Z in centred(X, mean, buffer):
                projection[start : start + len(Z)] = Z @ v
                start += len(Z)

    def save(self, directory: Path) -> None:
        """Writes `model_algo-1`: an MXNet NDArray dict of mean, v and s."""
        ndarray.save(directory / FILE, {"mean": self.mean, "v": self.v, "s": self.s})

    @classmethod
    def load(cls, directory: Path) -> PCAModel:
        """Reads `model_algo-1`, ours or the hosted service's. Raises UserError."""
        path = directory / FILE
        try:
            arrays = ndarray.load(path)
        except FileNotFoundError:
            raise UserError(f"no PCA model in {directory}: '{FILE}' is missing") from None
        except FormatError as error:
            raise UserError(f"{path} is not a PCA model: {error}") from None
        if isinstance(arrays, dict) and arrays.keys() == {"mean", "v", "s"}:
            mean, v, s = (np.ascontiguousarray(arrays[name], np.float32) for name in ("mean", "v", "s"))
            if v.ndim == 2 and v.size and (mean.shape, s.shape) == ((1, v.shape[0]), (v.shape[1],)):
                if not all(np.isfinite(array).all() for array in (mean, v, s)):
                    raise UserError(f"{path} is not a PCA model: it holds NaN or infinite numbers")
                return cls(mean, v, s)
        raise UserError(
            f"{path} is not a PCA model: it must hold the arrays mean (1, feature_dim), "
            "v (feature_dim, num_components) and s (num_components,)"
        )
