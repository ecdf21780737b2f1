"""Hyperparameters: declared once with pydantic, read from the platform's strings, every fault reported at once."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticUndefined

from algorithms.errors import UserError


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


One = Annotated[Literal[1], BeforeValidator(_number)]  # a hyperparameter that the hosted service has no other value of


def hyperparameter(
    default: Any = PydanticUndefined,
    *,
    description: str,
    alias: str | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    tune: tuple[float, float] | tuple[str, ...] | None = None,
) -> Any:
    """A row of the guide's table: default (none: required), range, meaning and the guide's recommended tuning range.

    alias: the guide's name, where the field cannot have it (`lambda`).
    """
    extra: dict[str, Any] = {} if tune is None else {"tune": list(tune)}
    return Field(default, alias=alias, description=description, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra)


LISTED = 5  # unknown names, and then their number
SHOWN = 30  # known names at most: a longer list would hide the other faults


class Hyperparameters(BaseModel):
    """What every algorithm takes; an algorithm's class adds a field for each row of its table in the guide.

    Names that begin with `_` or `sagemaker_` are the service's own (the tuner injects `_tuning_objective_metric`) and
    are accepted without being looked at.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    synonyms: ClassVar[Mapping[str, str]] = {}  # other names that users know -> the guide's

    seed: int = hyperparameter(
        0, ge=0, le=2**32 - 1, description="Seed of the random numbers; the same seed gives the same artifact bytes."
    )

    @classmethod
    def parse(cls, provided: Mapping[str, Any]) -> Self:
        """From `hyperparameters.json`: strings, JSON in strings, or JSON. Raises UserError with all faults."""
        names = cls.names()
        known = {name: value for name, value in provided.items() if name in names or name in cls.synonyms}
        strangers = [name for name in provided if name not in known and not name.startswith(("_", "sagemaker_"))]
        faults = [cls._unknown(name) for name in strangers[:LISTED]]
        if len(strangers) > LISTED:
            faults.append(f"and {len(strangers) - LISTED} other unknown hyperparameters")
        if any("did you mean" not in fault for fault in faults) and len(names) <= SHOWN:
            faults.append(f"known are {', '.join(sorted(name for name in names if not name.startswith('_')))}")
        for name in [name for name in known if name in cls.synonyms]:
            if (meant := cls.synonyms[name]) in known:
                faults.append(f"hyperparameters '{meant}' and '{name}' are the same; please set one of them")
            known[meant] = known.pop(name)
        decoded = {name: _decode(value, cls._schema(name)) for name, value in known.items()}
        try:
            hyperparameters = cls.model_validate(decoded)
        except ValidationError as error:
            faults += cls._faults(error, known)
            raise UserError("; ".join(faults)) from None
        faults += [
            f"hyperparameter '{name}' must be less than 2**63, got {_shown(known[name])}"
            for name, value in hyperparameters.values().items()
            if isinstance(value, int) and value >= 2**63
        ]
        if faults:
            raise UserError("; ".join(faults))
        return hyperparameters

    @classmethod
    def names(cls) -> list[str]:
        """The guide's names."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    def values(self) -> dict[str, Any]:
        """The values by the guide's names, without those that nobody has chosen (None)."""
        return self.model_dump(by_alias=True, exclude_none=True)

    @classmethod
    def rule(cls, name: str) -> str:
        """What a value must be, in words: `an integer >= 1 or auto`."""
        return " or ".join(_rules(cls._schema(name)))

    @classmethod
    def _schema(cls, name: str) -> dict[str, Any]:
        schema: dict[str, Any] = _properties(cls)[name]
        return schema

    @classmethod
    def _unknown(cls, name: str) -> str:
        close = difflib.get_close_matches(name, [*cls.names(), *cls.synonyms], n=1, cutoff=0.6)
        return f"unknown hyperparameter {_shown(name)}" + (f"; did you mean '{close[0]}'?" if close else "")

    @classmethod
    def _faults(cls, error: ValidationError, provided: Mapping[str, Any]) -> list[str]:
        faults: dict[str, str] = {}  # one sentence a field: a union reports a fault for each member
        for fault in error.errors(include_url=False):
            if not fault["loc"]:  # a rule between several fields, worded by the algorithm's own validator
                faults[fault["msg"]] = fault["msg"].removeprefix("Value error, ")
                continue
            name = str(fault["loc"][0])
            if fault["type"] == "missing" and name not in provided:
                faults[name] = f"hyperparameter '{name}' is required: {cls.rule(name)}"
            else:
                faults[name] = f"hyperparameter '{name}' must be {cls.rule(name)}, got {_shown(provided[name])}"
        return list(faults.values())


@cache
def _properties(model: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema()["properties"]  # pydantic makes it anew at each call
    return properties


def _decode(value: Any, schema: Mapping[str, Any]) -> Any:
    """One value as its field's type wants it; what cannot be decoded is left for the field to refuse.

    Clients send `10`, `"10"`, `"\\"10\\""` and `true`, `"true"`, `"True"`; lists as JSON, as Python prints them, or
    with commas; tuples are lists.
    """
    if not isinstance(value, str):
        return str(value) if isinstance(value, bool) and not _takes(schema, "boolean") else value  # true is not 1
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            text = str(json.loads(text)).strip()
        except ValueError:
            return text
    if not _takes(schema, "array"):
        return text.replace("_", " ") if text.replace("_", "").isdigit() else text  # Python would read 1_0 as 10
    for parse in (json.loads, ast.literal_eval):
        try:
            decoded = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(decoded, (list, tuple)):
            return list(decoded)
    return [part.strip() for part in text.split(",")]


def _takes(schema: Mapping[str, Any], kind: str) -> bool:
    return schema.get("type") == kind or any(_takes(option, kind) for option in schema.get("anyOf", ()))


def _rules(schema: Mapping[str, Any]) -> list[str]:
    """The alternatives that a field's JSON schema allows, in words."""
    if "anyOf" in schema:
        return [rule for option in schema["anyOf"] for rule in _rules(option)]
    if "const" in schema:
        return [str(schema["const"])]
    if "enum" in schema:
        return [f"one of {', '.join(map(str, schema['enum']))}"]
    match schema.get("type"):
        case "boolean":
            return ["true or false"]
        case "array":
            return [f"a JSON list of {_plural(' and '.join(_rules(schema['items'])))}"]
        case "integer":
            return [f"an integer{_bounds(schema)}"]
        case "number":
            return [f"a number{_bounds(schema)}"]
        case "null":
            return []
    return ["text"]


def _plural(rule: str) -> str:
    for one, many in (("one of ", ""), ("an integer", "integers"), ("a number", "numbers"), ("a JSON list", "lists")):
        if rule.startswith(one):
            return many + rule.removeprefix(one)
    return rule


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" in [{low:.10g}, {high:.10g}]"
    signs = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
    bounds = [f"{sign} {schema[key]:.10g}" for key, sign in signs if schema.get(key) is not None]
    return f" {' and '.join(bounds)}" if bounds else ""


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return f"'{text if len(text) <= 60 else text[:57] + '...'}'"
