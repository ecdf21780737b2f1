"""The answers: by hand, dense and sparse, close to the threshold and to the end of float32; what a model may be."""

import json

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, logsumexp

from algorithms.errors import UserError
from algorithms.linear_learner.model import LinearModel
from algorithms.linear_learner.tests.test_artifact import (
    DESCRIPTION,
    MODELS,
    PARAMETERS,
    members_of,
    pack,
    parameters,
    refusal,
)
from formats import Batch

GREATEST = float(np.finfo(np.float32).max)
KINDS = {
    "binary": ("binary_classifier", "logistic", 1),
    "hinge": ("binary_classifier", "hinge_loss", 1),
    "multiclass": ("multiclass_classifier", "softmax_loss", 5),
    "regressor": ("regressor", "huber_loss", 1),
}
both = pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
of_all_kinds = pytest.mark.parametrize(("predictor_type", "loss", "outputs"), KINDS.values(), ids=KINDS.keys())


def linear(weights, bias, predictor_type="binary_classifier", loss="logistic", threshold=0.5) -> LinearModel:
    arrays = np.array(weights, np.float32, ndmin=2), np.array(bias, np.float32, ndmin=1)
    return LinearModel(*arrays, predictor_type, loss, threshold)


def answer(model, rows, kind=np.asarray) -> dict[str, np.ndarray]:
    found = model.predict(Batch(kind(np.array(rows, np.float32, ndmin=2))))
    for column in found.values():
        assert type(column) is np.ndarray
        assert (column.dtype, column.flags.c_contiguous) == (np.float32, True)
    return found


@both
def test_binary_answers_by_hand(kind):
    """Margins 2 x1 - x2 + 1 are log 3, 0 and -log 3; their sigmoids 3/4, 1/2 and 1/4."""
    rows = [[0, 1 - np.log(3)], [0, 1], [0, 1 + np.log(3)]]
    found = answer(linear([2, -1], 1), rows, kind)
    assert list(found) == ["score", "predicted_label"]
    np.testing.assert_allclose(found["score"], [0.75, 0.5, 0.25], rtol=1e-6)
    assert found["predicted_label"].tolist() == [1, 1, 0]
    for threshold, labels in ((0.2, [1, 1, 1]), (0.7, [1, 0, 0]), (0.8, [0, 0, 0])):
        found = answer(linear([2, -1], 1, threshold=threshold), rows, kind)
        assert found["predicted_label"].tolist() == labels, threshold


@both
def test_hinge_answers_are_margins(kind):
    rows = [[3, 0], [0, 3], [0, 1]]
    found = answer(linear([2, -1], 1, loss="hinge_loss", threshold=0), rows, kind)
    assert list(found) == ["score", "predicted_label"]
    assert found["score"].tolist() == [7, -2, 0]
    assert found["predicted_label"].tolist() == [1, 0, 1]
    found = answer(linear([2, -1], 1, loss="hinge_loss", threshold=-2), rows, kind)
    assert found["predicted_label"].tolist() == [1, 1, 1]


@both
def test_multiclass_answers_by_hand(kind):
    """Margins (x1, x2, log 2): their exponentials are (1, 1, 2), then (4, 1, 2), then (1, 5, 2)."""
    model = linear([[1, 0], [0, 1], [0, 0]], [0, 0, np.log(2)], "multiclass_classifier", "softmax_loss")
    found = answer(model, [[0, 0], [np.log(4), 0], [0, np.log(5)]], kind)
    assert list(found) == ["score", "predicted_label"]
    wanted = [[1 / 4, 1 / 4, 1 / 2], [4 / 7, 1 / 7, 2 / 7], [1 / 8, 5 / 8, 2 / 8]]
    np.testing.assert_allclose(found["score"], wanted, rtol=1e-6)
    assert found["predicted_label"].tolist() == [2, 0, 1]


def test_of_classes_with_equal_scores_the_first_wins():
    model = linear(np.ones((4, 2)), [0, 1, 1, 0], "multiclass_classifier", "softmax_loss")
    assert answer(model, [5, -5])["predicted_label"].tolist() == [1]


@both
@pytest.mark.parametrize("loss", ["squared_loss", "quantile_loss"])
def test_a_regressor_answers_its_margins(kind, loss):
    found = answer(linear([2, -1], 0.5, "regressor", loss), [[3, 0], [0, 3], [0, 0]], kind)
    assert {name: column.tolist() for name, column in found.items()} == {"score": [6.5, -2.5, 0.5]}


@of_all_kinds
def test_margins_are_weighted_sums(predictor_type, loss, outputs):
    model = linear(np.arange(outputs * 3).reshape(outputs, 3), np.arange(outputs), predictor_type, loss)
    rows = np.array([[1, 0, 2], [0, -1, 0]], np.float32)
    wanted = [[[9 * i + 4 + i for i in range(outputs)], [-3 * i - 1 + i for i in range(outputs)]]][0]
    assert model.width == 3
    for features in (rows, sparse.csr_array(rows)):
        found = model.margins(features)
        assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
        assert found.tolist() == wanted


@of_all_kinds
@pytest.mark.parametrize("density", [0, 0.05, 1])
def test_answers_are_those_of_float64_alone_and_among_other_rows(predictor_type, loss, outputs, density):
    random = np.random.default_rng(outputs)
    model = linear(random.normal(size=(outputs, 300)) / 9, random.normal(size=outputs), predictor_type, loss)
    rows = (random.normal(size=(50, 300)) * (random.random((50, 300)) < density)).astype(np.float32)
    margins = rows.astype(np.float64) @ model.weights.T.astype(np.float64) + model.bias
    wanted = margins[:, 0]
    if outputs > 1:
        wanted = np.exp(margins - logsumexp(margins, axis=1, keepdims=True))
    elif loss == "logistic":
        wanted = expit(wanted)
    for kind in (np.asarray, sparse.csr_array):
        whole = answer(model, rows, kind)
        alone = [answer(model, row, kind) for row in rows]
        for found in (whole, {name: np.concatenate([one[name] for one in alone]) for name in whole}):
            np.testing.assert_allclose(found["score"], wanted, rtol=1e-5, atol=2e-6)
            if predictor_type != "regressor":
                labels = margins.argmax(axis=1) if outputs > 1 else found["score"] >= 0.5
                assert found["predicted_label"].tolist() == labels.tolist()


@of_all_kinds
def test_no_rows_no_answers(predictor_type, loss, outputs):
    model = linear(np.ones((outputs, 3)), np.zeros(outputs), predictor_type, loss)
    for batch in (Batch.empty(3), Batch(sparse.csr_array((0, 3), dtype=np.float32))):
        found = model.predict(batch)
        assert found["score"].shape == ((0,) if outputs == 1 else (0, outputs))
        assert predictor_type == "regressor" or found["predicted_label"].shape == (0,)


@pytest.mark.parametrize("margin", [-80, -3, -0.1, 0, 0.3, 5, 15])
def test_a_threshold_midway_parts_neighbouring_margins(margin):
    """As calibration places it: half way between two margins, which may be next to each other in float32."""
    below = np.float32(margin)
    above = np.nextafter(below, np.float32(np.inf))
    midway = (float(below) + float(above)) / 2
    for threshold, loss in ((midway, "hinge_loss"), (expit(midway), "logistic")):
        found = answer(linear(1, 0, loss=loss, threshold=threshold), [[below], [above]])
        if loss == "hinge_loss" or margin:  # 0.5 + 1e-46 is 0.5 in float64
            assert found["predicted_label"].tolist() == [0, 1], loss


@pytest.mark.parametrize(("threshold", "labels"), [(0, [1, 1, 1, 1]), (1, [0, 0, 0, 1]), (1e-30, [0, 1, 1, 1])])
def test_thresholds_at_the_ends(threshold, labels):
    """A score of 38 is 1 in float64, one of 36 is not; in float32 both are."""
    found = answer(linear(1, 0, threshold=threshold), [[-100], [-60], [36], [38]])
    assert found["predicted_label"].tolist() == labels
    assert found["score"][2:].tolist() == [1, 1]


@both
@of_all_kinds
@pytest.mark.parametrize("rows", [1, 20_000])
def test_values_that_are_too_large(kind, predictor_type, loss, outputs, rows):
    model = linear(np.full((outputs, 2), 0.8), np.zeros(outputs), predictor_type, loss)
    features = np.zeros((rows, 2), np.float32)
    features[-1] = GREATEST
    with pytest.raises(UserError, match=r"^the values are too large: .* Please scale the data\.$"):
        model.predict(Batch(kind(features)))


@both
def test_infinities_that_cancel_are_too_large(kind):
    with pytest.raises(UserError, match=r"^the values are too large"):
        linear([10, -10], 0).predict(Batch(kind(np.full((1, 2), GREATEST, np.float32))))


@both
def test_large_values_that_float32_can_hold(kind):
    rows = [[GREATEST], [-GREATEST]]
    assert answer(linear(1, 0), rows, kind)["score"].tolist() == [1, 0]
    assert answer(linear(1, 0, "regressor", "squared_loss"), rows, kind)["score"].tolist() == [GREATEST, -GREATEST]
    # their difference is beyond float32
    model = linear([[1], [-1], [0]], [0, 0, 0], "multiclass_classifier", "softmax_loss")
    found = answer(model, rows, kind)
    assert found["score"].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert found["predicted_label"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("binary", ("binary_classifier", "logistic", 0.5)),
        ("multiclass", ("multiclass_classifier", "softmax_loss", 0.5)),
        ("hinge", ("regressor", "squared_loss", 0.5)),  # nothing tells a hinge classifier from a regressor
    ],
)
def test_what_is_not_described_follows_from_the_operator(tmp_path, kind, found):
    members = members_of(MODELS[kind], tmp_path)
    pack(tmp_path, {**members, DESCRIPTION: b"{}"})
    loaded = LinearModel.load(tmp_path)
    assert (loaded.predictor_type, loaded.loss, loaded.threshold) == found


DESCRIPTIONS = [
    ({"predictor_type": "clusterer"}, "predictor_type must be one of binary_classifier, multiclass_classifier, "),
    ({"predictor_type": ["regressor"]}, "predictor_type must be one of "),
    ({"predictor_type": "regressor"}, "a regressor with the loss 'squared_loss' must not end with LogisticRegressionO"),
    ({"predictor_type": "multiclass_classifier"}, "a multiclass_classifier with the loss 'softmax_loss' must not end "),
    ({"loss": "hinge_loss"}, "a binary_classifier with the loss 'hinge_loss' must not end with Logistic"),
    ({"loss": 3}, "a binary_classifier with the loss '3' must not end with Logistic"),
    ({"threshold": 1.5}, "threshold must be a number, 0 <= threshold <= 1, got '1.5'"),
    ({"threshold": -0.1}, "threshold must be a number, 0 <= threshold <= 1, got '-0.1'"),
    ({"threshold": np.nan}, "threshold must be a number, 0 <= threshold <= 1, got 'nan'"),
    ({"threshold": "0.5"}, "threshold must be a number, 0 <= threshold <= 1, got '0.5'"),
    ({"threshold": True}, "threshold must be a number, 0 <= threshold <= 1, got 'True'"),
    ({"threshold": None}, "threshold must be a number, 0 <= threshold <= 1, got 'None'"),
    ({"threshold": 10**999}, "threshold must be a number, 0 <= threshold <= 1, got '1000"),
]


@pytest.mark.parametrize(("described", "sentence"), DESCRIPTIONS, ids=lambda value: str(value)[:40])
def test_descriptions_that_cannot_be(tmp_path, described, sentence):
    members = members_of(MODELS["binary"], tmp_path)
    whole = {"predictor_type": "binary_classifier", **described}
    pack(tmp_path, {**members, DESCRIPTION: json.dumps(whole)})
    assert refusal(tmp_path).startswith(sentence)


def test_a_threshold_of_hinge_margins_is_any_finite_number(tmp_path):
    members = members_of(MODELS["hinge"], tmp_path)
    described = json.loads(members[DESCRIPTION])
    pack(tmp_path, {**members, DESCRIPTION: json.dumps({**described, "threshold": 40})})
    assert LinearModel.load(tmp_path).threshold == 40
    pack(tmp_path, {**members, DESCRIPTION: json.dumps({**described, "threshold": np.inf})})
    assert refusal(tmp_path).startswith("threshold must be a number, -3.4")


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 2), ("regressor", 3), ("hinge", 2), ("multiclass", 1)])
def test_another_number_of_outputs(tmp_path, kind, outputs):
    members = members_of(MODELS[kind], tmp_path)
    pack(tmp_path, {**members, PARAMETERS: parameters(np.ones((outputs, 3)), np.ones(outputs))})
    wanted = "of 2 classes or more" if kind == "multiclass" else "of one output"
    assert refusal(tmp_path) == f"a {MODELS[kind].predictor_type} must be {wanted}, got {outputs}"
