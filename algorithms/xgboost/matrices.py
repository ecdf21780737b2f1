"""What xgboost learns from: a matrix made of a channel's rows, as small as the tree method allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import xgboost
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.machine import free_memory
from algorithms.xgboost.data import Layout, Rows
from formats import Batch
from formats.batch import concatenate

MAX_BIN = 256  # the library's default
IN_MEMORY = 0.5  # share of the free memory that rows may take: quantiles, gradients and histograms take less than them
COPIES = 4  # the rows, the same in one piece, and 8 bytes a value in the DMatrix: its index and itself


def may_be_filed(parameters: Mapping[str, Any]) -> bool:
    """Whether rows that exceed memory can be learned from: not sorted whole, by coordinates, or by chosen updaters."""
    method = parameters.get("tree_method", "auto")
    return parameters.get("booster") != "gblinear" and method != "exact" and "updater" not in parameters


def matrices(cluster: Cluster, tables: list[Rows], layout: Layout, parameters: Mapping[str, Any]) -> list[Any]:
    """A matrix for each channel, the training channel first; all hosts call this, connected to each other.

    All kinds give the same trees, bit for bit, so memory decides. A DMatrix takes 8 bytes a value, and is made of all
    rows at once. Quantiles take one, and are computed batch by batch, which takes longer. Quantiles in files take
    none. Raises UserError if rows in files must be in memory.
    """
    binned = may_be_filed(parameters) and parameters.get("tree_method") != "approx"
    grouped = cluster.total(any(rows.grouped for rows in tables)) > 0
    filed = cluster.total(any(rows.filed for rows in tables)) > 0
    scarce = cluster.total(COPIES * sum(rows.size for rows in tables) > free_memory()) > 0
    if grouped and filed:
        raise UserError(
            "the rows exceed the memory of the machine, and rows of queries (qid) must be in it. Please use a larger "
            "machine, or more of them."
        )
    objective = parameters.get("objective", "")
    made: list[Any] = []
    for rows in tables:
        settings: dict[str, Any] = {"nthread": parameters.get("nthread")}
        bins = {"max_bin": parameters.get("max_bin", MAX_BIN), "ref": made[0] if made else None}
        if filed:
            pages = _Pages(layout, rows, objective, str(rows.folder() / "page"))
            made.append(
                xgboost.ExtMemQuantileDMatrix(pages, **settings, **bins)
                if binned
                else xgboost.DMatrix(pages, **settings)
            )
            continue
        if binned and scarce and not grouped:
            made.append(xgboost.QuantileDMatrix(_Pages(layout, rows, objective), **settings, **bins))
        else:
            batch = _together(concatenate(list(layout.batches(rows))))
            made.append(xgboost.DMatrix(_table(batch), **_fields(batch, objective), **settings))
        rows.release()
    return made


class _Pages(xgboost.DataIter):
    """Hands the rows to xgboost batch by batch, as often as it asks.

    cache: prefix of the files in which it keeps what it makes of them; None: in memory
    """

    def __init__(self, layout: Layout, rows: Rows, objective: str, cache: str | None = None) -> None:
        self._layout, self._rows, self._objective = layout, rows, objective
        self._rest: Iterator[Batch] = iter(())
        super().__init__(cache_prefix=cache)

    def next(self, input_data: Callable[..., None]) -> bool:
        """Gives the next batch; false if there is none."""
        batch = next(self._rest, None)
        if batch is not None:
            input_data(data=_table(batch), **_fields(batch, self._objective))
        return batch is not None

    def reset(self) -> None:
        """Begins again."""
        self._rest = self._layout.batches(self._rows)


def _table(batch: Batch) -> Any:
    """The features as xgboost takes them everywhere: it knows scipy's arrays in some places only."""
    features = batch.features
    if isinstance(features, np.ndarray):
        return features
    return sparse.csr_matrix((features.data, features.indices, features.indptr), features.shape)


def _fields(batch: Batch, objective: str) -> dict[str, Any]:
    """What else xgboost is told of the rows. A survival time is known: it is both bounds of the label.

    Raises UserError if the rows of a query that is to be ranked differ in weight.
    """
    bounds = {"label_lower_bound": batch.labels, "label_upper_bound": batch.labels}
    groups, weights = batch.groups, batch.weights
    if groups is not None and weights is not None and objective.startswith("rank:"):
        first, owners = np.unique(groups, return_index=True, return_inverse=True)[1:]
        differing = np.flatnonzero(weights[first][owners] != weights)
        if differing.size:
            raise UserError(
                f"all rows of a query must have the same weight, got {weights[first][owners][differing[0]]:g} and "
                f"{weights[differing[0]]:g} for qid {groups[differing[0]]}. Please give a query one weight."
            )
        weights = weights[first]
    fields = {"label": batch.labels, "weight": weights, "qid": groups}
    return fields | (bounds if objective == "survival:aft" else {})


def _together(batch: Batch) -> Batch:
    """The rows with those of a query side by side, in the order of their numbers, as xgboost wants them."""
    groups = batch.groups
    if groups is None or (np.diff(groups) >= 0).all():
        return batch
    return batch.take(np.argsort(groups, kind="stable"))
