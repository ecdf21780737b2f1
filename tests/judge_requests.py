"""Judges requests to the platform, as a page shows them, by botocore's service models; runs in the SDK's environment.

Reads [service, operation, request or null, options] for each from standard input, the latter as the command line names
them; writes the faults of each.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator

SESSION = botocore.session.get_session()
CLIENTS_OWN = {("ecr", "get-login-password")}  # what `aws` knows beside the service's operations
ANSWER = {"cli-input-json"}  # an option of all commands


def limits(shape: Any, value: Any, path: str) -> Iterator[str]:
    """What botocore leaves to the service: enumerations, patterns, the greatest lengths."""
    said = shape.metadata
    if isinstance(value, str):
        pattern = said.get("pattern", ".*")
        # Unicode's categories, which Python's expressions do not know, together stand for all that can be printed
        if not (value.isprintable() if r"\p" in pattern else re.fullmatch(pattern, value)):
            yield f"{path}: {value!r} does not match {pattern}"
        if "enum" in said and value not in said["enum"]:
            yield f"{path}: {value!r} is not in the enumeration"
    size = value if isinstance(value, int) else len(value)
    if not said.get("min", size) <= size <= said.get("max", size):
        yield f"{path}: {size} is not within {said}"
    if isinstance(value, list):
        for i, each in enumerate(value):
            yield from limits(shape.member, each, f"{path}[{i}]")
    if isinstance(value, dict):
        for name in value:
            if shape.type_name == "map":
                yield from limits(shape.key, name, f"{path}: {name}")
            member = shape.value if shape.type_name == "map" else shape.members.get(name)
            yield from limits(member, value[name], f"{path}.{name}") if member else ()


def faults(service: str, operation: str, request: Any, options: list[str]) -> list[str]:
    """What `aws` or the service would refuse."""
    if (service, operation) in CLIENTS_OWN:
        return []
    model = SESSION.get_service_model(service)
    known = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in known:
        return [f"{service} has no operation {operation}"]
    shape = model.operation_model(known[operation]).input_shape
    unknown = set(options) - {xform_name(name, "-") for name in shape.members} - ANSWER
    found = [f"{operation} has no option --{name}" for name in sorted(unknown)]
    if request is not None:
        report = ParamValidator().validate(request, shape)
        found += [report.generate_report()] if report.has_errors() else []
        found += limits(shape, request, operation)
    return found


if __name__ == "__main__":
    json.dump([faults(*each) for each in json.load(sys.stdin)], sys.stdout)
