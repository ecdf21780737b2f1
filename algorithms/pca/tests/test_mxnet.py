"""Models move both ways: the users' recipes with real MXNet, in its own environment, on our artifact."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from algorithms.pca.fit import fit
from algorithms.pca.model import PCAModel

PYTHON = os.environ.get("INBUILT_MXNET_PYTHON") or str(Path(__file__).parents[3] / ".venv-mxnet" / "bin" / "python")

# the notebooks on census counties and on digits: load, look at the components, save again
RECIPE = """
import json, sys
import mxnet as mx
params = mx.ndarray.load(sys.argv[1])
s, v, mean = params["s"], params["v"], params["mean"]
first_n = s.shape[0] - 2
share = (mx.nd.sum(s[first_n:] ** 2) / mx.nd.sum(s ** 2)).asscalar()
mx.ndarray.save(sys.argv[2], {"s": s, "mean": mean + 1, "v": v * -1})
print(json.dumps([mean.asnumpy().tolist(), v.asnumpy().tolist(), s.asnumpy().tolist(), float(share)]))
"""


def test_users_recipes(tmp_path: Path, make_job, configure) -> None:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with mxnet==1.9.1 and numpy==1.23.5; `make test` makes it")
    rows = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    model = fit(make_job(rows), configure(feature_dim=6, num_components=4))
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    model.save(tmp_path / "ours")
    files = [str(tmp_path / name / "model_algo-1") for name in ("ours", "theirs")]
    # MXNet must not see the packages of the Python that runs the tests
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [PYTHON, "-c", RECIPE, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    mean, v, s, share = json.loads(done.stdout)
    assert np.array_equal(mean, model.mean)
    assert np.array_equal(v, model.v)
    assert np.array_equal(s, model.s)
    assert share == pytest.approx((model.s[2:] ** 2).sum() / (model.s**2).sum(), rel=1e-5)
    theirs = PCAModel.load(tmp_path / "theirs")
    assert np.array_equal(theirs.v, -model.v)
    assert np.array_equal(theirs.mean, model.mean + 1)
    assert np.array_equal(theirs.s, model.s)
