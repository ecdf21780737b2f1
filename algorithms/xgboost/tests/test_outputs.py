"""Selected outputs: the table of the hosted container, row by row, with scores that are easily checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from flask.testing import FlaskClient

import algorithms
import formats
from algorithms.artifact import LoadedModel
from algorithms.errors import UserError
from algorithms.xgboost.model import XGBoostModel
from algorithms.xgboost.older_releases import portable
from algorithms.xgboost.outputs import adapted
from formats import Batch, Columns
from serving.app import create_app
from serving.settings import Settings

OUTPUT = "SAGEMAKER_INFERENCE_OUTPUT"
ENSEMBLE = "SAGEMAKER_INFERENCE_ENSEMBLE"
ALL = ["predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores", "predicted_score"]
OF_CLASSES = ["predicted_label", "labels", "raw_score", "raw_scores"]


@dataclass(frozen=True)
class Fixed(XGBoostModel):
    """A model that answers with fixed scores."""

    boosters: tuple[Any, ...] = ()
    objective: str = ""
    classes: int = 0
    scores: Any = None

    def predict(self, batch: Batch) -> Columns:
        return {"score": np.array(self.scores, np.float32)}


def fixed(objective: str) -> Fixed:
    scores: dict[str, Any] = {
        "binary:logistic": [0.25, 0.5, 0.75],
        "binary:logitraw": [-1.5, 0.0, 0.25],
        "binary:hinge": [0.0, 1.0],
        "multi:softmax": [2.0, 0.0],
        "multi:softprob": [[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]],
    }
    classes = 3 if objective.startswith("multi") else 0
    return Fixed((), objective=objective, classes=classes, scores=scores.get(objective, [2.5, -1.0]))


def answer(model: XGBoostModel, outputs: str) -> Columns:
    return adapted(model, {OUTPUT: outputs}).predict(Batch.empty(1))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (
            "binary:logistic",
            {
                "predicted_label": [0, 0, 1],
                "labels": [[0, 1]] * 3,
                "probability": [0.25, 0.5, 0.75],
                "probabilities": [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]],
                "raw_score": [0.25, 0.5, 0.75],
                "raw_scores": [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]],
            },
        ),
        (
            "binary:logitraw",
            {
                "predicted_label": [0, 0, 1],
                "labels": [[0, 1]] * 3,
                "raw_score": [-1.5, 0.0, 0.25],
                "raw_scores": [[2.5, -1.5], [1.0, 0.0], [0.75, 0.25]],
            },
        ),
        (
            "binary:hinge",
            {
                "predicted_label": [0, 1],
                "labels": [[0, 1]] * 2,
                "raw_score": [0.0, 1.0],
                "raw_scores": [[1.0, 0.0], [0.0, 1.0]],
            },
        ),
        (
            "multi:softmax",
            {
                "predicted_label": [2, 0],
                "labels": [[0, 1, 2]] * 2,
                "raw_score": [2.0, 0.0],
                "raw_scores": [[-1.0, 2.0], [1.0, 0.0]],
            },
        ),
        (
            "multi:softprob",
            {
                "predicted_label": [1, 0],
                "labels": [[0, 1, 2]] * 2,
                "probability": [0.5, 0.75],
                "probabilities": [[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]],
                "raw_score": [0.5, 0.75],
                "raw_scores": [[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]],
            },
        ),
        ("reg:squarederror", {"predicted_score": [2.5, -1.0]}),
        ("count:poisson", {"predicted_score": [2.5, -1.0]}),
        ("rank:ndcg", {"predicted_score": [2.5, -1.0]}),
        ("survival:cox", {"predicted_score": [2.5, -1.0]}),
    ],
)
def test_each_output_of_each_objective(objective: str, expected: dict[str, Any]) -> None:
    model = fixed(objective)
    for name in ALL:
        if name not in expected:
            with pytest.raises(UserError) as refused:
                answer(model, name)
            assert str(refused.value) == (
                f"{OUTPUT} must be among {', '.join(expected)} for a model of objective {objective}, got '{name}'"
            )
            continue
        [(found, column)] = answer(model, name).items()
        assert found == name
        assert column.tolist() == expected[name]
        assert column.dtype == (np.int64 if name in ("predicted_label", "labels") else np.float32)
    everything = answer(model, ",".join(expected))
    assert {name: column.tolist() for name, column in everything.items()} == expected


def test_names_come_in_the_order_asked_for_whatever_their_spelling() -> None:
    found = answer(fixed("binary:logistic"), " Probabilities , predicted_label")
    assert list(found) == ["probabilities", "predicted_label"]


@pytest.mark.parametrize("wanted", ["score", "label", "probability,", ",", "predicted_label;labels"])
def test_unknown_names_are_refused(wanted: str) -> None:
    with pytest.raises(UserError, match=f"^{OUTPUT} must be among predicted_label, labels, probability"):
        adapted(fixed("binary:logistic"), {OUTPUT: wanted})


def test_nothing_selected() -> None:
    model = fixed("binary:logistic")
    for variables in ({}, {OUTPUT: ""}, {OUTPUT: " "}, {ENSEMBLE: "true"}, {ENSEMBLE: "True"}, {ENSEMBLE: ""}):
        assert adapted(model, variables) is model


def test_answers_in_each_format() -> None:
    columns = answer(fixed("binary:logistic"), "predicted_label,probabilities")
    assert formats.find("text/csv").encode(columns, "predictions", None) == (
        b'0,"[0.75, 0.25]"\n0,"[0.5, 0.5]"\n1,"[0.25, 0.75]"'
    )
    assert (
        formats.find("application/json")
        .encode(columns, "predictions", None)
        .startswith(b'{"predictions":[{"predicted_label":0,"probabilities":[0.75,0.25]},')
    )
    assert formats.find("application/jsonlines").encode(columns, "predictions", None).split(b"\n")[2] == (
        b'{"predicted_label":1,"probabilities":[0.25,0.75]}'
    )
    assert len(formats.find("application/x-recordio-protobuf").encode(columns, "predictions", None)) > 0


def client(variables: dict[str, str], *boosters: xgboost.Booster) -> FlaskClient:
    loaded = LoadedModel(algorithms.find("xgboost"), XGBoostModel(boosters), None)
    return create_app(loaded, Settings.read(variables)).test_client()


def csv(asked: FlaskClient, accept: str = "text/csv") -> bytes:
    body = b"0.5,-1\n,2\n0,0\n"
    answer = asked.post("/invocations", data=body, headers={"Content-Type": "text/csv", "Accept": accept})
    assert (answer.status_code, answer.content_type) == (200, accept), answer.data
    return bytes(answer.data)


def test_csv_answers_of_the_server() -> None:
    X = np.array([[0.5, -1], [np.nan, 2], [0, 0]], np.float32)
    number = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, label=[1.0, 2.0, 3.0]), 2)
    cells = [str(score) for score in number.predict(xgboost.DMatrix(X))]
    assert csv(client({}, number)) == ",".join(cells).encode()
    for variable in ("SAGEMAKER_BATCH", "INBUILT_CSV_ROWS"):
        assert csv(client({variable: "true"}, number)) == "\n".join(cells).encode() + b"\n"
    assert csv(client({"INBUILT_CSV_ROWS": "1"}, number)) == "\n".join(cells).encode() + b"\n"
    assert csv(client({"INBUILT_CSV_ROWS": "0"}, number)) == ",".join(cells).encode()
    assert csv(client({OUTPUT: "predicted_score"}, number)) == "\n".join(cells).encode()
    assert csv(client({}, number), "application/jsonlines").count(b"\n") == 2
    vectors = [b",".join(str(p).encode() for p in row) for row in trained(0).predict(xgboost.DMatrix(X))]
    assert csv(client({}, trained(0))) == b"\n".join(vectors)
    labels = csv(client({OUTPUT: "predicted_label,labels"}, trained(0))).split(b"\n")
    assert [label[1:] for label in labels] == [b',"[0, 1, 2]"'] * 3


def test_an_infinity_is_refused_and_an_output_that_means_nothing() -> None:
    asked = client({}, trained(0))
    answer = asked.post("/invocations", data=b"1,inf", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 400
    assert b"row 1: feature 2 of 2 is an infinite value" in answer.data
    with pytest.raises(UserError, match=f"^{OUTPUT} must be among predicted_label, .* got 'predicted_score'$"):
        client({OUTPUT: "predicted_score"}, trained(0))
    without = replace(algorithms.find("xgboost"), adapted=None)
    with pytest.raises(UserError, match=f"^{OUTPUT} is not known to xgboost; please do not set it$"):
        create_app(LoadedModel(without, XGBoostModel((trained(0),)), None), Settings.read({OUTPUT: "labels"}))


def trained(seed: int) -> xgboost.Booster:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((100, 2)).astype(np.float32)
    settings = {"nthread": 1, "objective": "multi:softprob", "num_class": 3}
    return xgboost.train(settings, xgboost.DMatrix(X, label=rng.integers(0, 3, 100)), 2)


def test_a_real_model_and_its_first_booster_only(tmp_path: Path) -> None:
    boosters = (trained(0), trained(1))
    model = XGBoostModel(boosters)
    X = np.random.default_rng(2).standard_normal((20, 2)).astype(np.float32)
    first = boosters[0].predict(xgboost.DMatrix(X))
    alone = adapted(model, {ENSEMBLE: "false"})
    np.testing.assert_array_equal(alone.predict(Batch(X))["score"], first)
    selected = adapted(model, {ENSEMBLE: "no", OUTPUT: "predicted_label,labels,probability"})
    found = selected.predict(Batch(X))
    np.testing.assert_array_equal(found["predicted_label"], first.argmax(axis=1))
    np.testing.assert_array_equal(found["labels"], [[0, 1, 2]] * 20)
    np.testing.assert_array_equal(found["probability"], first.max(axis=1))
    assert selected.width == model.width == 2
    assert {name: len(column) for name, column in selected.predict(Batch.empty(2)).items()} == dict.fromkeys(found, 0)
    selected.save(tmp_path)
    assert (tmp_path / "xgboost-model").read_bytes() == portable(bytes(boosters[0].save_raw()))
