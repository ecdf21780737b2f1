"""The page on the platform: its commands and requests are those of the service, and its job is one that we train."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import algorithms
from algorithms.description import image_repository, metric_definitions

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "platform.md").read_text()
SDK_PYTHON = Path(os.environ.get("INBUILT_SAGEMAKER_PYTHON", ROOT / ".venv-sagemaker/bin/python"))
JUDGE = Path(__file__).with_name("judge_requests.py")
COMMAND = re.compile(r"^    aws (?!sagemaker wait)(\S+) (\S+)(.*)$", re.MULTILINE)
REQUEST = re.compile(r"^```json\n(.*?)^```\n\n    aws sagemaker (\S+) --cli-input-json", re.MULTILINE | re.DOTALL)
REQUESTS: dict[str, dict[str, Any]] = {operation: json.loads(text) for text, operation in REQUEST.findall(PAGE)}


def judged(asked: list[tuple[str, str, Any, list[str]]]) -> list[list[str]]:
    if not SDK_PYTHON.exists():
        pytest.skip(f"no Python with botocore at {SDK_PYTHON}: `make .venv-sagemaker/.ready` makes one")
    ended = subprocess.run([SDK_PYTHON, JUDGE], input=json.dumps(asked), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    faults: list[list[str]] = json.loads(ended.stdout)
    return faults


def test_the_platform_takes_the_commands_and_requests() -> None:
    commands = COMMAND.findall(PAGE)
    asked = [
        (service, operation, REQUESTS.get(operation), re.findall(r"--([a-z-]+)", options.partition("|")[0]))
        for service, operation, options in commands
    ]
    assert len(REQUESTS) == PAGE.count("```json") == 4
    assert len(asked) > len(REQUESTS)
    assert dict(zip(commands, judged(asked), strict=True)) == {command: [] for command in commands}


def test_the_judge_finds_faults() -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"HyperParameters": {"k": 10}}, "Invalid type for parameter HyperParameters.k"),
        ({"HyperParameters": {"k": "1" * 3000}}, "is not within"),
        ({"TrainingJobName": "digits 1"}, "'digits 1' does not match"),
        ({"RoleArn": "my-role"}, "does not match"),
        ({"ResourceConfig": {"InstanceType": "ml.m5", "InstanceCount": 1, "VolumeSizeInGB": 1}}, "enumeration"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "MaxRuntimeInSeconds"),
        ({"Image": "any"}, "Unknown parameter"),
    ]
    request = REQUESTS["create-training-job"]
    found = judged([("sagemaker", "create-training-job", request | change, ["role"]) for change, _ in changes])
    for (_, fault), each in zip(changes, found, strict=True):
        assert each[0] == "create-training-job has no option --role"
        assert fault in "\n".join(each[1:])


def test_the_job_is_one_that_its_image_trains() -> None:
    request = REQUESTS["create-training-job"]
    images = {name: image_repository(algorithms.find(name)) for name in algorithms.names()}
    specification = request["AlgorithmSpecification"]
    [name] = [name for name, image in images.items() if f"/{image}:" in specification["TrainingImage"]]
    algorithm = algorithms.find(name)
    algorithm.hyperparameters.parse(request["HyperParameters"])
    given = {each["ChannelName"]: each["ContentType"].partition(";")[0] for each in request["InputDataConfig"]}
    assert given.keys() <= {channel.name for channel in algorithm.channels}
    assert set(given.values()) <= set(algorithm.content_types)
    assert all(each in metric_definitions(algorithm) for each in specification["MetricDefinitions"])


def test_the_names_of_the_guide_are_those_of_the_algorithms() -> None:
    named = PAGE.partition("under which code looks for the hosted image:")[2].partition(". ")[0]
    found = sorted(re.findall(r"`([a-z-]+)`", named))
    assert found == sorted(algorithms.find(name).repository for name in algorithms.names())
