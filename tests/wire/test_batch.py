"""Rows on their way: cutting and joining batches, and refusing what is not finite."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from formats._finite import first_not_finite
from formats.batch import Batch, concatenate, rebatch, require_finite
from formats.errors import FormatError


def numbered(start: int, stop: int) -> Batch:
    values = np.arange(start, stop, dtype=np.float32)
    groups = np.arange(start, stop) // 3
    return Batch(values[:, None] + [[0, 0.5]], values, values / 2, groups, [str(i) for i in range(start, stop)])


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 100])
@pytest.mark.parametrize("cuts", [[0, 10], [0, 4, 8, 10], [0, 1, 2, 9, 10], [0, 0, 5, 5, 10]])
def test_rebatch_keeps_rows_and_order(rows: int, cuts: list[int]) -> None:
    batches = list(rebatch((numbered(a, b).rows(0, b - a) for a, b in pairwise(cuts)), rows))
    assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    whole, expected = concatenate(batches), numbered(0, 10)
    assert np.array_equal(whole.features, expected.features)
    assert np.array_equal(whole.labels, expected.labels)
    assert np.array_equal(whole.weights, expected.weights)
    assert np.array_equal(whole.groups, expected.groups)
    assert whole.groups.dtype == np.int64
    assert whole.ids == expected.ids == [str(i) for i in range(10)]


def test_batches_that_are_whole_are_not_copied() -> None:
    batch = Batch(np.zeros((6, 2), np.float32))
    assert all(np.shares_memory(part.features, batch.features) for part in rebatch(iter([batch]), 3))


def test_dense_and_sparse_join_as_sparse() -> None:
    joined = concatenate([Batch(np.eye(2, dtype=np.float32)), Batch(sparse.csr_array(2 * np.eye(2, dtype=np.float32)))])
    assert joined.is_sparse
    assert joined.features.dtype == np.float32
    assert joined.features.toarray().tolist() == [[1, 0], [0, 1], [2, 0], [0, 2]]


def test_rows_of_a_batch_keep_what_belongs_to_them() -> None:
    part = numbered(0, 10).rows(4, 7)
    assert len(part) == 3
    assert part.features.tolist() == [[4, 4.5], [5, 5.5], [6, 6.5]]
    assert part.labels.tolist() == [4, 5, 6]
    assert part.weights.tolist() == [2, 2.5, 3]
    assert part.groups.tolist() == [1, 1, 2]
    assert part.ids == ["4", "5", "6"]


@pytest.mark.parametrize("name", ["labels", "weights", "groups", "ids"])
def test_what_one_batch_lacks_the_whole_lacks(name: str) -> None:
    whole = concatenate([numbered(0, 4), replace(numbered(4, 6), **{name: None})])
    for other in ("labels", "weights", "groups", "ids"):
        assert (getattr(whole, other) is None) == (other == name)


def test_sparse_batches_take_the_width_of_the_widest() -> None:
    """An entry that is stored stays stored, zero or not: to XGBoost a zero is a value and an absent entry is none."""
    narrow = Batch(sparse.csr_array((np.float32([1, 0]), [0, 1], [0, 2, 2]), shape=(2, 2)))
    wide = Batch(sparse.csr_array((np.float32([0, 5]), [1, 3], [0, 1, 2]), shape=(2, 4)))
    for batches, stored in (([narrow, wide], [2, 0, 1, 1]), ([wide, narrow], [1, 1, 2, 0])):
        features = concatenate(batches).features
        assert features.dtype == np.float32
        assert features.shape == (4, 4)
        assert np.diff(features.indptr).tolist() == stored
        wanted = np.zeros((4, 4))
        wanted[stored.index(2), 0], wanted[1 if batches[0] is wide else 3, 3] = 1, 5
        assert features.toarray().tolist() == wanted.tolist()
    (joined,) = rebatch(iter([narrow, wide]), 100)
    assert joined.width == 4


def test_a_zero_of_a_dense_row_is_stored_beside_sparse_rows() -> None:
    dense = Batch(np.float32([[0, 7], [0, np.nan]]))
    joined = concatenate([Batch(sparse.csr_array((1, 3), dtype=np.float32)), dense]).features
    assert joined.shape == (3, 3)
    assert joined.indptr.tolist() == [0, 0, 2, 4]
    assert joined.indices.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(joined.data, np.float32([0, 7, 0, np.nan]))
    assert joined.has_sorted_indices


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_rows_of_batches_of_any_width_and_kind(rows: int) -> None:
    random = np.random.default_rng(rows)
    parts = [random.integers(-1, 2, (3, d)).astype(np.float32) for d in (2, 5, 1, 4)]
    batches = [Batch(X if i == 1 else sparse.csr_array(X), groups=np.full(3, i)) for i, X in enumerate(parts)]
    found = list(rebatch(iter(batches), rows))
    assert [len(batch) for batch in found] == [rows] * (12 // rows) + [12 % rows] * (12 % rows > 0)
    whole = concatenate([Batch(np.empty((0, 5), np.float32), groups=np.empty(0, np.int64)), *found])
    wanted = np.concatenate([np.pad(X, ((0, 0), (0, 5 - X.shape[1]))) for X in parts])
    assert np.array_equal(whole.features.toarray(), wanted)
    assert whole.groups.tolist() == [i for i in range(4) for _ in range(3)]


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


SIZES = [0, 1, 2, 63, 64, 65, 127, 128, 129, 200, 65_536, 65_537, 70_000]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_against_numpy(size: int, missing: bool) -> None:
    """NaN of either sign and any payload, infinities, and the greatest finite numbers beside them."""
    random = np.random.default_rng(size)
    odd = np.array([0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x7FC00000, 0x7F7FFFFF, 0xFF7FFFFF], np.uint32)
    for count in (0, 1, 2, 10):
        for kinds in (odd, odd[2:5], odd[5:]):
            bits = random.normal(size=size).astype(np.float32).view(np.uint32)
            if size:
                bits[random.integers(size, size=count)] = random.choice(kinds, count)
            values = bits.view(np.float32)
            wrong = np.flatnonzero(np.isinf(values) if missing else ~np.isfinite(values))
            assert first_not_finite(bits, missing) == (wrong[0] if wrong.size else -1)
            if not missing:
                assert first_not_finite(bits) == first_not_finite(bits, missing)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_missing_features_may_pass_but_infinities_may_not(kind: type) -> None:
    features = np.float32([[1, np.nan, 3], [-np.nan, 5, 6]])
    require_finite(Batch(kind(features), np.float32([0, 1]), np.float32([1, 0])), missing=True)
    with pytest.raises(
        FormatError, match=r"^row 1: feature 2 of 3 is a missing \(NaN\) value\. Please remove any miss"
    ):
        require_finite(Batch(kind(features)))
    features[1, 2] = -np.inf
    with pytest.raises(FormatError) as refused:
        require_finite(Batch(kind(features)), 7, missing=True)
    assert str(refused.value) == (
        "row 8: feature 3 of 3 is an infinite value. Please remove any infinite values in the input data."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_missing_label_is_refused_where_missing_features_pass(value: float) -> None:
    batch = Batch(np.zeros((3, 2), np.float32), np.float32([1, 2, value]))
    with pytest.raises(FormatError, match=r"^row 12: the label is missing \(NaN\) or infinite\. Please give every row"):
        require_finite(batch, 10, missing=True)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("value", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (-1, "-1"), (-1e-30, "-1e-30")]
)
def test_weights_must_be_finite_and_not_negative(value: float, text: str, missing: bool) -> None:
    weights = np.float32([1, 0, value, value])
    with pytest.raises(FormatError) as refused:
        require_finite(Batch(np.zeros((4, 2), np.float32), weights=weights), 10, missing=missing)
    assert str(refused.value) == f"row 12: the weight must be a finite number >= 0, got {text}"
    require_finite(Batch(np.zeros((2, 2), np.float32), weights=weights[:2]), missing=missing)


def test_labels_must_be_finite() -> None:
    batch = Batch(np.zeros((3, 2), np.float32), np.array([1, np.nan, 2], np.float32))
    with pytest.raises(FormatError, match=r"^row 2: the label is missing \(NaN\) or infinite. Please give every row"):
        require_finite(batch)


@pytest.mark.parametrize("features", [np.empty((0, 3), np.float32), sparse.csr_array((2, 3), dtype=np.float32)])
def test_nothing_is_finite(features: object) -> None:
    require_finite(Batch(features))


@pytest.mark.parametrize("chosen", [slice(2, 5), np.arange(10) % 3 == 0, np.array([7, 0, 0])])
def test_take(chosen: slice | np.ndarray) -> None:
    taken, places = numbered(0, 10).take(chosen), np.arange(10)[chosen]
    assert taken.features[:, 0].tolist() == places.tolist()
    assert taken.labels.tolist() == places.tolist()
    assert taken.weights.tolist() == (places / 2).tolist()
    assert taken.groups.tolist() == (places // 3).tolist()
    assert taken.ids == list(map(str, places))


@pytest.mark.parametrize(
    ("label", "weight", "feature", "column"), [(np.nan, 1, 0, 1), (1, -1, 0, 2), (1, 1, np.inf, 4)]
)
def test_the_column_at_fault_is_named(label: float, weight: float, feature: float, column: int) -> None:
    """Label, weight, and two features."""
    batch = Batch(*(np.array([each], np.float32) for each in ([0, feature], label, weight)))
    with pytest.raises(FormatError) as refused:
        require_finite(batch, 7, columns=True)
    assert (refused.value.row, refused.value.column) == (7, column)
