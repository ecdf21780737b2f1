"""`describe`: a request that the platform takes, true to what training accepts and to what it logs."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import algorithms
from algorithms.algorithm import Algorithm
from algorithms.description import MOST_METRICS, metric_definitions
from algorithms.errors import UserError
from tests.examples import encoded, example
from tests.job_folder import PROGRAMS, JobFolder

ROOT = Path(__file__).parents[2]
SDK_PYTHON = Path(os.environ.get("INBUILT_SAGEMAKER_PYTHON", ROOT / ".venv-sagemaker/bin/python"))
JUDGE = Path(__file__).with_name("judge_descriptions.py")
EVERYTHING = {str(-(2**63)), str(2**63 - 1), repr(sys.float_info.max), repr(-sys.float_info.max)}  # no bound declared


def printed(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"INBUILT_ALGORITHM": name}
    command = [PROGRAMS / "inbuilt", "describe", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="session")
def description(algorithm: Algorithm) -> dict[str, Any]:
    ended = printed(algorithm.repository)
    assert (ended.returncode, ended.stderr) == (0, "")
    request: dict[str, Any] = json.loads(ended.stdout)
    return request


@pytest.fixture(scope="session")
def training(description: dict[str, Any]) -> dict[str, Any]:
    specification: dict[str, Any] = description["TrainingSpecification"]
    return specification


@pytest.fixture(scope="session")
def judged() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Of every algorithm: what CreateAlgorithm would refuse, and the hyperparameters that an estimator sends."""
    if not SDK_PYTHON.exists():
        pytest.skip(f"no Python with the SageMaker SDK at {SDK_PYTHON}: `make .venv-sagemaker/.ready` makes one")
    asked = {
        name: (json.loads(printed(name).stdout), example(name).HYPERPARAMETERS | example(name).ALL_METRICS)
        for name in algorithms.names()
    }
    ended = subprocess.run(
        [SDK_PYTHON, JUDGE],
        env=os.environ | {"SAGEMAKER_SUPPRESS_V2_WARNING": "1"},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    judgement: dict[str, tuple[list[str], dict[str, str]]] = json.loads(ended.stdout.splitlines()[-1])
    return judgement


def test_the_platform_takes_the_request(algorithm: Algorithm, judged) -> None:
    assert judged[algorithm.name][0] == []


def test_what_an_estimator_sends_means_what_its_user_set(algorithm: Algorithm, judged) -> None:
    one = example(algorithm.name)
    parse = algorithm.hyperparameters.parse
    assert parse(judged[algorithm.name][1]).values() == parse(one.HYPERPARAMETERS | one.ALL_METRICS).values()


def test_the_image_is_named_by_the_argument(algorithm: Algorithm, description: dict[str, Any]) -> None:
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/any:1"
    placeholder = description["TrainingSpecification"]["TrainingImage"]
    assert re.fullmatch(rf"ACCOUNT\.dkr\.ecr\.REGION\.amazonaws\.com/{description['AlgorithmName']}:\S+", placeholder)
    assert json.loads(printed(algorithm.name, image).stdout) == json.loads(
        json.dumps(description).replace(placeholder, image)
    )


def test_the_defaults_are_those_of_training(algorithm: Algorithm, training: dict[str, Any]) -> None:
    given = example(algorithm.name).HYPERPARAMETERS
    defaults = {
        each["Name"]: each["DefaultValue"] for each in training["SupportedHyperParameters"] if "DefaultValue" in each
    }
    assert algorithm.hyperparameters.parse(defaults | given).values() == algorithm.hyperparameters.parse(given).values()


def test_the_ranges_are_those_of_training(algorithm: Algorithm, training: dict[str, Any]) -> None:
    """The ends of a range are accepted, the numbers next to it refused; all words of a list are accepted."""
    for each in training["SupportedHyperParameters"]:
        name = each["Name"]
        for kind, allowed in each.get("Range", {}).items():
            ends = allowed.get("Values") or [allowed["MinValue"], allowed["MaxValue"]]
            assert [end for end in ends if refused(algorithm, name, end)] == [], name
            if "Values" in allowed:
                assert refused(algorithm, name, "no such word"), name
                continue
            low, high = ends
            step = (lambda end, way: str(int(end) + way)) if kind.startswith("Integer") else next_to
            beyond = [step(end, way) for end, way in ((low, -1), (high, 1)) if end not in EVERYTHING]
            assert [end for end in beyond if not refused(algorithm, name, end)] == [], name


def next_to(end: str, way: int) -> str:
    return repr(math.nextafter(float(end), way * math.inf))


def refused(algorithm: Algorithm, name: str, value: str) -> bool:
    """Whether the value breaks the rule of its field, whatever it breaks between fields."""
    try:
        algorithm.hyperparameters.parse(example(algorithm.name).HYPERPARAMETERS | {name: value})
    except UserError as error:
        return f"'{name}' must be {algorithm.hyperparameters.rule(name)}, got" in str(error)
    return False


def test_recommended_ranges_lie_in_those_allowed(algorithm: Algorithm, training: dict[str, Any]) -> None:
    fields = algorithm.hyperparameters.model_json_schema()["properties"]
    for each in training["SupportedHyperParameters"]:
        tune = fields[each["Name"]].get("tune")
        assert each["IsTunable"] == bool(tune), each["Name"]
        for value in tune or ():
            assert not refused(algorithm, each["Name"], str(value)), each["Name"]


def test_metrics_left_out_are_of_the_rows_learned_from(algorithm: Algorithm, training: dict[str, Any]) -> None:
    every, kept = metric_definitions(algorithm), training["MetricDefinitions"]
    assert kept == every[:MOST_METRICS]
    assert all(each["Name"].startswith("train:") for each in every[MOST_METRICS:])
    assert all(re.compile(each["Regex"]).groups == 1 for each in every)
    assert {each["MetricName"] for each in training["SupportedTuningJobObjectiveMetrics"]} == {
        f"{metric.channel}:{metric.name}" for metric in algorithm.metrics if metric.channel != "train"
    }


def test_the_tuner_finds_the_metrics_in_the_log(algorithm: Algorithm, job: JobFolder) -> None:
    """A real job with all channels: every metric that it reports, with the values of `metrics.jsonl`."""
    one = example(algorithm.name)
    job.hyperparameters |= one.ALL_METRICS
    for i, channel in enumerate(algorithm.channels):
        features, labels = one.rows(200, i)
        job.channel(channel.name, {"data": encoded(features, algorithm.content_types[0], labels)})
    ended = job.train()
    assert ended.exit_code == 0, ended.log
    written = [json.loads(line) for line in (job.base / "output/data/metrics.jsonl").read_text().splitlines()]

    reported = getattr(one, "REPORTED", [f"{metric.channel}:{metric.name}" for metric in algorithm.metrics])
    expressions = {each["Name"]: each["Regex"] for each in metric_definitions(algorithm)}
    for name in (*reported, "train:progress", "train:throughput"):
        values = [each["value"] for each in written if each["metric"] == name]
        found = [float(value) for value in observed(expressions[declared(algorithm, name)], ended.log)]
        assert len(values) > 0, name
        assert found == pytest.approx(values, rel=1e-5), name


def declared(algorithm: Algorithm, logged: str) -> str:
    """The name that the tuner knows a metric by, which may say less than that in the log."""
    channel, name = logged.split(":")
    for metric in algorithm.metrics:
        if metric.channel == channel and re.fullmatch(metric.pattern or re.escape(metric.name), name):
            return f"{channel}:{metric.name}"
    return logged


def observed(expression: str, log: str) -> list[str]:
    """What the tuner reads: the expression's group in each line of the log."""
    return [match[1] for line in log.splitlines() if (match := re.search(expression, line))]


def test_an_unknown_algorithm() -> None:
    ended = printed("none-such")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("ClientError: INBUILT_ALGORITHM must be one of ")
