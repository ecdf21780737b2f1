"""The guide's recipe with real MXNet, in its own environment: load alpha and beta, change them, save, serve again."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from algorithms.lda.model import LDAModel
from formats import Batch

PYTHON = os.environ.get("INBUILT_MXNET_PYTHON") or str(Path(__file__).parents[3] / ".venv-mxnet" / "bin" / "python")

# filtering topics: the one with the smallest prior goes, the others lose their rarest words
RECIPE = """
import json, sys
import mxnet as mx
alpha, beta = mx.ndarray.load(sys.argv[1])
kept = alpha.asnumpy().argsort()[::-1][:-1].tolist()
new_alpha = mx.nd.take(alpha, mx.nd.array(kept))
new_beta = mx.nd.take(beta, mx.nd.array(kept))
new_beta = new_beta * (new_beta > 0.01)
new_beta = mx.nd.broadcast_div(new_beta, new_beta.sum(axis=1, keepdims=True))
mx.nd.save(sys.argv[2], [new_alpha, new_beta])
print(json.dumps([alpha.asnumpy().tolist(), beta.asnumpy().tolist(), kept]))
"""


def test_the_guides_recipe(tmp_path: Path) -> None:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with mxnet==1.9.1 and numpy==1.23.5; `make test` makes it")
    random = np.random.default_rng(0)
    model = LDAModel(random.random(4).astype(np.float32), random.dirichlet(np.full(30, 0.3), 4).astype(np.float32))
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    model.save(tmp_path / "ours")
    files = [str(tmp_path / name / "model_algo-1") for name in ("ours", "theirs")]
    # MXNet must not see the packages of the Python that runs the tests
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([PYTHON, "-c", RECIPE, *files], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    alpha, beta, kept = json.loads(done.stdout)
    assert np.array_equal(np.float32(alpha), model.alpha)
    assert np.array_equal(np.float32(beta), model.beta)
    changed = LDAModel.load(tmp_path / "theirs")
    assert np.array_equal(changed.alpha, model.alpha[kept])
    expected = np.where(model.beta > 0.01, model.beta, 0)[kept]
    np.testing.assert_allclose(changed.beta, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)
    answers = changed.predict(Batch(random.poisson(1, (5, 30)).astype(np.float32)))["topic_mixture"]
    assert answers.shape == (5, 3)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
