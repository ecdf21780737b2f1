"""The guide's table "RCF Hyperparameters", row by row, and what is hidden beside it."""

import pytest

from algorithms.errors import UserError
from algorithms.random_cut_forest.hyperparameters import RandomCutForestHyperparameters

BOTH = ["accuracy", "precision_recall_fscore"]
NO_COUNTS = ("0", "-1", "1.5", "1_0", "abc", "", "nan", "inf", "1e400", "None")

# name, default, rule, allowed text -> value, refused texts, the guide's tuning range
TABLE = [
    (
        "feature_dim",
        "auto",
        "an integer in [1, 10000] or auto",
        {"1": 1, "784": 784, "10000": 10000, "auto": "auto"},
        ("10001", *NO_COUNTS),
        None,
    ),
    (
        "num_trees",
        100,
        "an integer in [50, 1000]",
        {"50": 50, "1000": 1000, '"100"': 100},
        ("49", "1001", *NO_COUNTS),
        [50, 1000],
    ),
    (
        "num_samples_per_tree",
        256,
        "an integer in [1, 2048]",
        {"1": 1, "2048": 2048},
        ("2049", *NO_COUNTS),
        [1, 2048],
    ),
    (
        "eval_metrics",
        BOTH,
        "a JSON list of accuracy, precision_recall_fscore",
        {
            '["accuracy"]': ["accuracy"],
            "['accuracy', 'precision_recall_fscore']": BOTH,
            '("precision_recall_fscore",)': ["precision_recall_fscore"],
            "accuracy": ["accuracy"],
            "accuracy, precision_recall_fscore": BOTH,
            "[]": [],
        },
        ('["auc"]', "f1", '["accuracy", 1]', "", "Accuracy", "[[]]", '{"accuracy": 1}'),
        None,
    ),
    ("share_rows", False, "true or false", {"true": True, "False": False}, ("", "x", "2", "None"), None),  # ours
    ("mini_batch_size", 1000, "an integer >= 1", {"1": 1, "1000": 1000}, NO_COUNTS, None),
    ("epochs", 1, "1", {"1": 1, '"1"': 1}, ("2", "1.0", *NO_COUNTS), None),
    ("force_dense", True, "true or false", {"true": True, "False": False}, ("", "x", "2", "None"), None),
]  # fmt: skip


def refusal(**given: object) -> str:
    with pytest.raises(UserError) as error:
        RandomCutForestHyperparameters.parse(given)
    return str(error.value)


def test_the_names_are_the_tables():
    assert set(RandomCutForestHyperparameters.names()) == {row[0] for row in TABLE} | {"seed"}


@pytest.mark.parametrize(
    ("name", "default", "rule", "allowed", "refused", "tune"), TABLE, ids=[row[0] for row in TABLE]
)
def test_row_of_the_table(name, default, rule, allowed, refused, tune):
    kind = RandomCutForestHyperparameters
    assert kind.parse({}).values()[name] == default
    assert kind.rule(name) == rule
    assert kind._schema(name).get("tune") == tune
    assert kind._schema(name)["description"]
    for text, value in allowed.items():
        found = kind.parse({name: text}).values()[name]
        assert found == value
        assert type(found) is type(value)
    for text in refused:
        assert refusal(**{name: text}) == f"hyperparameter '{name}' must be {rule}, got '{text}'"


def test_numbers_and_lists_that_are_not_in_quotes():
    given = {"feature_dim": 3, "num_trees": 60, "eval_metrics": ["accuracy"], "epochs": 1, "force_dense": False}
    values = RandomCutForestHyperparameters.parse(given).values()
    assert {name: values[name] for name in given} == given


def test_the_services_own_names_are_accepted():
    hidden = {"_kvstore": "dist_async", "_num_kv_servers": "auto", "_ftp_port": "8999", "_tuning_objective_metric": "f"}
    assert RandomCutForestHyperparameters.parse(hidden) == RandomCutForestHyperparameters.parse({})


def test_all_faults_at_once():
    sentence = refusal(num_trees="0", num_samples_per_tree="x", num_tree="50")
    assert "unknown hyperparameter 'num_tree'; did you mean 'num_trees'?" in sentence
    assert "'num_trees' must be an integer in [50, 1000], got '0'" in sentence
    assert "'num_samples_per_tree' must be an integer in [1, 2048], got 'x'" in sentence
