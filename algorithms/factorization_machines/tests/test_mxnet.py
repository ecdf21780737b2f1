"""Models move both ways: real MXNet, in its own environment, runs what we write, and we read what it wrote."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from algorithms.factorization_machines.archive import symbol
from algorithms.factorization_machines.model import FactorizationMachine
from formats import Batch

PYTHON = os.environ.get("INBUILT_MXNET_PYTHON") or str(Path(__file__).parents[3] / ".venv-mxnet" / "bin" / "python")
KINDS = {"binary_classifier": "LogisticRegressionOutput", "regressor": "LinearRegressionOutput"}
N, K = 9, 4
_RANDOM = np.random.default_rng(1)
ROWS = (_RANDOM.normal(size=(7, N)) * (_RANDOM.random((7, N)) < 0.5)).astype(np.float32)

# What the published recipes do with an unpacked model: KIND/ours is read. Then a network as in MXNet's own example of
# factorization machines, row-sparse, with all numbers greater by 1: KIND/theirs is written. And the graph that we
# write, made by MXNet.
RECIPE = """
import json, os, sys
import mxnet as mx, numpy as np

operators, rows = json.loads(sys.argv[2]), np.array(json.loads(sys.argv[3]), np.float32)

def scores(module, batch):
    module.bind(for_training=False, data_shapes=[("data", batch.shape)])
    module.forward(mx.io.DataBatch([batch]), is_train=False)
    return module.get_outputs()[0].asnumpy().tolist()

def ours(operator, N, k):
    x, var = mx.sym.var("data", stype="csr"), mx.sym.var
    weighted = mx.sym.dot(x, var("w1_weight", shape=(N, 1)), name="weighted")
    linear = mx.sym.broadcast_add(weighted, var("w0_weight", shape=(1,)), name="linear")
    v, over_factors = var("v", shape=(N, k)), dict(axis=1, keepdims=True)
    sums = mx.sym.square(mx.sym.dot(x, v, name="sums"), name="squares_of_sums")
    all_pairs = mx.sym.sum(sums, name="all_pairs", **over_factors)
    squared = mx.sym.square(x, name="data_squared")
    lengths = mx.sym.sum(mx.sym.square(v, name="v_squared"), name="lengths", **over_factors)
    own_pairs = mx.sym.dot(squared, lengths, name="own_pairs")
    twice = mx.sym.elemwise_sub(all_pairs, own_pairs, name="pairs_twice")
    pairs = mx.sym._internal._mul_scalar(twice, scalar=0.5, name="pairs")
    return getattr(mx.sym, operator)(mx.sym.elemwise_add(linear, pairs, name="margin"), name="out")

def example(operator, N, k):
    x = mx.sym.var("data", stype="csr")
    v = mx.sym.var("v", shape=(N, k), stype="row_sparse")
    w = mx.sym.var("w1_weight", shape=(N, 1), stype="row_sparse")
    linear = mx.sym.broadcast_add(mx.sym.dot(x, w), mx.sym.var("w0_weight", shape=(1,)))
    own = mx.sym.dot(x.square(), mx.sym._internal._square_sum(data=v, axis=1, keepdims=True))
    both = mx.sym.Concat(linear, 0.5 * mx.sym.square(mx.sym.dot(x, v)), dim=1)
    return getattr(mx.sym, operator)(both.sum(axis=1, keepdims=True) - 0.5 * own, name="out")

found = {}
for kind, operator in operators.items():
    os.chdir(os.path.join(sys.argv[1], kind, "ours"))
    module = mx.module.Module.load("./model", 0, False, label_names=["out_label"])
    arrays = {name: module._arg_params[name].asnumpy() for name in ("v", "w1_weight", "w0_weight")}
    dense = scores(module, mx.nd.array(rows))
    module = mx.module.Module.load("./model", 0, False, label_names=["out_label"])
    of_csr = scores(module, mx.nd.array(rows).tostype("csr"))
    N, k = arrays["v"].shape
    os.chdir(os.path.join(sys.argv[1], kind, "theirs"))
    module = mx.module.Module(example(operator, N, k), label_names=["out_label"])
    module.bind(for_training=False, data_shapes=[("data", rows.shape)])
    more = {name: mx.nd.array(array + 1) for name, array in arrays.items()}
    module.init_params(arg_params={n: a if n == "w0_weight" else a.tostype("row_sparse") for n, a in more.items()})
    module.save_checkpoint("model", 0)
    theirs = scores(mx.module.Module.load("model", 0, False, label_names=["out_label"]), mx.nd.array(rows))
    found[kind] = {
        "arrays": {name: array.tolist() for name, array in arrays.items()},
        "dense": dense, "csr": of_csr, "theirs": theirs, "graph": ours(operator, N, k).tojson(),
    }
print(json.dumps(found))
"""


def model_of(kind: str, shift: int = 0) -> FactorizationMachine:
    random = np.random.default_rng(len(kind))
    arrays = [random.normal(size=size).astype(np.float32) + np.float32(shift) for size in ((N, K), N, 1)]
    return FactorizationMachine(*arrays, kind)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory) -> tuple[Path, dict]:
    """The folders that both have written, and what MXNet said."""
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with mxnet==1.9.1 and numpy==1.23.5; `make test` makes it")
    root = tmp_path_factory.mktemp("exchange")
    for kind in KINDS:
        for name in ("ours", "theirs"):
            (root / kind / name).mkdir(parents=True)
        ours = root / kind / "ours"
        model_of(kind).save(ours)
        with zipfile.ZipFile(ours / "model_algo-1") as file:
            file.extractall(ours)
        (ours / "symbol.json").rename(ours / "model-symbol.json")
        (ours / "params").rename(ours / "model-0000.params")
    # MXNet must not see the packages of the Python that runs the tests
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [PYTHON, "-c", RECIPE, str(root), json.dumps(KINDS), json.dumps(ROWS.tolist())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_mxnet_reads_our_parameters(exchange, kind):
    found, model = exchange[1][kind]["arrays"], model_of(kind)
    assert found == {
        "v": model.factors.tolist(), "w1_weight": model.linear[:, None].tolist(), "w0_weight": model.bias.tolist()
    }  # fmt: skip


@pytest.mark.parametrize("features", ["dense", "csr"])
@pytest.mark.parametrize("kind", KINDS)
def test_mxnet_runs_our_archive(exchange, kind, features):
    score = model_of(kind).predict(Batch(ROWS if features == "dense" else sparse.csr_array(ROWS)))["score"]
    np.testing.assert_allclose(exchange[1][kind][features], score[:, None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("kind", KINDS)
def test_we_read_what_mxnet_wrote(exchange, tmp_path, kind, packing):
    """With the description of the hosted service, which says no more than the width."""
    folder = exchange[0] / kind / "theirs"
    with zipfile.ZipFile(tmp_path / "model_algo-1", "w", packing) as file:
        file.write(folder / "model-symbol.json", "symbol.json")
        file.write(folder / "model-0000.params", "params")
        file.writestr("meta.json", json.dumps({"training_parameters": {"feature_dim": str(N)}}))
    loaded, wanted = FactorizationMachine.load(tmp_path), model_of(kind, 1)
    for name in ("factors", "linear", "bias"):
        assert np.array_equal(getattr(loaded, name), getattr(wanted, name))
    assert loaded.predictor_type == kind
    theirs = np.array(exchange[1][kind]["theirs"])
    np.testing.assert_allclose(loaded.predict(Batch(ROWS))["score"][:, None], theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_our_symbol_is_mxnets_own(exchange, kind):
    assert symbol(N, K, kind) == json.loads(exchange[1][kind]["graph"])
