"""Models move both ways: real MXNet, in its own environment, runs what we write, and we read what it wrote."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from algorithms.linear_learner.archive import symbol
from algorithms.linear_learner.model import LinearModel
from formats import Batch

PYTHON = os.environ.get("INBUILT_MXNET_PYTHON") or str(Path(__file__).parents[3] / ".venv-mxnet" / "bin" / "python")
KINDS = {
    "binary": ("binary_classifier", "logistic", 1),
    "hinge": ("binary_classifier", "hinge_loss", 1),
    "multiclass": ("multiclass_classifier", "softmax_loss", 4),
    "regressor": ("regressor", "squared_loss", 1),
}
ROWS = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)

# What the SDK's users do with an unpacked model, then a model of MXNet's own with all numbers greater by 1, saved.
# {kind}/ours is read, {kind}/theirs is written.
RECIPE = """
import json, os, sys
import mxnet as mx, numpy as np

def scores(module, rows):
    module.bind(for_training=False, data_shapes=[("data", rows.shape)])
    module.forward(mx.io.DataBatch([mx.nd.array(rows)]), is_train=False)
    return module.get_outputs()[0].asnumpy()

root, rows = sys.argv[1], np.array(json.loads(sys.argv[2]), np.float32)
found = {}
for kind in sorted(os.listdir(root)):
    os.chdir(os.path.join(root, kind, "ours"))
    module = mx.module.Module.load("mx-mod", 0, label_names=["out_label"])
    answers = scores(module, rows)
    arguments, auxiliary = module.get_params()
    os.chdir(os.path.join(root, kind, "theirs"))
    operator = json.load(open("operator.json"))
    outputs, width = arguments["fc0_weight"].shape
    more = {"no_bias": True} if kind == "no bias" else {}
    layer = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=outputs, name="fc0", **more)
    graph = getattr(mx.sym, operator)(layer, name="out")
    module = mx.module.Module(graph, label_names=["out_label"])
    module.bind(for_training=False, data_shapes=[("data", rows.shape)])
    shift = {name: array + 1 for name, array in arguments.items() if name in graph.list_arguments()}
    module.init_params(arg_params=shift, aux_params=auxiliary)
    module.save_checkpoint("mx-mod", 0)
    theirs = scores(mx.module.Module.load("mx-mod", 0, label_names=["out_label"]), rows)
    found[kind] = {"names": sorted(arguments), "ours": answers.tolist(), "theirs": theirs.tolist()}
print(json.dumps({"graph": graph.tojson(), "kinds": found}))
"""


def model_of(kind: str) -> LinearModel:
    predictor_type, loss, outputs = KINDS.get(kind, KINDS["regressor"])
    random = np.random.default_rng(outputs)
    weights = random.normal(size=(outputs, 6)).astype(np.float32)
    bias = np.zeros(outputs) if kind == "no bias" else random.normal(size=outputs)
    return LinearModel(weights, bias.astype(np.float32), predictor_type, loss, 0.25)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory) -> tuple[Path, dict]:
    """The folders that both have written, and what MXNet said."""
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with mxnet==1.9.1 and numpy==1.23.5; `make test` makes it")
    root = tmp_path_factory.mktemp("exchange")
    operators = {"binary": "LogisticRegressionOutput", "multiclass": "SoftmaxOutput", "other": "MAERegressionOutput"}
    for kind in [*KINDS, "other", "no bias"]:
        for name in ("ours", "theirs"):
            (root / kind / name).mkdir(parents=True)
        ours = root / kind / "ours"
        model_of(kind).save(ours)
        with zipfile.ZipFile(ours / "model_algo-1") as file:
            file.extractall(ours)
        operator = operators.get(kind, "LinearRegressionOutput")
        (root / kind / "theirs" / "operator.json").write_text(json.dumps(operator))
    # MXNet must not see the packages of the Python that runs the tests
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [PYTHON, "-c", RECIPE, str(root), json.dumps(ROWS.tolist())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_mxnet_runs_our_archive(exchange, kind):
    found = exchange[1]["kinds"][kind]
    assert found["names"] == ["fc0_bias", "fc0_weight"]
    model = model_of(kind)
    score = model.predict(Batch(ROWS))["score"]
    np.testing.assert_allclose(found["ours"], score.reshape(len(ROWS), len(model.weights)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("kind", [*KINDS, "other", "no bias"])
def test_we_read_what_mxnet_wrote(exchange, tmp_path, kind, packing):
    """Without a description; that a margin is a hinge classifier's must be said."""
    folder = exchange[0] / kind / "theirs"
    with zipfile.ZipFile(tmp_path / "model_algo-1", "w", packing) as file:
        for name in ("mx-mod-symbol.json", "mx-mod-0000.params"):
            file.write(folder / name, name)
        if kind == "hinge":
            file.writestr("additional-params.json", '{"predictor_type": "binary_classifier", "of_the_service": [1]}')
    loaded = LinearModel.load(tmp_path)
    ours = model_of(kind)
    assert np.array_equal(loaded.weights, ours.weights + 1)
    assert np.array_equal(loaded.bias, ours.bias if kind == "no bias" else ours.bias + 1)
    assert (loaded.predictor_type, loaded.loss) == (ours.predictor_type, ours.loss)
    assert loaded.threshold == (0 if kind == "hinge" else 0.5)
    found = loaded.predict(Batch(ROWS))
    theirs = np.array(exchange[1]["kinds"][kind]["theirs"])
    np.testing.assert_allclose(found["score"].reshape(theirs.shape), theirs, rtol=1e-5, atol=1e-6)
    if kind == "binary":
        assert np.array_equal(found["predicted_label"], theirs[:, 0] >= 0.5)
    if kind == "multiclass":
        assert np.array_equal(found["predicted_label"], theirs.argmax(axis=1))


def test_our_symbol_is_mxnets_own(exchange):
    """The last folder by name is the regressor."""
    assert symbol(1, "LinearRegressionOutput") == json.loads(exchange[1]["graph"])
