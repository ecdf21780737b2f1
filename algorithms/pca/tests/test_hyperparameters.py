"""The guide's table "PCA Hyperparameters", row by row, and every spelling in which clients send a value."""

import math

import pytest

from algorithms.errors import UserError
from algorithms.pca.hyperparameters import PCAHyperparameters

POSITIVE, BOOLEAN = "an integer >= 1", "true or false"
NO_INTEGERS = ("1.5", "abc", "", "nan", "inf", "1e400", "auto", "1_0")
NO_POSITIVE_INTEGERS = ("0", "-1", *NO_INTEGERS)
BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
REQUIRED = object()

# name, default, rule, allowed text -> value, refused texts
TABLE = [
    ("feature_dim", REQUIRED, "an integer in [1, 2147483647]", {"10": 10, "784": 784}, NO_POSITIVE_INTEGERS),
    ("num_components", REQUIRED, POSITIVE, {"1": 1, "784": 784}, NO_POSITIVE_INTEGERS),
    ("mini_batch_size", 500, POSITIVE, {"1": 1, "10000": 10_000}, NO_POSITIVE_INTEGERS),
    (
        "algorithm_mode",
        "regular",
        "one of regular, randomized",
        {"regular": "regular", "randomized": "randomized", "stable": "regular"},
        ("", "x", "Regular", "random", "1"),
    ),
    ("extra_components", -1, "an integer >= -1", {"-1": -1, "0": 0, "25": 25}, ("-2", *NO_INTEGERS)),
    ("subtract_mean", True, BOOLEAN, BOOLEANS, ("", "x", "2", "None")),
    ("force_dense", True, BOOLEAN, BOOLEANS, ("", "x", "2", "None")),
]


def parse(**given: object) -> PCAHyperparameters:
    return PCAHyperparameters.parse({"num_components": "10", "feature_dim": "784", **given})


def refusal(given: dict[str, object]) -> str:
    with pytest.raises(UserError) as error:
        PCAHyperparameters.parse(given)
    return str(error.value)


def test_the_names_are_the_tables_and_the_seed():
    assert set(PCAHyperparameters.names()) == {row[0] for row in TABLE} | {"seed"}


@pytest.mark.parametrize(("name", "default", "rule", "allowed", "refused"), TABLE, ids=[row[0] for row in TABLE])
def test_row_of_the_table(name, default, rule, allowed, refused):
    field = PCAHyperparameters.model_fields[name]
    assert field.is_required() == (default is REQUIRED)
    if default is not REQUIRED:
        assert getattr(parse(), name) == default
    for text, value in allowed.items():
        found = getattr(parse(**{name: text}), name)
        assert found == value
        assert type(found) is type(value)
    for text in refused:
        wanted = f"hyperparameter '{name}' must be {rule}, got '{text}'"
        assert refusal({"num_components": "10", "feature_dim": "784", name: text}) == wanted
    assert not (field.json_schema_extra or {}).get("tune")  # the guide recommends no range for any of them
    assert field.description


@pytest.mark.parametrize(
    ("name", "sent", "value"),
    [
        *[("num_components", sent, 10) for sent in ("10", '"10"', 10, " 10 ")],
        *[("extra_components", sent, -1) for sent in ("-1", '"-1"', -1)],
        *[("subtract_mean", sent, True) for sent in ("True", "true", '"true"', True)],
        *[("subtract_mean", sent, False) for sent in ("False", "false", '"false"', False)],
        *[("algorithm_mode", sent, "randomized") for sent in ("randomized", '"randomized"', " randomized ")],
        *[("algorithm_mode", sent, "regular") for sent in ("stable", '"stable"', '"regular"')],
        ("seed", "4294967295", 2**32 - 1),
    ],
)
def test_spelling(name, sent, value):
    assert getattr(parse(**{name: sent}), name) == value


@pytest.mark.parametrize(
    ("sent", "shown"),
    [(1.5, "1.5"), (math.nan, "NaN"), (math.inf, "Infinity"), (None, "null"), ([3], "[3]"), (True, "true")],
)
def test_refused_json_values(sent, shown):
    wanted = f"hyperparameter 'num_components' must be an integer >= 1, got '{shown}'"
    assert refusal({"num_components": sent, "feature_dim": 4}) == wanted


@pytest.mark.parametrize("n", [1, 2, 9, 10])
def test_at_most_as_many_components_as_features(n):
    assert PCAHyperparameters.parse({"num_components": str(n), "feature_dim": "10"}).num_components == n


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_more_components_than_features(mode):
    sentence = refusal({"num_components": "11", "feature_dim": "10", "algorithm_mode": mode})
    assert sentence.replace("'11'", "11") == (
        "hyperparameter 'num_components' must be at most 'feature_dim', got 11 for 10 features"
    )


def test_extra_components_may_exceed_the_features():
    """The sketch then has all columns; nobody need know how many that are."""
    assert parse(extra_components="100000").extra_components == 100_000


def test_all_faults_at_once_and_the_nearest_name():
    given = {"num_component": "3", "mini_batch_size": "0", "algorithm_mode": "exact", "subtract_mean": "maybe"}
    assert refusal(given).split("; ") == [
        "unknown hyperparameter 'num_component'",
        "did you mean 'num_components'?",
        "hyperparameter 'feature_dim' is required: an integer in [1, 2147483647]",
        "hyperparameter 'num_components' is required: an integer >= 1",
        "hyperparameter 'mini_batch_size' must be an integer >= 1, got '0'",
        "hyperparameter 'algorithm_mode' must be one of regular, randomized, got 'exact'",
        "hyperparameter 'subtract_mean' must be true or false, got 'maybe'",
    ]


def test_what_the_sdk_and_the_service_send_besides():
    parse(
        _tuning_objective_metric="", _kvstore="dist_sync", _num_kv_servers="auto", _num_gpus="auto", _log_level="info"
    )
