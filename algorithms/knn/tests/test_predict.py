"""Answers by hand: which rows are near, how they vote, what their mean is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from algorithms.errors import UserError
from algorithms.knn.tests.oracle import majority
from algorithms.knn.tests.streams import algorithm, batch_of, neighbours, predicted, train
from formats import Batch

LINE = np.array([[0], [1], [3], [6], [10]], np.float32)


def test_neighbours_on_a_line():
    """From 2: 1 and 3 at distance 1, 0 at 2, 6 at 4, 10 at 8; distances are squared."""
    model = train(LINE, np.array([5, 7, 9, 11, 13]), k=5)
    distances, labels = neighbours(model, [[2], [10]])
    assert distances.tolist() == [[1, 1, 4, 16, 64], [0, 16, 49, 81, 100]]
    assert sorted(labels[0, :2].tolist()) == [7, 9]
    assert labels[0, 2:].tolist() == [5, 11, 13]
    assert labels[1].tolist() == [13, 11, 9, 7, 5]
    assert {each.dtype for each in (distances, labels)} == {np.dtype(np.float32)}


def test_neighbours_in_the_plane():
    rows = np.array([[0, 0], [3, 4], [6, 8], [0, 1]], np.float32)
    distances, labels = neighbours(train(rows, k=4), [[0, 0]])
    assert distances.tolist() == [[0, 1, 25, 100]]
    assert labels.tolist() == [[0, 3, 1, 2]]


def test_directions():
    """Along (2, 0), at a right angle, against it; 45 degrees. Lengths count for the inner product only."""
    rows = np.array([[1, 0], [0, 5], [-3, 0], [7, 7]], np.float32)
    told, labels = neighbours(train(rows, k=4, index_metric="COSINE"), [[2, 0]])
    assert labels.tolist() == [[0, 3, 1, 2]]
    np.testing.assert_allclose(told, [[0, 1 - 0.5**0.5, 1, 2]], atol=1e-6)
    told, labels = neighbours(train(rows, k=4, index_metric="INNER_PRODUCT"), [[2, 0]])
    assert labels.tolist() == [[3, 0, 1, 2]]
    assert told.tolist() == [[-14, -2, 0, 6]]


@pytest.mark.parametrize(
    ("k", "label"),
    [
        (1, 4),
        (2, 4),  # one vote each: the nearest
        (3, 2),
        (4, 2),  # 4 2 2 9
        (5, 2),  # 4 2 2 9 9: two votes each, the nearest of the 2s is nearer than that of the 9s
        (6, 9),
        (7, 9),
        (8, 4),  # 4 2 2 9 9 9 4 4: three votes each
    ],
)
def test_votes(k, label):
    labels = np.array([4, 2, 2, 9, 9, 9, 4, 4])
    model = train(np.arange(8)[:, None], labels, k=k, predictor_type="classifier")
    assert predicted(model, [[-1]]).tolist() == [label]


def test_a_tie_of_three_labels_goes_to_the_nearest():
    """Votes 7 7 5 5 3 3 in every order of their first comers."""
    for order in ([7, 5, 3, 3, 5, 7], [5, 3, 7, 7, 5, 3], [3, 7, 5, 7, 5, 3]):
        model = train(np.arange(6)[:, None], np.array(order), k=6, predictor_type="classifier")
        assert predicted(model, [[-1]]).tolist() == [order[0]]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_means(kind):
    model = train(LINE, np.array([1, 2, 4, 8, 16]), k=3)
    answer = model.predict(batch_of(kind(np.array([[0], [9]], np.float32))))
    assert list(answer) == ["predicted_label"]
    assert answer["predicted_label"].dtype == np.float32
    assert answer["predicted_label"].tolist() == pytest.approx([7 / 3, 28 / 3], rel=1e-7)


def test_a_mean_loses_no_digits():
    """In float32, 2**24 + 1 + 1 is 2**24."""
    model = train(np.arange(3)[:, None], np.array([2**24, 1, 1]), k=3)
    assert predicted(model, [[0]])[0] == np.float32((2**24 + 2) / 3)
    large = train(np.arange(4)[:, None], np.full(4, 3e38), k=4)
    assert predicted(large, [[0]])[0] == np.float32(3e38)


def test_labels_may_be_any_float():
    labels = np.array([-0.5, -0.5, 1e30, -7, 1e-30])
    model = train(np.arange(5)[:, None], labels, k=3, predictor_type="classifier")
    assert predicted(model, [[0], [5]]).tolist() == [np.float32(-0.5), np.float32(1e-30)]


def test_no_rows_no_answers():
    model = train(LINE, k=2)
    assert model.predict(Batch.empty(1))["predicted_label"].shape == (0,)
    distances, labels = neighbours(model, np.empty((0, 1)))
    assert distances.shape == labels.shape == (0, 2)


def test_the_verbose_model_is_as_wide_and_answers_the_same():
    model = train(LINE, k=2)
    told = algorithm.verbose(model)
    assert told.width == model.width == 1
    queries = batch_of(np.linspace(0, 9, 50)[:, None])
    assert told.predict(queries)["predicted_label"].tolist() == model.predict(queries)["predicted_label"].tolist()


TOO_LARGE = r"^the values are too large: distances between them are beyond float32\. Please scale the data\.$"


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT"])
@pytest.mark.parametrize("rows", [1, 30, 3000])
def test_values_that_are_too_large(metric, rows):
    """Distances beyond float32 are refused, not answered; so are rows whose distances would be."""
    model = train(np.array([[1e15, 1e15], [-1e15, 1e15], [0, 0]]), k=2, index_metric=metric)
    assert np.isfinite(neighbours(model, np.full((rows, 2), 1e15, np.float32))[0]).all()
    queries = np.zeros((rows, 2), np.float32)
    queries[-1] = -3e38
    with pytest.raises(UserError, match=TOO_LARGE):
        neighbours(model, queries)
    with pytest.raises(UserError, match=TOO_LARGE):
        predicted(model, queries)
    with pytest.raises(UserError, match=TOO_LARGE):
        train(np.array([[3e38, 3e38], [0, 0]]), index_metric=metric)


@pytest.mark.parametrize("rows", [1, 30])
def test_only_directions_count_for_the_cosine(rows):
    """Lengths of 1e-38 and 3e38 are lengths."""
    model = train(np.array([[3e38, 0], [0, 1e-38]]), k=2, index_metric="COSINE")
    distances, labels = neighbours(model, np.full((rows, 2), [1e38, 1e-30], np.float32))
    np.testing.assert_allclose(distances, [[0, 1]] * rows, atol=1e-6)
    assert labels.tolist() == [[0, 1]] * rows


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.5, 1e6]), min_size=1, max_size=40))
def test_votes_as_counted_by_python(labels):
    """Rows at 1, 2, 3 ...: from 0 the labels come in order."""
    rows, k = np.arange(1, len(labels) + 1)[:, None], len(labels)
    classified = train(rows, np.array(labels), k=k, predictor_type="classifier")
    assert predicted(classified, [[0]]).tolist() == [majority(labels)]
    mean = predicted(train(rows, np.array(labels), k=k), [[0]])
    assert mean.tolist() == [np.float32(np.mean(np.array(labels, np.float64)))]
