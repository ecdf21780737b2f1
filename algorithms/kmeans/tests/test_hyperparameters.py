"""The guide's table "K-Means Hyperparameters", row by row, and every spelling in which clients send a value."""

import math

import pytest

from algorithms.errors import UserError
from algorithms.kmeans.hyperparameters import KMeansHyperparameters

POSITIVE, POSITIVE_OR_AUTO = "an integer >= 1", "an integer >= 1 or auto"
METHOD, METRICS = "one of random, kmeans++", "a JSON list of msd, ssd"
NO_POSITIVE_INTEGERS = ("0", "-1", "1.5", "abc", "", "nan", "inf", "1e400")
REQUIRED = object()

# name, default, rule, allowed text -> value, refused texts, the guide's tuning range
TABLE = [
    ("feature_dim", REQUIRED, "an integer in [1, 2147483647]", {"1": 1, "784": 784}, NO_POSITIVE_INTEGERS, None),
    ("k", REQUIRED, POSITIVE, {"1": 1, "1000": 1000}, (*NO_POSITIVE_INTEGERS, "auto"), None),
    ("epochs", 1, POSITIVE, {"1": 1, "10": 10}, NO_POSITIVE_INTEGERS, [1, 10]),
    (
        "eval_metrics",
        ["msd"],
        METRICS,
        {'["msd"]': ["msd"], '["ssd"]': ["ssd"], '["msd", "ssd"]': ["msd", "ssd"]},
        ("[]", "", '["mse"]', "msd, mse", "[1]", '["msd"'),
        None,
    ),
    (
        "extra_center_factor",
        "auto",
        POSITIVE_OR_AUTO,
        {"auto": "auto", '"auto"': "auto", "1": 1, "10": 10},
        NO_POSITIVE_INTEGERS,
        [4, 10],
    ),
    ("half_life_time_size", 0, "an integer >= 0", {"0": 0, "5": 5}, ("-1", "1.5", "abc", "", "nan", "inf"), None),
    ("init_method", "random", METHOD, {"random": "random", "kmeans++": "kmeans++"}, ("", "x"), ["kmeans++", "random"]),
    ("local_lloyd_init_method", "kmeans++", METHOD, {"random": "random", "kmeans++": "kmeans++"}, ("", "auto"), None),
    ("local_lloyd_max_iter", 300, POSITIVE, {"1": 1, "300": 300}, NO_POSITIVE_INTEGERS, None),
    ("local_lloyd_num_trials", "auto", POSITIVE_OR_AUTO, {"auto": "auto", "7": 7}, NO_POSITIVE_INTEGERS, None),
    (
        "local_lloyd_tol",
        0.0001,
        "a number in [0, 1]",
        {"0": 0.0, "1": 1.0, "0.5": 0.5, "1e-4": 0.0001},
        ("-0.1", "1.1", "nan", "inf", "-inf", "abc", ""),
        None,
    ),
    ("mini_batch_size", 5000, POSITIVE, {"1": 1, "15000": 15000}, NO_POSITIVE_INTEGERS, [3000, 15000]),
]
OURS = {"seed", "force_dense"}


def parse(**given: object) -> KMeansHyperparameters:
    return KMeansHyperparameters.parse({"k": "10", "feature_dim": "784", **given})


def refusal(given: dict[str, object]) -> str:
    with pytest.raises(UserError) as error:
        KMeansHyperparameters.parse(given)
    return str(error.value)


def test_the_names_are_the_tables_and_two_more():
    assert set(KMeansHyperparameters.model_fields) == {row[0] for row in TABLE} | OURS


@pytest.mark.parametrize(
    ("name", "default", "rule", "allowed", "refused", "tune"), TABLE, ids=[row[0] for row in TABLE]
)
def test_row_of_the_table(name, default, rule, allowed, refused, tune):
    field = KMeansHyperparameters.model_fields[name]
    assert field.is_required() == (default is REQUIRED)
    if default is not REQUIRED:
        assert getattr(parse(), name) == default
    for text, value in allowed.items():
        found = getattr(parse(**{name: text}), name)
        assert found == value
        assert type(found) is type(value)
    for text in refused:
        wanted = f"hyperparameter '{name}' must be {rule}, got '{text}'"
        assert refusal({"k": "10", "feature_dim": "784", name: text}) == wanted
    assert (field.json_schema_extra or {}).get("tune") == tune
    assert field.description


@pytest.mark.parametrize(
    ("name", "sent", "value"),
    [
        *[("k", sent, 10) for sent in ("10", '"10"', 10, " 10 ")],
        *[("force_dense", sent, True) for sent in ("True", "true", '"true"', True)],
        *[("force_dense", sent, False) for sent in ("False", "false", False)],
        *[("eval_metrics", sent, ["msd"]) for sent in ('["msd"]', "['msd']", "msd", '"msd"', '"[\\"msd\\"]"', ["msd"])],
        *[("eval_metrics", sent, ["msd", "ssd"]) for sent in ("['msd', 'ssd']", "msd,ssd", "msd, ssd")],
        *[("init_method", sent, "kmeans++") for sent in ("kmeans++", "k-means++", '"kmeans++"', '"k-means++"')],
        ("local_lloyd_init_method", "k-means++", "kmeans++"),
        *[("local_lloyd_tol", sent, 0.5) for sent in ("0.5", '"0.5"', 0.5)],
        ("extra_center_factor", 6, 6),
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
    assert refusal({"k": sent, "feature_dim": 4}) == f"hyperparameter 'k' must be an integer >= 1, got '{shown}'"


def test_digits_with_underscores_are_no_integer_to_a_client():
    assert refusal({"k": "1_0", "feature_dim": 4}) == "hyperparameter 'k' must be an integer >= 1, got '1_0'"


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_refused_seed(seed):
    wanted = f"hyperparameter 'seed' must be an integer in [0, 4294967295], got '{seed}'"
    assert refusal({"k": "1", "feature_dim": "1", "seed": seed}) == wanted


def test_all_faults_at_once_and_the_nearest_name():
    given = {"k": "0", "mini_batch_siz": "10", "epochs": "x", "local_lloyd_tol": "nan"}
    assert refusal(given).split("; ") == [
        "unknown hyperparameter 'mini_batch_siz'",
        "did you mean 'mini_batch_size'?",
        "hyperparameter 'feature_dim' is required: an integer in [1, 2147483647]",
        "hyperparameter 'k' must be an integer >= 1, got '0'",
        "hyperparameter 'epochs' must be an integer >= 1, got 'x'",
        "hyperparameter 'local_lloyd_tol' must be a number in [0, 1], got 'nan'",
    ]


def test_a_name_like_no_other_is_answered_with_all():
    names = ", ".join(sorted(KMeansHyperparameters.model_fields))
    assert refusal({"k": "1", "feature_dim": "1", "zzz": "1"}) == f"unknown hyperparameter 'zzz'; known are {names}"


def test_the_services_own_names_pass():
    parse(_tuning_objective_metric="test:msd", _kvstore="auto", _num_gpus="auto", sagemaker_program="train.py")


def test_numbers_beyond_64_bits():
    wanted = "hyperparameter 'mini_batch_size' must be less than 2**63, got '1000000000000000000000'"
    assert refusal({"k": "1", "feature_dim": "1", "mini_batch_size": 10**21}) == wanted


def test_many_unknown_names_are_counted():
    sentence = refusal({"k": "1", "feature_dim": "1", **{f"zzz{i}": 1 for i in range(30)}})
    assert "unknown hyperparameter 'zzz4'; and 25 other unknown hyperparameters; known are epochs, " in sentence
    assert len(sentence) < 500
