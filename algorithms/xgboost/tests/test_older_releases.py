"""What releases before 3.1 read in a saved model: one base score, as one number, and the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from algorithms.xgboost import ubjson
from algorithms.xgboost.model import XGBoostModel
from algorithms.xgboost.older_releases import portable
from formats import Batch

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
X[::7, 1] = np.nan
SUM = np.nansum(X, axis=1)
CLASSES = {"objective": "multi:softprob", "num_class": 3}
QUANTILES = {"objective": "reg:quantileerror", "quantile_alpha": "[0.1, 0.5, 0.9]"}


def trained(parameters: dict[str, Any], rounds: int = 4, labels: np.ndarray | None = None) -> xgboost.Booster:
    if labels is None:
        labels = np.digitize(SUM, [-0.5, 1.5]) if "num_class" in parameters else np.abs(SUM)
        labels = labels > 1.0 if parameters.get("objective") == "binary:logistic" else labels
    depth = {} if parameters.get("booster") == "gblinear" else {"max_depth": 3}
    return xgboost.train({"nthread": 1, "seed": 3, **depth, **parameters}, xgboost.DMatrix(X, labels), rounds)


def document(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = ubjson.parse(content)
    return found


def base_score(content: bytes) -> str:
    return str(document(content)["learner"]["learner_model_param"]["base_score"])


def trees(content: bytes) -> list[dict[str, Any]]:
    booster = document(content)["learner"]["gradient_booster"]
    found: list[dict[str, Any]] = booster.get("gbtree", booster)["model"]["trees"]
    return found


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"objective": "binary:logistic"},
        {"objective": "count:poisson"},
        {"num_parallel_tree": 2, "subsample": 0.5},
        {"booster": "dart", "rate_drop": 0.5},
        {"booster": "gblinear"},
    ],
    ids=lambda parameters: "-".join(map(str, parameters.values())) or "default",
)
def test_one_score_loses_its_brackets_and_nothing_else_changes(parameters: dict[str, Any]) -> None:
    booster = trained(parameters)
    content = bytes(booster.save_raw("ubj"))
    written = base_score(content)
    score = written.strip("[]")
    assert written == f"[{score}]", "the library writes it otherwise now: is it still misread?"
    assert float(score) not in (0, 0.5)  # learned from the labels

    def text(value: str) -> bytes:
        return b"base_scoreSL" + len(value).to_bytes(8, "big") + value.encode()

    assert content.count(text(written)) == 1
    assert portable(content) == content.replace(text(written), text(score))


@pytest.mark.parametrize("parameters", [CLASSES, {**CLASSES, "num_parallel_tree": 2, "subsample": 0.5}, QUANTILES])
def test_several_scores_are_in_the_first_tree_of_each_class(parameters: dict[str, Any]) -> None:
    booster = trained(parameters)
    before = bytes(booster.save_raw("ubj"))
    after = portable(before)
    scores = np.array(base_score(before).strip("[]").split(","), np.float32)
    assert len(scores) == 3
    assert (np.abs(scores) > 0.01).all()
    assert base_score(after) == "0.0"
    changed = []
    for i, (old, new) in enumerate(zip(trees(before), trees(after), strict=True)):
        leaves = old["left_children"] == -1
        difference = new["split_conditions"] - old["split_conditions"]
        assert (difference[~leaves] == 0).all()
        if (difference[leaves] != 0).any():
            changed.append(i)
            score = scores[len(changed) - 1]
            np.testing.assert_array_equal(new["split_conditions"][leaves], old["split_conditions"][leaves] + score)
    assert changed == [parameters.get("num_parallel_tree", 1) * group for group in range(3)]


@pytest.mark.parametrize("parameters", [{}, CLASSES, QUANTILES, {**CLASSES, "num_parallel_tree": 2, "subsample": 0.5}])
def test_summing_as_an_older_release_does_gives_the_margin(parameters: dict[str, Any]) -> None:
    booster = trained(parameters)
    content = portable(bytes(booster.save_raw("ubj")))
    model = document(content)["learner"]["gradient_booster"]["model"]
    leaves = booster.predict(xgboost.DMatrix(X), pred_leaf=True).reshape(len(X), -1).astype(int)
    wanted = booster.predict(xgboost.DMatrix(X), output_margin=True).reshape(len(X), -1)
    found = np.full(wanted.shape, np.float32(float(base_score(content))))
    for i, (tree, group) in enumerate(zip(model["trees"], model["tree_info"], strict=True)):
        found[:, group] += tree["split_conditions"][leaves[:, i]]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("booster", ["gbtree", "gblinear", "dart"])
@pytest.mark.parametrize("parameters", [CLASSES, QUANTILES, {**CLASSES, "objective": "multi:softmax"}])
def test_the_saved_model_answers_the_same(parameters: dict[str, Any], booster: str, tmp_path: Path) -> None:
    dropped = {"rate_drop": 0.5} if booster == "dart" else {}
    original = trained(parameters | {"booster": booster} | dropped, 6)
    XGBoostModel((original,)).save(tmp_path)
    content = (tmp_path / "xgboost-model").read_bytes()
    float(base_score(content))
    scores, wanted = XGBoostModel.load(tmp_path).predict(Batch(X))["score"], original.predict(xgboost.DMatrix(X))
    if booster == "dart":  # its leaves have weights, by which the scores are divided
        np.testing.assert_allclose(scores, wanted, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(scores, wanted)
    XGBoostModel.load(tmp_path).save(tmp_path)
    again = XGBoostModel.load(tmp_path).predict(Batch(X))["score"]
    np.testing.assert_array_equal(again, scores)  # saved twice: the library has made a list of it again


@pytest.mark.parametrize(("objective", "neutral"), [("binary:logistic", "0.5"), ("count:poisson", "1.0")])
def test_several_targets_whose_score_is_not_the_margin(objective: str, neutral: str) -> None:
    # not trained here, but a model of them can be loaded
    labels = np.stack([SUM > 0, SUM > 1, SUM > -1], axis=1)
    original = trained({"objective": objective}, labels=labels)
    content = portable(bytes(original.save_raw("ubj")))
    assert base_score(content) == neutral
    again = xgboost.Booster(model_file=bytearray(content)).predict(xgboost.DMatrix(X))
    np.testing.assert_allclose(again, original.predict(xgboost.DMatrix(X)), rtol=1e-6)


def test_early_stopping_cuts_behind_the_folded_trees(tmp_path: Path) -> None:
    original = trained(CLASSES, 6)
    original.set_attr(best_iteration="1")
    XGBoostModel((original,)).save(tmp_path)
    wanted = original.predict(xgboost.DMatrix(X), iteration_range=(0, 2))
    np.testing.assert_array_equal(XGBoostModel.load(tmp_path).predict(Batch(X))["score"], wanted)


def test_training_goes_on_from_a_saved_model() -> None:
    content = bytes(trained(CLASSES, 3).save_raw("ubj"))
    matrix = xgboost.DMatrix(X, np.digitize(SUM, [-0.5, 1.5]))
    answers = []
    for each in (content, portable(content)):
        booster = xgboost.train({"nthread": 1, **CLASSES}, matrix, 3, xgb_model=bytearray(each))
        assert booster.num_boosted_rounds() == 6
        answers.append(booster.predict(matrix))
    np.testing.assert_allclose(*answers, rtol=1e-5, atol=1e-6)


def test_what_has_no_place_for_several_scores_stays_as_it_is() -> None:
    vectors = trained({"multi_strategy": "multi_output_tree", "tree_method": "hist", **CLASSES})
    empty = trained(CLASSES, 0)
    for booster in (vectors, empty):
        content = bytes(booster.save_raw("ubj"))
        assert "," in base_score(content)
        assert portable(content) == content


def test_a_tree_that_dart_has_dropped_until_nothing_is_left_of_it() -> None:
    found = document(bytes(trained({"booster": "dart", **CLASSES}).save_raw("ubj")))
    found["learner"]["gradient_booster"]["weight_drop"][0] = 1e-45
    content = ubjson.dump(found)
    assert portable(content) == content


@pytest.mark.parametrize("rounds", [3, 150])  # numbers of trees that take one byte, and two
@pytest.mark.parametrize("parameters", [{}, CLASSES, {"booster": "gblinear"}, {"booster": "dart", "rate_drop": 0.1}])
def test_what_is_parsed_is_written_again_as_the_library_wrote_it(parameters: dict[str, Any], rounds: int) -> None:
    content = bytes(trained(parameters | ({} if "booster" in parameters else {"max_depth": 1}), rounds).save_raw("ubj"))
    assert ubjson.dump(ubjson.parse(content)) == content
