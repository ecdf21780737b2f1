"""Judges what `describe` prints by botocore's service model and the SageMaker SDK; runs in the SDK's environment.

Reads {name: [request, hyperparameters]} from standard input; writes {name: [faults, hyperparameters]}, the latter as an
estimator made from the request sends them.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import botocore.session
from botocore.validate import ParamValidator
from sagemaker.algorithm import AlgorithmEstimator

CREATE = botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateAlgorithm").input_shape


def limits(shape: Any, value: Any, path: str) -> Iterator[str]:
    """What botocore leaves to the service: enumerations, patterns, the greatest lengths."""
    said = shape.metadata
    if isinstance(value, str):
        # Unicode's categories, which Python's expressions do not know, together stand for all that can be printed
        good = (
            value.isprintable() if r"\p" in said.get("pattern", "") else re.fullmatch(said.get("pattern", ".*"), value)
        )
        if not good:
            yield f"{path}: {value!r} does not match {said['pattern']}"
        if "enum" in said and value not in said["enum"]:
            yield f"{path}: {value!r} is not in the enumeration"
    if isinstance(value, (str, list)) and not said.get("min", 0) <= len(value) <= said.get("max", len(value)):
        yield f"{path}: has {len(value)}, limits are {said}"
    if isinstance(value, list):
        for i, each in enumerate(value):
            yield from limits(shape.member, each, f"{path}[{i}]")
    if isinstance(value, dict):
        for name in value.keys() & shape.members.keys():
            yield from limits(shape.members[name], value[name], f"{path}.{name}")


def faults(request: dict[str, Any]) -> list[str]:
    """What CreateAlgorithm would refuse."""
    report = ParamValidator().validate(request, CREATE)
    return [*([report.generate_report()] if report.has_errors() else []), *limits(CREATE, request, "")]


def sent(request: dict[str, Any], hyperparameters: dict[str, str]) -> dict[str, str]:
    """The hyperparameters with the defaults that the SDK adds; it refuses unknown names and values out of range."""
    session = MagicMock(sagemaker_config={}, boto_region_name="eu-west-1")
    session.sagemaker_client.describe_algorithm.return_value = request
    estimator = AlgorithmEstimator(
        "arn:aws:sagemaker:eu-west-1:000000000000:algorithm/any",
        "arn:aws:iam::000000000000:role/any",
        1,
        "ml.m5.xlarge",
        sagemaker_session=session,
        hyperparameters=hyperparameters,
    )
    return {name: str(value) for name, value in estimator.hyperparameters().items()}


if __name__ == "__main__":
    judged = {name: [faults(each[0]), sent(*each)] for name, each in json.load(sys.stdin).items()}
    json.dump(judged, sys.stdout)
