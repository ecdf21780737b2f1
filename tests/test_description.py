"""Hyperparameters as the platform describes them: each kind of field of a made-up algorithm, spelled out."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from algorithms.description import MOST_VALUES, hyperparameters
from algorithms.hyperparameters import Hyperparameters, hyperparameter

Positive = Annotated[int, Field(ge=1)]
Many = Literal[tuple(f"word{i}" for i in range(MOST_VALUES + 1))]  # type: ignore[valid-type]


class Fields(Hyperparameters):
    required: int = hyperparameter(ge=1, description="A count.")
    inside: float = hyperparameter(0.5, gt=0, lt=1, tune=(0.1, 0.9), description="A share.")
    above: int = hyperparameter(7, gt=5, lt=10, description="More than five.")
    free: float | None = hyperparameter(None, description="Any number.")
    lambda_: float = hyperparameter(1.0, alias="lambda", ge=0, description="Its name is a word of Python.")
    word: Literal["a", "b"] = hyperparameter("b", tune=("a", "b"), description="One of two.")
    flag: bool | Literal["auto"] = hyperparameter("auto", description="Yes or no.")
    size: Literal[1, 2, 4] = hyperparameter(2, description="A power.")
    tuned: Positive | Literal["auto"] = hyperparameter("auto", tune=(4, 10), description="A factor.")
    worded: Positive | Literal["auto"] = hyperparameter("auto", description="A factor.")
    listed: list[str] = hyperparameter(["x", "y"], description="Names.")
    many: Many = hyperparameter("word1", description="More than fit.")
    tuning_objective_metric: str = hyperparameter("", alias="_tuning_objective_metric", description="Injected.")


DESCRIBED = {each["Name"]: each for each in hyperparameters(Fields)}


def whole(low: int, high: int) -> dict[str, Any]:
    return {"IntegerParameterRangeSpecification": {"MinValue": str(low), "MaxValue": str(high)}}


def real(low: str, high: str) -> dict[str, Any]:
    return {"ContinuousParameterRangeSpecification": {"MinValue": low, "MaxValue": high}}


def words(*values: str) -> dict[str, Any]:
    return {"CategoricalParameterRangeSpecification": {"Values": list(values)}}


@pytest.mark.parametrize(
    ("name", "kind", "allowed", "default"),
    [
        ("seed", "Integer", whole(0, 2**32 - 1), "0"),
        ("required", "Integer", whole(1, 2**63 - 1), None),
        ("inside", "Continuous", real("5e-324", "0.9999999999999999"), "0.5"),
        ("above", "Integer", whole(6, 9), "7"),
        ("free", "Continuous", real("-1.7976931348623157e+308", "1.7976931348623157e+308"), None),
        ("lambda", "Continuous", real("0.0", "1.7976931348623157e+308"), "1.0"),
        ("word", "Categorical", words("a", "b"), "b"),
        ("flag", "Categorical", words("true", "false", "True", "False", "auto"), "auto"),
        ("size", "Categorical", words("1", "2", "4"), "2"),
        ("tuned", "Integer", whole(1, 2**63 - 1), None),
        ("worded", "FreeText", None, "auto"),
        ("listed", "FreeText", None, '["x", "y"]'),
        ("many", "FreeText", None, "word1"),
    ],
)
def test_types_ranges_and_defaults(name: str, kind: str, allowed: dict[str, Any] | None, default: str | None) -> None:
    described = DESCRIBED[name]
    assert (described["Type"], described.get("Range"), described.get("DefaultValue")) == (kind, allowed, default)


def test_flags_and_names() -> None:
    assert [name for name, each in DESCRIBED.items() if each["IsRequired"]] == ["required"]
    assert [name for name, each in DESCRIBED.items() if each["IsTunable"]] == ["inside", "word", "tuned"]
    assert "_tuning_objective_metric" not in DESCRIBED


def test_what_has_no_field_of_its_own_stands_in_the_description() -> None:
    assert DESCRIBED["inside"]["Description"] == "A share. Recommended for tuning: 0.1 to 0.9."
    assert DESCRIBED["word"]["Description"] == "One of two. Recommended for tuning: a, b."
    assert DESCRIBED["tuned"]["Description"] == "A factor. The default is auto. Recommended for tuning: 4 to 10."
    assert DESCRIBED["worded"]["Description"] == "A factor. Must be an integer >= 1 or auto."
