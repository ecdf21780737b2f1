"""The answers: by hand, against the sum over all pairs, however rows are stored; close to 1/2 and to float32's end."""

from itertools import combinations

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit

from algorithms.errors import UserError
from algorithms.factorization_machines import model as model_module
from algorithms.factorization_machines.model import FactorizationMachine, stored
from formats import Batch


def machine(factors, linear, bias, predictor_type="regressor") -> FactorizationMachine:
    arrays = np.array(factors, np.float32), np.array(linear, np.float32), np.array([bias], np.float32)
    return FactorizationMachine(*arrays, predictor_type)


def long(rows) -> sparse.csr_array:
    """CSR with 64 bit indices, as matrices with very many entries have them."""
    found = sparse.csr_array(rows)
    found.indices, found.indptr = found.indices.astype(np.int64), found.indptr.astype(np.int64)
    return found


def with_zeros(rows) -> sparse.csr_array:
    """CSR in which the zeros are stored, too."""
    n, d = rows.shape
    return sparse.csr_array((rows.reshape(-1), np.tile(np.arange(d), n), np.arange(0, n * d + 1, d)), shape=(n, d))


KINDS = {"dense": np.asarray, "sparse": sparse.csr_array, "long": long, "with zeros": with_zeros}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
HAND = machine([[1, 2], [3, -1], [0, 2]], [0.5, -1, 2], 0.25)


def answer(model, rows, kind=np.asarray) -> dict[str, np.ndarray]:
    found = model.predict(Batch(kind(np.array(rows, np.float32, ndmin=2))))
    for column in found.values():
        assert type(column) is np.ndarray
        assert (column.dtype, column.flags.c_contiguous, column.ndim) == (np.float32, True, 1)
    return found


def pairs(model, rows) -> np.ndarray:
    """w0 + sum w x + the sum over all pairs of features, in float64."""
    v, w = model.factors.astype(np.float64), model.linear.astype(np.float64)
    sums = [sum(v[i] @ v[j] * x[i] * x[j] for i, j in combinations(range(len(x)), 2)) for x in rows.astype(np.float64)]
    return float(model.bias[0]) + rows @ w + np.array(sums)


@all_kinds
def test_scores_by_hand(kind):
    """Products of the factors: <v1, v2> = 3 - 2 = 1, <v1, v3> = 4, <v2, v3> = -2."""
    rows = [[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 1, 0], [1, 1, 1], [2, -1, 3]]
    wanted = [
        0.25,
        0.25 + 0.5,
        0.25 - 2,  # a feature makes no pair with itself, whatever its value
        0.25 + 0.5 - 1 + 1,
        0.25 + 0.5 - 1 + 2 + 1 + 4 - 2,
        0.25 + 1 + 1 + 6 + 1 * 2 * -1 + 4 * 2 * 3 - 2 * -1 * 3,
    ]
    found = answer(HAND, rows, kind)
    assert list(found) == ["score"]
    assert found["score"].tolist() == wanted


@all_kinds
def test_a_classifier_answers_probabilities_and_labels(kind):
    """Margins log 3, 0 and -log 3."""
    model = machine([[1, 2], [3, -1], [0, 2]], [0.5, -1, 2], 0, "binary_classifier")
    x3 = (np.array([np.log(3), 0, -np.log(3)]) / 2)[:, None]
    found = answer(model, x3 * [0, 0, 1], kind)
    assert list(found) == ["score", "predicted_label"]
    np.testing.assert_allclose(found["score"], [0.75, 0.5, 0.25], rtol=1e-6)
    assert found["predicted_label"].tolist() == [1, 1, 0]


def test_labels_do_not_depend_on_the_rounding_of_scores():
    """expit(-1e-9) is 1/2 in float32; the margin is still below 0."""
    model = machine([[1]], [1], 0, "binary_classifier")
    found = answer(model, [[1e-9], [0], [-1e-9]])
    assert found["score"].tolist() == [0.5, 0.5, 0.5]
    assert found["predicted_label"].tolist() == [1, 1, 0]


@all_kinds
@pytest.mark.parametrize("k", [1, 3, 8, 13, 64])
def test_the_sum_over_all_pairs(kind, k):
    random = np.random.default_rng(k)
    model = machine(random.normal(size=(12, k)), random.normal(size=12), random.normal())
    rows = (random.normal(size=(20, 12)) * (random.random((20, 12)) < 0.5)).astype(np.float32)
    rows[3] = 0
    found = answer(model, rows, kind)["score"]
    wanted = pairs(model, rows)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    assert found[3] == model.bias[0]
    binary = FactorizationMachine(model.factors, model.linear, model.bias, "binary_classifier")
    np.testing.assert_allclose(answer(binary, rows, kind)["score"], expit(found), rtol=1e-6)


@all_kinds
def test_rows_answer_the_same_alone_together_and_by_many_threads(kind, monkeypatch):
    random = np.random.default_rng(5)
    model = machine(random.normal(size=(40, 7)), random.normal(size=40), 1)
    rows = (random.normal(size=(33, 40)) * (random.random((33, 40)) < 0.2)).astype(np.float32)
    together = answer(model, rows, kind)["score"]
    alone = [answer(model, row, kind)["score"][0] for row in rows]
    assert together.tolist() == alone
    monkeypatch.setattr(model_module, "ALONE", 0)
    monkeypatch.setattr(model_module, "cpu_count", lambda: 3)
    assert answer(model, rows, kind)["score"].tolist() == alone


def test_small_requests_start_no_threads(monkeypatch):
    """A team that begins in the server's first process would not be there in those that it forks."""
    monkeypatch.setattr(model_module, "cpu_count", lambda: pytest.fail("asked for threads"))
    answer(HAND, np.ones((10, 3)))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_no_rows(kind):
    found = HAND.predict(Batch(kind(np.empty((0, 3), np.float32))))
    assert {name: column.shape for name, column in found.items()} == {"score": (0,)}


@all_kinds
def test_what_csr_stores_of_dense_rows(kind):
    random = np.random.default_rng(7)
    rows = (random.integers(-1, 2, (9, 5)) * (random.random((9, 5)) < 0.5)).astype(np.float32)
    wanted = kind(rows) if kind is not np.asarray else sparse.csr_array(rows)
    starts, columns, values = stored(rows)
    assert np.array_equal(sparse.csr_array((values, columns, starts), shape=rows.shape).toarray(), rows)
    assert len(values) == np.count_nonzero(wanted.toarray())


@all_kinds
@pytest.mark.parametrize(
    ("factors", "linear"), [([[1], [1]], [3e38, 0]), ([[1e20], [1e20]], [0, 0]), ([[3e38], [3e38]], [0, 0])]
)
def test_margins_beyond_float32_are_refused(kind, factors, linear):
    with pytest.raises(UserError, match=r"^the values are too large: .* beyond float32\. Please scale the data\.$"):
        answer(machine(factors, linear, 0), [[1, 0], [2, 2]], kind)


@pytest.mark.parametrize("predictor_type", ["binary_classifier", "regressor"])
def test_great_margins_are_answered(predictor_type):
    found = answer(machine([[1], [1]], [1e38, 0], 0, predictor_type), [[3, 0], [-3, 0]])
    wanted = [1, 0] if predictor_type == "binary_classifier" else [np.float32(3e38), -np.float32(3e38)]
    np.testing.assert_allclose(found["score"], wanted, rtol=1e-6)


def test_the_width_is_the_number_of_features():
    assert HAND.width == 3
