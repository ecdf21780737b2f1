"""The guide's table "LDA Hyperparameters", row by row, and the spellings in which clients send a value."""

import math

import pytest

from algorithms.errors import UserError
from algorithms.lda.hyperparameters import LDAHyperparameters

POSITIVE, NUMBER, BOOLEAN = "an integer >= 1", "a number > 0", "true or false"
ALPHA0 = "a number in [1e-30, 1e+30]"
NO_INTEGERS = ("1.5", "abc", "", "nan", "inf", "1e400", "auto", "1_0")
NO_POSITIVE_INTEGERS = ("0", "-1", *NO_INTEGERS)
NO_POSITIVE_NUMBERS = ("0", "-0.5", "abc", "", "nan", "inf")
NO_ALPHA0 = ("1e-50", "1e300", *NO_POSITIVE_NUMBERS)  # alpha would be 0 or infinite in the artifact
BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
REQUIRED = object()

# name, default, rule, tuning range, allowed text -> value, refused texts
TABLE = [
    ("num_topics", REQUIRED, POSITIVE, [1, 150], {"1": 1, "150": 150, "784": 784}, NO_POSITIVE_INTEGERS),
    ("feature_dim", REQUIRED, "an integer in [1, 2147483647]", None, {"784": 784}, NO_POSITIVE_INTEGERS),
    ("mini_batch_size", REQUIRED, POSITIVE, None, {"1": 1, "100000": 100_000}, NO_POSITIVE_INTEGERS),
    ("alpha0", 1.0, ALPHA0, [0.1, 10], {"0.1": 0.1, "1": 1.0, "1e-3": 1e-3, "50": 50.0}, NO_ALPHA0),
    ("max_restarts", 10, POSITIVE, None, {"1": 1, "25": 25}, NO_POSITIVE_INTEGERS),
    ("max_iterations", 1000, POSITIVE, None, {"1": 1, "5000": 5000}, NO_POSITIVE_INTEGERS),
    ("tol", 1e-8, NUMBER, None, {"1e-8": 1e-8, "0.5": 0.5}, NO_POSITIVE_NUMBERS),
    ("allow_svd_init", True, BOOLEAN, None, BOOLEANS, ("", "x", "2", "None")),
    ("em_passes", 320, "an integer >= 0", None, {"0": 0, "100": 100}, ("-1", *NO_INTEGERS)),
    ("epochs", 1, "1", None, {"1": 1, '"1"': 1}, ("2", *NO_POSITIVE_INTEGERS)),
]
LEAST = {"num_topics": "10", "feature_dim": "784", "mini_batch_size": "5400"}


def parse(**given: object) -> LDAHyperparameters:
    return LDAHyperparameters.parse({**LEAST, **given})


def refusal(given: dict[str, object]) -> str:
    with pytest.raises(UserError) as error:
        LDAHyperparameters.parse(given)
    return str(error.value)


def test_the_names_are_the_tables_and_the_seed():
    assert set(LDAHyperparameters.names()) == {row[0] for row in TABLE} | {"seed"}


@pytest.mark.parametrize(
    ("name", "default", "rule", "tune", "allowed", "refused"), TABLE, ids=[row[0] for row in TABLE]
)
def test_row_of_the_table(name, default, rule, tune, allowed, refused):
    field = LDAHyperparameters.model_fields["passes" if name == "epochs" else name]
    assert field.is_required() == (default is REQUIRED)
    if default is not REQUIRED:
        assert parse().values()[name] == default
    for text, value in allowed.items():
        found = parse(**{name: text}).values()[name]
        assert found == value
        assert type(found) is type(value)
    for text in refused:
        assert refusal({**LEAST, name: text}) == f"hyperparameter '{name}' must be {rule}, got '{text}'"
    assert (field.json_schema_extra or {}).get("tune") == tune
    assert field.description


@pytest.mark.parametrize(
    ("name", "sent", "value"),
    [
        *[("num_topics", sent, 10) for sent in ("10", '"10"', 10, " 10 ")],
        *[("alpha0", sent, 1.0) for sent in ("1", "1.0", '"1.0"', 1, 1.0)],
        *[("tol", sent, 1e-8) for sent in ("1e-8", "1e-08", "0.00000001", 1e-8)],
        *[("allow_svd_init", sent, True) for sent in ("True", "true", '"true"', True)],
        ("seed", "4294967295", 2**32 - 1),
    ],
)
def test_spelling(name, sent, value):
    assert getattr(parse(**{name: sent}), name) == value


@pytest.mark.parametrize(("sent", "shown"), [(math.nan, "NaN"), (math.inf, "Infinity"), (None, "null"), (True, "true")])
def test_refused_json_values(sent, shown):
    wanted = f"hyperparameter 'alpha0' must be {ALPHA0}, got '{shown}'"
    assert refusal({**LEAST, "alpha0": sent}) == wanted


def test_more_topics_than_words():
    assert parse(num_topics="784").num_topics == 784
    assert refusal({**LEAST, "num_topics": "785"}).replace("'785'", "785") == (
        "hyperparameter 'num_topics' must be at most 'feature_dim', got 785 for 784 features"
    )


def test_all_faults_at_once_and_the_nearest_name():
    given = {"num_topic": "3", "mini_batch_size": "0", "alpha0": "-1", "tol": "no"}
    assert refusal(given).split("; ") == [
        "unknown hyperparameter 'num_topic'",
        "did you mean 'num_topics'?",
        "hyperparameter 'num_topics' is required: an integer >= 1",
        "hyperparameter 'feature_dim' is required: an integer in [1, 2147483647]",
        "hyperparameter 'mini_batch_size' must be an integer >= 1, got '0'",
        f"hyperparameter 'alpha0' must be {ALPHA0}, got '-1'",
        "hyperparameter 'tol' must be a number > 0, got 'no'",
    ]


def test_what_the_sdk_and_the_service_send_besides():
    parse(_tuning_objective_metric="test:pwll", _kvstore="local", _num_gpus="auto", _log_level="info")
