"""The image under the SageMaker Python SDK's local mode: what fit, deploy, predict and transform gave to a user."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("INBUILT_SAGEMAKER_PYTHON", ROOT / ".venv-sagemaker/bin/python"))
ROUNDING = 1e-4  # of a distance: each format prints a float32 in its own way


@pytest.fixture(scope="module")
def answers(engine, image, digits, tmp_path_factory):
    """What local_mode.py brought back."""
    if not PYTHON.exists():
        give_up = pytest.fail if os.environ.get("INBUILT_REQUIRE_ENGINE") == "1" else pytest.skip
        give_up(f"no Python with the SageMaker SDK at {PYTHON}: `make test-images` makes one")
    folder = tmp_path_factory.mktemp("local-mode")
    np.save(folder / "digits.npy", digits)
    command = [str(PYTHON), str(Path(__file__).with_name("local_mode.py")), image, str(folder)]
    log = folder / "log"
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=900)
    for name in re.findall(r"container_name: (\S+)", log.read_text()):
        engine("rm", "-f", name)  # the SDK leaves its containers behind
    assert done.returncode == 0, log.read_text()[-8000:]
    return json.loads((folder / "answers.json").read_text())


def lines(text):
    return np.array([[float(cell) for cell in line.split(",")] for line in text.splitlines()])


@pytest.mark.parametrize("instances", [1, 2])
def test_fit(answers, instances):
    assert answers[f"fit on {instances}"] == {"artifact": ["manifest.json", "model_algo-1"]}


@pytest.mark.parametrize("model", ["predict", "predict, two instances"])
def test_formats_give_one_answer(answers, model):
    given = {name: np.array(values) for name, values in answers[model].items()}
    assert sorted(given) == ["csv", "csv to csv", "json", "recordio"]
    for values in given.values():
        assert values.shape == (5, 2)
        np.testing.assert_allclose(values, given["json"], rtol=ROUNDING)
    clusters, distances = given["json"].T
    assert set(clusters) <= set(range(10))
    assert (distances > 0).all()


def test_transform_gives_a_line_for_each_record_in_order(answers, digits):
    """4 MB of lines in requests of 1 MB: what comes back is not one answer but several, joined."""
    transformed = lines(answers["MultiRecord"])
    assert transformed.shape == (len(digits), 2)
    np.testing.assert_allclose(transformed[:5], answers["predict"]["json"], rtol=ROUNDING)
    assert answers["MultiRecord"].splitlines()[:5] == answers["SingleRecord"].splitlines()
    assert answers["MultiRecord"].count("\n") == len(digits), "no blank line between the answers"
