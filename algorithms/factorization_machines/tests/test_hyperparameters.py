"""The guide's table "Factorization Machines Hyperparameters", row by row, and the rules between its rows."""

import re

import pytest

from algorithms.errors import UserError
from algorithms.factorization_machines.hyperparameters import FactorizationMachinesHyperparameters

POSITIVE, NOT_NEGATIVE, NUMBER, ABOVE = "an integer >= 1", "a number >= 0", "a number", "a number > 0"
NO_POSITIVE_INTEGERS = ("0", "-1", "1.5", "abc", "", "nan", "inf", "1e400")
NO_NUMBERS = ("", "abc", "nan", "inf", "-inf", "1e400", "auto", "None")
REQUIRED, WIDE = object(), [1e-8, 512]
GIVEN = {"feature_dim": "1000", "num_factors": "8", "predictor_type": "regressor"}

AMOUNTS = {"0": 0.0, "1e-8": 1e-8, "512": 512.0, "0.001": 0.001}
METHODS = {"normal": "normal"}  # the others need more, see below
# name, default, rule, allowed text -> value, refused texts, the guide's tuning range
TABLE = [
    ("feature_dim", REQUIRED, POSITIVE, {"1": 1, "10000000": 10**7}, (*NO_POSITIVE_INTEGERS, "auto"), None),
    ("num_factors", REQUIRED, POSITIVE, {"1": 1, "1000": 1000}, NO_POSITIVE_INTEGERS, None),
    (
        "predictor_type",
        REQUIRED,
        "one of binary_classifier, regressor",
        {"binary_classifier": "binary_classifier", "regressor": "regressor"},
        ("", "Regressor", "multiclass_classifier"),
        None,
    ),
    ("epochs", 1, POSITIVE, {"1": 1, "1000": 1000}, NO_POSITIVE_INTEGERS, [1, 1000]),
    ("mini_batch_size", 1000, POSITIVE, {"1": 1, "100": 100}, NO_POSITIVE_INTEGERS, [100, 10000]),
    ("clip_gradient", None, ABOVE, {"0.5": 0.5, "1e3": 1000.0}, ("0", "-1", *NO_NUMBERS), None),
    ("eps", None, ABOVE, {"1e-8": 1e-8}, ("0", "-1", *NO_NUMBERS), None),
    ("rescale_grad", None, ABOVE, {"0.001": 0.001}, ("0", "-1", *NO_NUMBERS), None),
]
for term, rate, decay, sigma in (
    ("bias", 0.1, 0.01, 0.01),
    ("linear", 0.001, 0.001, 0.01),
    ("factors", 1e-4, 1e-5, 1e-3),
):
    TABLE += [
        (f"{term}_lr", rate, NOT_NEGATIVE, AMOUNTS, ("-1e-8", *NO_NUMBERS), WIDE),
        (f"{term}_wd", decay, NOT_NEGATIVE, AMOUNTS, ("-1e-8", *NO_NUMBERS), WIDE),
        (f"{term}_init_method", "normal", "one of normal, uniform, constant", METHODS, ("", "Normal", "zero"), None),
        (f"{term}_init_scale", None, NOT_NEGATIVE, AMOUNTS, ("-1e-8", *NO_NUMBERS), WIDE),
        (f"{term}_init_sigma", sigma, NOT_NEGATIVE, AMOUNTS, ("-1e-8", *NO_NUMBERS), WIDE),
        (f"{term}_init_value", None, NUMBER, AMOUNTS | {"-3": -3.0}, NO_NUMBERS, WIDE),
    ]
OURS = {"seed"}
HIDDEN = {"use_bias": True, "use_linear": True, "batch_metrics_publish_interval": 500}


def parse(**given: object) -> FactorizationMachinesHyperparameters:
    return FactorizationMachinesHyperparameters.parse(GIVEN | given)


def refusal(**given: object) -> str:
    with pytest.raises(UserError) as error:
        parse(**given)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "default", "rule", "allowed", "refused", "tuning"), TABLE, ids=[row[0] for row in TABLE]
)
def test_a_row_of_the_guides_table(name, default, rule, allowed, refused, tuning):
    field = FactorizationMachinesHyperparameters.model_fields[name]
    assert field.is_required() == (default is REQUIRED)
    assert (field.json_schema_extra or {}).get("tune") == tuning
    assert FactorizationMachinesHyperparameters.rule(name) == rule
    if default is not REQUIRED:
        assert getattr(parse(), name) == default
    for text, value in allowed.items():
        assert getattr(parse(**{name: text}), name) == value
        assert getattr(parse(**{name: f'"{text}"'}), name) == value
    for text in refused:
        assert refusal(**{name: text}) == f"hyperparameter '{name}' must be {rule}, got '{text}'"


def test_the_table_is_complete():
    """Beside the guide's rows: the seed, and what the hosted service's log shows."""
    assert set(FactorizationMachinesHyperparameters.names()) == {row[0] for row in TABLE} | set(HIDDEN) | OURS


def test_what_is_required():
    with pytest.raises(UserError) as error:
        FactorizationMachinesHyperparameters.parse({})
    for name in GIVEN:
        assert f"hyperparameter '{name}' is required" in str(error.value)


@pytest.mark.parametrize("name", HIDDEN)
def test_what_the_hosted_service_knows_besides(name):
    assert getattr(parse(), name) == HIDDEN[name]
    other = {"use_bias": False, "use_linear": False, "batch_metrics_publish_interval": 7}[name]
    assert getattr(parse(**{name: str(other)}), name) == other


def test_what_the_service_injects_is_not_looked_at():
    parse(_optimizer="adam", _learning_rate="1.0", _kvstore="auto", _tuning_objective_metric="test:rmse")


def test_the_guides_tuning_table_calls_epochs_epoch():
    assert parse(epoch="7").epochs == 7
    assert "are the same" in refusal(epoch="7", epochs="7")


@pytest.mark.parametrize("term", ["bias", "linear", "factors"])
@pytest.mark.parametrize(
    ("method", "needed", "rule"), [("uniform", "scale", "a number >= 0"), ("constant", "value", "a number")]
)
def test_what_an_init_method_needs(term, method, needed, rule):
    given = {f"{term}_init_method": method}
    assert refusal(**given) == (
        f"hyperparameter '{term}_init_{needed}' is required where '{term}_init_method' is '{method}': {rule}"
    )
    chosen = parse(**given, **{f"{term}_init_{needed}": "0.25"})
    assert getattr(chosen, f"{term}_init_method") == method
    assert getattr(chosen, f"{term}_init_{needed}") == 0.25


def test_all_faults_are_told_at_once():
    given = {f"{term}_init_method": "constant" for term in ("bias", "linear", "factors")}
    assert len(re.findall(r"init_value' is required", refusal(**given))) == 3
    assert "did you mean 'factors_lr'?" in refusal(factor_lr="1", epochs="0")
    assert "'epochs' must be" in refusal(factor_lr="1", epochs="0")
