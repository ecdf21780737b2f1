"""Models move both ways: the users' recipes with real MXNet, in its own environment, on our artifact."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from algorithms.kmeans import KMeansModel

PYTHON = os.environ.get("INBUILT_MXNET_PYTHON") or str(Path(__file__).parents[3] / ".venv-mxnet" / "bin" / "python")

# "Bring your own k-means model": load, change, save again
RECIPE = """
import json, sys
import mxnet as mx
centroids = mx.ndarray.load(sys.argv[1])[0].asnumpy()
mx.ndarray.save(sys.argv[2], [mx.nd.array(centroids[::-1])])
print(json.dumps(centroids.tolist()))
"""


def test_users_recipes(tmp_path: Path) -> None:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with mxnet==1.9.1 and numpy==1.23.5; `make test` makes it")
    model = KMeansModel(np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32))
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    model.save(tmp_path / "ours")
    files = [str(tmp_path / name / "model_algo-1") for name in ("ours", "theirs")]
    done = subprocess.run([PYTHON, "-c", RECIPE, *files], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(json.loads(done.stdout), model.centers)
    assert np.array_equal(KMeansModel.load(tmp_path / "theirs").centers, model.centers[::-1])
