"""What the suite knows of an algorithm, as the platform's CreateAlgorithm takes it: `docker run IMAGE describe`."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module, util
from importlib.metadata import version
from typing import Any

import algorithms
import formats
from algorithms.algorithm import PARQUET, Algorithm, Metric
from algorithms.environment import Environment
from algorithms.errors import UserError
from algorithms.hyperparameters import Hyperparameters

# The platform's limits, from the service model of CreateAlgorithm in botocore.
MOST_METRICS = 40
MOST_VALUES = 30  # of a categorical hyperparameter

INTEGERS = (-(2**63), 2**63 - 1)  # what `Hyperparameters.parse` takes where a field says no more
# Clients write both: the guide and JSON the first pair, the SageMaker Python SDK the second.
TRUTHS = ("true", "false", "True", "False")
INJECTED = "_tuning_objective_metric"  # set by the platform, never by a user

PROGRESS = {"Name": "train:progress", "Regex": r"#progress_metric: host=\S+, completed (\S+) %"}
THROUGHPUT = {
    "Name": "train:throughput",
    "Regex": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
}
CHANNELS = {
    "train": "The rows to learn from.",
    "validation": "Rows that tell during training how good the model is on rows that it does not learn from.",
    "test": "Rows that the trained model is scored on.",
}
PACKAGES = {PARQUET: "pyarrow"}  # what reads a format, where not every image has it

# Machines of x86-64-v3, which the kernels are compiled for, so none with an ARM processor. The sizes are those that may
# train, transform and serve alike.
MACHINES = {
    "m4": "xlarge 2xlarge 4xlarge 10xlarge 16xlarge",
    "m5": "large xlarge 2xlarge 4xlarge 12xlarge 24xlarge",
    "m6i": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge",
    "m7i": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
    "c4": "xlarge 2xlarge 4xlarge 8xlarge",
    "c5": "xlarge 2xlarge 4xlarge 9xlarge 18xlarge",
    "c6i": "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge",
    "c7i": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
    "r6i": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge",
    "r7i": "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
}
# With a GPU of Turing or newer: for the images that have CuPy.
GPU_MACHINES = {
    "g4dn": "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
    "g5": "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
    "g6": "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
}
SERVING_MACHINES = {"t2": "medium large xlarge 2xlarge", "c5": "large"}  # and these, which only serve


def main(arguments: Sequence[str]) -> int:
    """Prints the request for the algorithm of this image, which a registry has under the name in `arguments`, if any.

    Exit code 2: INBUILT_ALGORITHM names no algorithm.
    """
    try:
        algorithm = algorithms.find(Environment.read(os.environ).algorithm)
    except UserError as error:
        sys.stderr.write(f"ClientError: {error}\n")
        return UserError.exit_code
    repository = f"ACCOUNT.dkr.ecr.REGION.amazonaws.com/{image_repository(algorithm)}"
    image = arguments[0] if arguments else f"{repository}:{version('inbuilt')}"
    sys.stdout.write(json.dumps(request(algorithm, image), indent=2, ensure_ascii=False) + "\n")
    return 0


def image_repository(algorithm: Algorithm) -> str:
    """The name that the image is built under."""
    return f"inbuilt-{algorithm.name.replace('_', '-')}"


def summary(algorithm: Algorithm) -> str:
    """The first line of the package's docstring: the algorithm's name, a colon, what it does."""
    docstring = import_module(f"algorithms.{algorithm.name}").__doc__ or ""
    return docstring.partition("\n")[0]


def request(algorithm: Algorithm, image: str) -> dict[str, Any]:
    """The request of CreateAlgorithm, complete; `image` is what the platform pulls."""
    definitions = metric_definitions(algorithm)[:MOST_METRICS]  # the last ones are left out: see there
    described = {definition["Name"] for definition in definitions}
    machines = _machines(MACHINES)
    if "gpu" in algorithm.devices and util.find_spec("cupy"):
        machines += _machines(GPU_MACHINES)
    return {
        "AlgorithmName": image_repository(algorithm),
        "AlgorithmDescription": summary(algorithm).replace("`", ""),
        "TrainingSpecification": {
            "TrainingImage": image,
            "SupportedHyperParameters": hyperparameters(algorithm.hyperparameters),
            "SupportedTrainingInstanceTypes": machines,
            "SupportsDistributedTraining": algorithm.max_hosts != 1,
            "MetricDefinitions": definitions,
            "TrainingChannels": _channels(algorithm),
            "SupportedTuningJobObjectiveMetrics": [
                {"Type": metric.direction.title(), "MetricName": _name(metric)}
                for metric in objectives(algorithm)
                if _name(metric) in described
            ],
        },
        "InferenceSpecification": {
            "Containers": [{"Image": image}],
            "SupportedTransformInstanceTypes": machines,
            "SupportedRealtimeInferenceInstanceTypes": machines + _machines(SERVING_MACHINES),
            "SupportedContentTypes": _media_types(algorithm.request_types),
            "SupportedResponseMIMETypes": list(algorithm.response_types),
        },
    }


def metric_definitions(algorithm: Algorithm) -> list[dict[str, str]]:
    """A name and a regular expression of one group for every metric, those that can be a tuner's objective first.

    The platform takes MOST_METRICS: where an algorithm declares more, it is metrics of the training rows, which no
    tuner asks for, that are left out. They are in the log, and in `output/data/metrics.jsonl`, all the same.
    """
    wanted = objectives(algorithm)
    others = [metric for metric in algorithm.metrics if metric not in wanted]
    return [
        *(_definition(algorithm, m) for m in wanted),
        PROGRESS,
        THROUGHPUT,
        *(_definition(algorithm, m) for m in others),
    ]


def objectives(algorithm: Algorithm) -> list[Metric]:
    """The metrics of rows that are not learned from."""
    return [metric for metric in algorithm.metrics if metric.channel != "train"]


def _definition(algorithm: Algorithm, metric: Metric) -> dict[str, str]:
    name = f"(?:{metric.pattern})" if metric.pattern else re.escape(metric.name)
    kind = "loss" if metric.direction == "minimize" else "score"
    return {
        "Name": _name(metric),
        "Regex": algorithm.metric_line.format(channel=metric.channel, name=name, kind=kind),
    }


def hyperparameters(declared: type[Hyperparameters]) -> list[dict[str, Any]]:
    """A HyperParameterSpecification for each field, by the guide's names.

    The ranges are those that training accepts, the ends of an open one being the numbers next to them; what the guide
    recommends for tuning has no place of its own and stands in the description. A field with a tuning range that
    also takes words (`auto`) is a number here, or it could not be tuned: such a word cannot be given, which does no
    harm where it is the default.
    """
    schema = declared.model_json_schema()
    required = schema.get("required", ())
    return [
        _hyperparameter(name, field, declared.rule(name), required=name in required)
        for name, field in schema["properties"].items()
        if name != INJECTED
    ]


def _hyperparameter(name: str, field: Mapping[str, Any], rule: str, *, required: bool) -> dict[str, Any]:
    tune, default = field.get("tune"), field.get("default")
    kind, allowed = _type(field)
    description = field["description"]
    if kind == "FreeText":
        description += f" Must be {rule}."
    if kind in ("Integer", "Continuous") and isinstance(default, str):
        description += f" The default is {default}."
        default = None
    if tune:
        tuned = " to ".join(f"{end:.10g}" for end in tune) if kind != "Categorical" else ", ".join(tune)
        description += f" Recommended for tuning: {tuned}."
    return {
        "Name": name,
        "Description": description,
        "Type": kind,
        **({"Range": {f"{kind}ParameterRangeSpecification": allowed}} if allowed else {}),
        "IsTunable": bool(tune) and kind != "FreeText",
        "IsRequired": required,
        **({} if default is None else {"DefaultValue": _text(default)}),
    }


def _type(field: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The platform's type and range for a field's JSON schema."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    words = [value for option in options for value in _values(option)]
    numbers = [option for option in options if not _values(option)]
    if not numbers and len(words) <= MOST_VALUES:
        return "Categorical", {"Values": words}
    if len(numbers) == 1 and (field.get("tune") or not words):  # a number or a word is text where nobody tunes it
        if numbers[0].get("type") == "integer":
            return "Integer", _whole_range(numbers[0])
        if numbers[0].get("type") == "number":
            return "Continuous", _range(numbers[0])
    return "FreeText", None


def _values(option: Mapping[str, Any]) -> list[str]:
    """The values that one alternative of a JSON schema lists."""
    if option.get("type") == "boolean":
        return list(TRUTHS)
    return [str(value) for value in option.get("enum", [option["const"]] if "const" in option else [])]


def _whole_range(option: Mapping[str, Any]) -> dict[str, str]:
    low = option.get("minimum", option.get("exclusiveMinimum", INTEGERS[0] - 1) + 1)
    high = option.get("maximum", option.get("exclusiveMaximum", INTEGERS[1] + 1) - 1)
    return {"MinValue": str(low), "MaxValue": str(high)}


def _range(option: Mapping[str, Any]) -> dict[str, str]:
    # the number next to infinity is the greatest one, which is right for a side without a bound
    low = option.get("minimum", math.nextafter(option.get("exclusiveMinimum", -math.inf), math.inf))
    high = option.get("maximum", math.nextafter(option.get("exclusiveMaximum", math.inf), -math.inf))
    return {"MinValue": repr(float(low)), "MaxValue": repr(float(high))}


def _text(value: Any) -> str:
    """A default as it stands in `hyperparameters.json`."""
    return value if isinstance(value, str) else json.dumps(value)


def _channels(algorithm: Algorithm) -> list[dict[str, Any]]:
    return [
        {
            "Name": channel.name,
            **({"Description": CHANNELS[channel.name]} if channel.name in CHANNELS else {}),
            "IsRequired": channel.required,
            "SupportedContentTypes": _media_types(algorithm.content_types),
            "SupportedCompressionTypes": ["None", "Gzip"],
            "SupportedInputModes": ["File", "FastFile", "Pipe"],
        }
        for channel in algorithm.channels
    ]


def _media_types(names: Sequence[str]) -> list[str]:
    """The media types with their aliases, less those that this image has no reader for."""
    readable = [name for name in names if name not in PACKAGES or util.find_spec(PACKAGES[name])]
    return [alias for name in readable for alias in formats.find(name).MEDIA_TYPES]


def _machines(families: Mapping[str, str]) -> list[str]:
    return [f"ml.{family}.{size}" for family, sizes in families.items() for size in sizes.split()]


def _name(metric: Metric) -> str:
    return f"{metric.channel}:{metric.name}"
