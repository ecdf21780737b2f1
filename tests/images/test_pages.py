"""The README's examples with containers: run as a reader pastes them, what they show is what comes."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from algorithms import find
from tests.images.conftest import ROOT, SDK_PYTHON, give_up
from tests.images.engine import Engine
from tests.pages import alike, blocks, outputs, section

EXAMPLE = section((ROOT / "README.md").read_text(), "Train and serve in a container")
PLAIN, WITH_SDK = map(blocks, EXAMPLE.split("\n### "))
# The SDK must not report each call to its makers, over a network that may be absent; JSON is YAML.
DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


@pytest.fixture
def replaced(engine: Engine, image_of: Callable[..., str]) -> dict[str, str]:
    """The image and the container that the README names -> those of this test."""
    [repository] = set(re.findall(r"\binbuilt-[a-z-]+\b", EXAMPLE))
    [container] = re.findall(r"--name (\w+)", EXAMPLE)
    engine.started.append(f"inbuilt-test-{uuid.uuid4().hex[:12]}")
    image = image_of(find(repository.removeprefix("inbuilt-")).name)
    return {f'"{repository}:latest"': f'"{image}"', f" {repository} ": f" {image} ", container: engine.started[-1]}


def test_containers_by_hand(replaced: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "ml").mkdir()
    for block, came in zip(PLAIN, outputs(PLAIN, tmp_path, {}, replaced), strict=True):
        assert alike(block.shown, came), f"{block.code}\n-- is shown to write\n{block.shown}\n-- but wrote\n{came}"


def test_the_sdk(engine: Engine, replaced: dict[str, str], tmp_path: Path) -> None:
    """What the SDK and the containers print is not shown; the page's own line is."""
    if not SDK_PYTHON.exists():
        give_up(f"no Python with the SageMaker SDK at {SDK_PYTHON}: `make test-images` makes one")
    rows = [block for block in PLAIN if "rows.csv ml" in block.code]
    (tmp_path / "defaults.yaml").write_text(json.dumps(DEFAULTS))
    environment = {
        "PATH": f"{SDK_PYTHON.parent}:{os.environ['PATH']}",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(tmp_path / "defaults.yaml"),
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }
    [shown] = [block.shown.strip() for block in WITH_SDK if block.shown]
    printed = ""
    try:
        printed = outputs([*rows, *WITH_SDK], tmp_path, environment, replaced)[-1]
    except AssertionError as failed:
        printed = str(failed)
        raise
    finally:  # the SDK leaves its containers behind
        for name in re.findall(r"container_name: (\S+)", printed):
            engine("rm", "-f", name)
    assert any(alike(shown, line) for line in printed.splitlines()), printed[-3000:]
