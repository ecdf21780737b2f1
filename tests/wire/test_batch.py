"""Rows on their way: cutting and joining batches, and refusing what is not finite."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from formats.batch import Batch, concatenate, rebatch, require_finite
from formats.errors import FormatError


def numbered(start: int, stop: int) -> Batch:
    values = np.arange(start, stop, dtype=np.float32)
    return Batch(values[:, None] + [[0, 0.5]], values, None, [str(i) for i in range(start, stop)])


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 100])
@pytest.mark.parametrize("cuts", [[0, 10], [0, 4, 8, 10], [0, 1, 2, 9, 10], [0, 0, 5, 5, 10]])
def test_rebatch_keeps_rows_and_order(rows: int, cuts: list[int]) -> None:
    batches = list(rebatch((numbered(a, b).rows(0, b - a) for a, b in pairwise(cuts)), rows))
    assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    whole, expected = concatenate(batches), numbered(0, 10)
    assert np.array_equal(whole.features, expected.features)
    assert np.array_equal(whole.labels, expected.labels)
    assert whole.ids == expected.ids


def test_batches_that_are_whole_are_not_copied() -> None:
    batch = Batch(np.zeros((6, 2), np.float32))
    assert all(np.shares_memory(part.features, batch.features) for part in rebatch(iter([batch]), 3))


def test_dense_and_sparse_join_as_sparse() -> None:
    joined = concatenate([Batch(np.eye(2, dtype=np.float32)), Batch(sparse.csr_array(2 * np.eye(2, dtype=np.float32)))])
    assert joined.is_sparse
    assert joined.features.dtype == np.float32
    assert joined.features.toarray().tolist() == [[1, 0], [0, 1], [2, 0], [0, 2]]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 64), (5, 129), (700, 100)])
def test_the_first_value_that_is_not_finite_is_found(kind: type, value: float, shape: tuple[int, int]) -> None:
    """The slow twin is `np.isfinite`; 700 x 100 is beyond the size at which the GIL is given up."""
    random = np.random.default_rng(shape[1])
    features = random.normal(size=shape).astype(np.float32) * np.float32(1e37)  # whose squares overflow
    require_finite(Batch(kind(features)), 10)
    for _ in range(3):
        features[random.integers(shape[0]), random.integers(shape[1])] = value
        row, column = np.argwhere(~np.isfinite(features))[0]
        what = "a missing (NaN) value" if np.isnan(value) else "an infinite value"
        with pytest.raises(FormatError) as refused:
            require_finite(Batch(kind(features)), 10)
        assert str(refused.value) == (
            f"row {row + 10}: feature {column + 1} of {shape[1]} is {what}. Please remove any missing (NaN) or "
            "infinite values in the input data."
        )


def test_labels_must_be_finite() -> None:
    batch = Batch(np.zeros((3, 2), np.float32), np.array([1, np.nan, 2], np.float32))
    with pytest.raises(FormatError, match=r"^row 2: the label is missing \(NaN\) or infinite. Please give every row"):
        require_finite(batch)


@pytest.mark.parametrize("features", [np.empty((0, 3), np.float32), sparse.csr_array((2, 3), dtype=np.float32)])
def test_nothing_is_finite(features: object) -> None:
    require_finite(Batch(features))
