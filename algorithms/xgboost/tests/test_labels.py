"""Label rules, and the library as their judge: it trains on what they allow, and refuses or garbles the rest."""

import numpy as np
import pytest
import xgboost

from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.labels import label_rules
from algorithms.xgboost.parameters import library_parameters

# objective, rule, labels it allows, labels that the library refuses, labels that it takes and makes nonsense of
TABLE = [
    ("reg:squarederror", "a finite number", (-3, 0, 2.5), (), ()),
    ("reg:linear", "a finite number", (-3, 0, 2.5), (), ()),
    ("reg:pseudohubererror", "a finite number", (-3, 0, 2.5), (), ()),
    ("reg:absoluteerror", "a finite number", (-3, 0, 2.5), (), ()),
    ("reg:quantileerror", "a finite number", (-3, 0, 2.5), (), ()),
    ("reg:squaredlogerror", "greater than -1", (-0.5, 0, 2.5), (-1, -2), ()),
    ("reg:logistic", "in [0, 1]", (0, 0.5, 1), (-0.5, 1.5, 40), ()),
    ("reg:gamma", "greater than 0", (0.5, 3), (0, -1), ()),
    ("reg:tweedie", "0 or greater", (0, 0.5, 3), (-0.5,), ()),
    ("binary:logistic", "0 or 1, or a probability between them,", (0, 0.5, 1), (-0.5, 1.5, 2), ()),
    ("binary:logitraw", "0 or 1, or a probability between them,", (0, 0.5, 1), (-0.5, 1.5, 2), ()),
    ("binary:hinge", "0 or 1", (0, 1), (), (-1, 0.5, 2)),
    ("count:poisson", "0 or greater", (0, 1.5, 3), (-1,), ()),
    ("multi:softmax", "an integer in [0, 2] (num_class is 3)", (0, 1, 2), (-1, 0.5, 3), ()),
    ("multi:softprob", "an integer in [0, 2] (num_class is 3)", (0, 1, 2), (-1, 0.5, 3), ()),
    ("rank:ndcg", "an integer in [0, 31] (unless ndcg_exp_gain is 0)", (0, 5, 31), (-1, 0.5, 32), ()),
    ("rank:map", "0 or 1", (0, 1), (-1, 0.5, 2), ()),
    ("survival:cox", "a finite number", (-2, 0, 3.5), (), ()),
    ("survival:aft", "greater than 0", (0.5, 3), (), (0, -1)),
]


def parse(objective: str, **given: str) -> XGBoostHyperparameters:
    needs = {"multi": {"num_class": "3"}, "reg:quantileerror": {"quantile_alpha": "0.5"}}
    more = needs.get(objective, needs.get(objective.partition(":")[0], {}))
    return XGBoostHyperparameters.parse({"num_round": "2", "nthread": "1", "objective": objective, **more, **given})


def train(hyperparameters: XGBoostHyperparameters, label: float) -> None:
    features = np.random.default_rng(0).normal(size=(40, 3))
    labels = (features[:, 0] > 0).astype(np.float32)
    if hyperparameters.objective in ("reg:gamma", "survival:aft"):
        labels += 1
    labels[7] = label
    ranking = hyperparameters.objective.startswith("rank:")
    data = xgboost.DMatrix(features, labels, qid=np.repeat(np.arange(4), 10) if ranking else None)
    if hyperparameters.objective == "survival:aft":
        data.set_float_info("label_lower_bound", labels)
        data.set_float_info("label_upper_bound", labels)
    results: dict[str, dict[str, list[float]]] = {}
    parameters, _ = library_parameters(hyperparameters)
    booster = xgboost.train(parameters, data, 2, evals=[(data, "train")], evals_result=results, verbose_eval=False)
    assert np.isfinite(booster.predict(data)).all()
    assert np.isfinite([value for values in results["train"].values() for value in values]).all()


@pytest.mark.parametrize(("objective", "text", "allowed", "refused", "garbled"), TABLE, ids=[row[0] for row in TABLE])
def test_rules_of_objectives(objective, text, allowed, refused, garbled):
    hyperparameters = parse(objective)
    rule = label_rules(hyperparameters)[0]
    assert rule.text == text
    for label in allowed:
        assert rule.first_fault(np.float32([label])) is None
        train(hyperparameters, label)
    for label in (*refused, *garbled, np.nan, np.inf, -np.inf):
        assert rule.first_fault(np.float32([label])) == 0
    for label in refused:
        with pytest.raises(xgboost.core.XGBoostError):
            train(hyperparameters, label)


def test_every_objective_is_in_the_table():
    objectives = XGBoostHyperparameters.model_json_schema()["properties"]["objective"]["enum"]
    assert set(objectives) == {row[0] for row in TABLE} | {"rank:pairwise"}


def test_sentences():
    (rule,) = label_rules(parse("binary:hinge"))
    assert rule.sentence(2.0) == "the label must be 0 or 1 for objective 'binary:hinge', got 2"
    (rule,) = label_rules(parse("multi:softmax"))
    assert rule.sentence(np.float32(0.1)) == (
        "the label must be an integer in [0, 2] (num_class is 3) for objective 'multi:softmax', got 0.100000001"
    )


def test_which_row():
    (rule,) = label_rules(parse("binary:logistic"))
    labels = np.float32([0, 1, 2, -1])
    assert rule.allows(labels).tolist() == [True, True, False, False]
    assert rule.first_fault(labels) == 2
    assert rule.first_fault(labels[:2]) is None
    assert rule.first_fault(labels[:0]) is None


def accepted(hyperparameters: XGBoostHyperparameters, label: float) -> bool:
    return all(rule.first_fault(np.float32([label])) is None for rule in label_rules(hyperparameters))


@pytest.mark.parametrize(
    ("objective", "given", "allowed", "refused"),
    [
        ("rank:pairwise", {}, (0, 31), (0.5, -1, 32)),  # its default metric is ndcg
        ("rank:pairwise", {"eval_metric": "auc"}, (0, 0.5, -1, 40), ()),
        ("rank:pairwise", {"eval_metric": "map"}, (0, 1), (2, 0.5)),
        ("rank:pairwise", {"ndcg_exp_gain": "0"}, (0.5, 40), ()),
        ("rank:ndcg", {"eval_metric": "aucpr"}, (0, 1), (2,)),
        ("rank:ndcg", {"ndcg_exp_gain": "0"}, (0, 40), ()),
        ("reg:squarederror", {"eval_metric": "ndcg@3"}, (0, 3), (0.5, -1, 32)),
        ("reg:squarederror", {"eval_metric": "pre"}, (0, 1), (0.5,)),
        ("reg:squarederror", {"eval_metric": "ndcg", "ndcg_exp_gain": "0"}, (0, 40, 0.5), ()),
    ],
)
def test_rules_of_metrics(objective, given, allowed, refused):
    hyperparameters = parse(objective, **given)
    for label in allowed:
        assert accepted(hyperparameters, label)
        train(hyperparameters, label)
    for label in refused:
        assert not accepted(hyperparameters, label)
        with pytest.raises(xgboost.core.XGBoostError):
            train(hyperparameters, label)


def test_classes_are_counted_by_whole_labels():
    hyperparameters = parse("binary:logistic", eval_metric="f1")
    assert accepted(hyperparameters, 1)
    assert not accepted(hyperparameters, 0.5)
    rule = label_rules(hyperparameters)[-1]
    assert rule.sentence(0.5) == "the label must be 0 or 1 for eval_metric 'f1', got 0.5"
