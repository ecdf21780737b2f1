"""The kernel that puts candidates in order, beside NumPy's sort by two keys."""

import numpy as np
import pytest

from algorithms.knn._order import put_in_order


@pytest.mark.parametrize("m", [1, 2, 7, 130])
@pytest.mark.parametrize("different", [1, 3, 1000])
def test_as_numpy_sorts_by_two_keys(m: int, different: int) -> None:
    random = np.random.default_rng(m + different)
    distances = random.integers(-different, different, (50, m)).astype(np.float32) / 8
    numbers = random.permuted(np.tile(np.arange(m), (50, 1)), axis=1)
    order = np.lexsort((numbers, distances), axis=1)
    wanted = [np.take_along_axis(each, order, axis=1).tolist() for each in (distances, numbers)]
    put_in_order(distances, numbers)
    assert [distances.tolist(), numbers.tolist()] == wanted


def test_no_rows() -> None:
    put_in_order(np.empty((0, 3), np.float32), np.empty((0, 3), np.int64))
