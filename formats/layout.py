"""Which columns of a row are its label, its weight and its features: one rule for all formats that have columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from formats.batch import Expected
from formats.csv_faults import plural


@dataclass(frozen=True, slots=True)
class Layout:
    """The order is label, weight, features (guide, "Instance Weight Support" of XGBoost).

    columns: number of all of them; labels, weights: how many of these, 0 or 1
    wanted:  the same in words, for the sentence that refuses another number of columns
    """

    columns: int
    labels: int
    weights: int
    wanted: str

    @property
    def features(self) -> int:
        """Number of feature columns, at least 1."""
        return self.columns - self.labels - self.weights


@lru_cache(256)  # a request is a row or two, all of the same model
def layout(expected: Expected, found: int) -> Layout:
    """The columns that rows must have, `found` being the number of those in the first row; the caller compares.

    Where the label is optional, a weight is not: there are `weight_columns` with a label and without.
    """
    width, weights = expected.width, expected.weight_columns
    labels = expected.label_columns or 0
    if expected.label_columns is None and width is not None and found == width + weights + 1:
        labels = 1
    leading = labels + weights
    columns = max(found if width is None else width + leading, leading + 1)
    parts = [plural(count, noun) for count, noun in ((labels, "label"), (weights, "weight")) if count]
    wanted = plural(columns, "column")
    if parts:
        wanted += f" ({', '.join(parts)} and {plural(columns - leading, 'feature')})"
    if expected.label_columns is None and width is not None and not labels:
        wanted += f", or {columns + 1} with a label"
    return Layout(columns, labels, weights, wanted)
