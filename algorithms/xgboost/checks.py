"""What a row must have to be learned from; asked while it is known which file and row it is."""

from __future__ import annotations

from collections.abc import Sequence

from algorithms.algorithm import CSV, LIBSVM, PARQUET
from algorithms.xgboost.labels import LabelRule
from formats import Batch, FormatError


class RowCheck:
    """Asks the rows of a channel for labels that obey the rules, and for what the rows before them had.

    width: number of features that other channels have, 0 if nobody knows
    """

    def __init__(self, media_type: str, rules: Sequence[LabelRule], width: int) -> None:
        self._rules = rules
        self._width = width if media_type != LIBSVM else 0
        self._of_libsvm = media_type == LIBSVM
        self._label_column = 1 if media_type in (CSV, LIBSVM, PARQUET) else None
        self._had: dict[str, bool] = {}

    def __call__(self, batch: Batch, first_row: int) -> None:
        """Raises FormatError; `first_row` is the number of the first row in its file."""
        if not self._of_libsvm:
            self._width = self._width or batch.width
            if batch.width != self._width:
                raise FormatError(
                    f"expected {self._width} features as in the rows before, found {batch.width}", row=first_row
                )
        if batch.labels is None:
            raise FormatError("expected a label, found none; give every row of training data its label", row=first_row)
        for what, array in (("weight", batch.weights), ("qid", batch.groups)):
            if self._had.setdefault(what, array is not None) != (array is not None):
                wanted, found = (f"a {what}", "none") if self._had[what] else (f"no {what}", "one")
                raise FormatError(
                    f"expected {wanted} as in the files before, found {found}; give all rows a {what} or none",
                    row=first_row,
                )
        for rule in self._rules:
            if (at := rule.first_fault(batch.labels)) is not None:
                raise FormatError(rule.sentence(float(batch.labels[at])), row=first_row + at, column=self._label_column)
