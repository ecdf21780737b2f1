"""A trained k-means model: the centers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from algorithms.device import CPU, Device
from algorithms.errors import UserError
from algorithms.kmeans.nearest import TOO_LARGE, Nearest, nearest_with_distances
from algorithms.kmeans.on_device import Centers
from formats import Batch, Columns, FormatError, ndarray
from formats._finite import first_not_finite
from formats.batch import Dense

FILE = "model_algo-1"


@dataclass(frozen=True)
class KMeansModel:
    """centers: (k, d) float32, on the host wherever the model was trained; device: where dense rows are compared."""

    centers: Dense
    device: Device = CPU

    @property
    def width(self) -> int:
        """Number of features `d`."""
        return int(self.centers.shape[1])

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest(self.centers)

    @cached_property
    def on_device(self) -> Centers:
        """The centers, in the device's memory."""
        return Centers(self.device.xp, self.device.put(self.centers))

    def predict(self, batch: Batch) -> Columns:
        """The index of the nearest center and the Euclidean distance to it, both float32 as in the guide.

        Raises UserError for rows so far away that float32 cannot say how far.
        """
        if self.device.gpus and len(batch) and not batch.is_sparse:
            found = self.on_device.nearest(self.device.put(batch.features))
            labels, squared = map(self.device.get, found)
        else:
            labels, squared = nearest_with_distances(batch.features, self.centers, self._nearest)
        with np.errstate(over="ignore"):
            distance = np.sqrt(squared).astype(np.float32)
        if first_not_finite(distance.view(np.uint32)) >= 0:
            raise UserError(TOO_LARGE)
        return {"closest_cluster": labels.astype(np.float32), "distance_to_cluster": distance}

    def save(self, directory: Path) -> None:
        """Writes `model_algo-1`: an MXNet NDArray list of one array, the centers."""
        ndarray.save(directory / FILE, [self.centers])

    @classmethod
    def load(cls, directory: Path) -> KMeansModel:
        """Reads `model_algo-1`, ours or the hosted service's. Raises UserError."""
        path = directory / FILE
        try:
            arrays = ndarray.load(path)
        except FileNotFoundError:
            raise UserError(f"no k-means model in {directory}: '{FILE}' is missing") from None
        except FormatError as error:
            raise UserError(f"{path} is not a k-means model: {error}") from None
        centers = next(iter(arrays.values() if isinstance(arrays, dict) else arrays), None)
        if len(arrays) != 1 or centers is None or centers.ndim != 2 or 0 in centers.shape:
            raise UserError(f"{path} is not a k-means model: it must hold one array of shape (k, feature_dim)")
        return cls(np.ascontiguousarray(centers, np.float32))
