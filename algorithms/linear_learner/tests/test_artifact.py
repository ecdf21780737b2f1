"""The artifact: what it holds, byte for byte the same each time, and what is refused as one, in one sentence."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest

from algorithms.errors import UserError
from algorithms.linear_learner import archive
from algorithms.linear_learner.model import LinearModel
from formats import Batch, ndarray

W = np.array([[1, 2, 3]], np.float32)
B = np.array([0.5], np.float32)
MODELS = {
    "binary": LinearModel(W, B, "binary_classifier", "logistic", 0.3),
    "hinge": LinearModel(W, B, "binary_classifier", "hinge_loss", -2.5),
    "multiclass": LinearModel(np.vstack([W, -W, W * 2]), np.tile(B, 3), "multiclass_classifier", "softmax_loss"),
    "regressor": LinearModel(W, B, "regressor", "quantile_loss"),
}
OPERATORS = {"binary": "LogisticRegressionOutput", "multiclass": "SoftmaxOutput"}
SYMBOL, PARAMETERS, DESCRIPTION = "mx-mod-symbol.json", "mx-mod-0000.params", "additional-params.json"
NAMES = ("arg:fc0_weight", "arg:fc0_bias")


def members_of(model, tmp_path) -> dict[str, bytes]:
    model.save(tmp_path)
    with zipfile.ZipFile(tmp_path / "model_algo-1") as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def pack(tmp_path, members, packing=zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(tmp_path / "model_algo-1", "w", packing) as file:
        for name, content in members.items():
            file.writestr(name, content)


def parameters(weights=W, bias=B) -> bytes:
    return ndarray.dumps(dict(zip(NAMES, (weights, bias), strict=True)))


def refusal(tmp_path) -> str:
    with pytest.raises(UserError) as error:
        LinearModel.load(tmp_path)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert 20 < len(sentence) < 500
    assert sentence.startswith(f"{tmp_path / 'model_algo-1'} is not a linear model: ")
    return sentence.split("a linear model: ", 1)[1]


@pytest.fixture
def members(tmp_path) -> dict[str, bytes]:
    return members_of(MODELS["binary"], tmp_path)


@pytest.mark.parametrize("kind", MODELS)
def test_what_was_saved_is_loaded(tmp_path, kind):
    model = MODELS[kind]
    model.save(tmp_path)
    loaded = LinearModel.load(tmp_path)
    assert np.array_equal(loaded.weights, model.weights)
    assert np.array_equal(loaded.bias, model.bias)
    assert (loaded.weights.dtype, loaded.bias.dtype) == (np.float32, np.float32)
    assert (loaded.predictor_type, loaded.loss) == (model.predictor_type, model.loss)
    assert loaded.threshold == model.threshold
    batch = Batch(np.array([[1, -1, 0], [0, 0, -1]], np.float32))
    before, after = model.predict(batch), loaded.predict(batch)
    assert {name: column.tolist() for name, column in before.items()} == {
        name: column.tolist() for name, column in after.items()
    }


@pytest.mark.parametrize("kind", MODELS)
def test_the_members_of_the_archive(tmp_path, kind):
    model = MODELS[kind]
    members = members_of(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model_algo-1"]
    assert list(members) == [DESCRIPTION, "manifest.json", PARAMETERS, SYMBOL]
    assert members[PARAMETERS] == parameters(model.weights, model.bias)
    described = {"predictor_type": model.predictor_type, "loss": model.loss}
    if model.predictor_type == "binary_classifier":
        described["threshold"] = model.threshold
    assert json.loads(members[DESCRIPTION]) == described
    assert json.loads(members["manifest.json"])["files"] == [DESCRIPTION, PARAMETERS, SYMBOL]
    nodes = {node["name"]: node for node in json.loads(members[SYMBOL])["nodes"]}
    assert list(nodes) == ["data", "fc0_weight", "fc0_bias", "fc0", "out_label", "out"]
    assert nodes["out"]["op"] == OPERATORS.get(kind, "LinearRegressionOutput")
    assert nodes["fc0"]["attrs"]["num_hidden"] == str(len(model.weights))


def test_equal_models_have_equal_bytes(tmp_path, monkeypatch):
    """At any time of day; nothing is packed, and the first member is where a ZIP of stored files has it."""
    contents = []
    for name, now in (("one", 1.0e9), ("other", 1.7e9)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr("time.time", lambda now=now: now)
        MODELS["multiclass"].save(tmp_path / name)
        contents.append((tmp_path / name / "model_algo-1").read_bytes())
    assert contents[0] == contents[1]
    with zipfile.ZipFile(io.BytesIO(contents[0])) as file:
        for member in file.infolist():
            assert (member.date_time, member.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
            assert (member.create_system, member.external_attr >> 16) == (3, 0o644)
    # PK 3 4, version 2.0, no flags, stored, midnight, 1 January 1980
    assert contents[0][:14] == struct.pack("<4sHHHHH", b"PK\3\4", 20, 0, 0, 0, 33)
    assert contents[0][30:].startswith(DESCRIPTION.encode() + b"{\n")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("left_out", ["manifest.json", DESCRIPTION])
def test_what_may_be_missing(tmp_path, members, packing, left_out):
    del members[left_out]
    pack(tmp_path, members, packing)
    loaded = LinearModel.load(tmp_path)
    assert (loaded.predictor_type, loaded.loss) == ("binary_classifier", "logistic")
    assert loaded.threshold == (0.5 if left_out == DESCRIPTION else 0.3)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_numbers_of_another_type_become_float32(tmp_path, members, dtype):
    pack(tmp_path, {**members, PARAMETERS: parameters(W.astype(dtype), B.astype(dtype))})
    loaded = LinearModel.load(tmp_path)
    assert (loaded.weights.dtype, loaded.bias.dtype) == (np.float32, np.float32)
    assert loaded.weights.tolist() == W.tolist()


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(UserError) as error:
        LinearModel.load(tmp_path)
    assert str(error.value) == f"no linear model in {tmp_path}: 'model_algo-1' is missing"


@pytest.mark.parametrize(
    "content", [b"", b"hello, world", b"PK\3\4 something else", parameters(), b"PK\5\6" + bytes(9)]
)
def test_what_is_no_zip(tmp_path, content):
    (tmp_path / "model_algo-1").write_bytes(content)
    assert refusal(tmp_path).startswith("it must be a ZIP archive")


@pytest.mark.parametrize("name", [SYMBOL, PARAMETERS])
def test_a_member_is_missing(tmp_path, members, name):
    del members[name]
    pack(tmp_path, members)
    assert refusal(tmp_path) == f"'{name}' is missing in it"


@pytest.mark.parametrize("name", [SYMBOL, DESCRIPTION])
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'"text"', b"[" * 100_000], ids=lambda c: repr(c[:9]))
def test_what_is_no_json_object(tmp_path, members, name, content):
    pack(tmp_path, {**members, name: content})
    assert refusal(tmp_path) == f"'{name}' in it must be a JSON object"


ARRAYS = {
    "a list": [W, B],
    "nothing": {},
    "no weights": {NAMES[1]: B},
    "no bias": {NAMES[0]: W},
    "another array": {NAMES[0]: W, NAMES[1]: B, "arg:fc1_weight": W},
    "not an argument": {"aux:fc0_weight": W, NAMES[1]: B},
    "weights of one dimension": {NAMES[0]: W[0], NAMES[1]: B},
    "weights of three dimensions": {NAMES[0]: W[None], NAMES[1]: B},
    "a bias of two dimensions": {NAMES[0]: W, NAMES[1]: B[None]},
    "a bias of no dimension": {NAMES[0]: np.tile(W, (2, 1)), NAMES[1]: B[0]},
    "two biases": {NAMES[0]: W, NAMES[1]: np.tile(B, 2)},
    "weights on their side": {NAMES[0]: W.T.copy(), NAMES[1]: B},
    "no features": {NAMES[0]: W[:, :0], NAMES[1]: B},
    "no outputs": {NAMES[0]: W[:0], NAMES[1]: B[:0]},
}


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_of_other_names_or_shapes(tmp_path, members, arrays):
    pack(tmp_path, {**members, PARAMETERS: ndarray.dumps(arrays)})
    assert refusal(tmp_path) == (
        "'mx-mod-0000.params' in it must hold the arrays arg:fc0_weight (outputs, feature_dim) and "
        "arg:fc0_bias (outputs,)"
    )


@pytest.mark.parametrize(
    ("weights", "bias"),
    [(W * np.nan, B), (W, B * np.nan), (W, B * -np.inf), (W.astype(np.float64) * 1e300, B)],
    ids=["weights", "bias", "infinite", "beyond float32"],
)
def test_numbers_that_are_not_finite(tmp_path, members, weights, bias):
    pack(tmp_path, {**members, PARAMETERS: parameters(weights, bias)})
    assert refusal(tmp_path) == "it holds NaN or infinite numbers"


@pytest.mark.parametrize("content", [b"", b"hello", parameters()[:-3], parameters() + b"x"])
def test_parameters_that_are_damaged(tmp_path, members, content):
    pack(tmp_path, {**members, PARAMETERS: content})
    assert refusal(tmp_path).startswith("'mx-mod-0000.params' in it: ")


def edited(graph, what):
    """The binary model's symbol with one thing wrong."""
    nodes = graph["nodes"]
    changes = {
        "another operator": lambda: nodes[5].update(op="Activation"),
        "an operator that is no name": lambda: nodes[5].update(op=[1]),
        "another layer": lambda: nodes[3].update(op="Convolution"),
        "no heads": lambda: graph.update(heads=[]),
        "two heads": lambda: graph.update(heads=[[5, 0, 0], [3, 0, 0]]),
        "a head beyond the nodes": lambda: graph.update(heads=[[6, 0, 0]]),
        "a head that is text": lambda: graph.update(heads=["out"]),
        "a head that is empty": lambda: graph.update(heads=[[]]),
        "no nodes": lambda: graph.pop("nodes"),
        "nodes that are text": lambda: graph.update(nodes="out"),
        "nodes that are numbers": lambda: graph.update(nodes=[1] * 6),
        "no inputs": lambda: nodes[5].update(inputs=[]),
        "one input": lambda: nodes[3].update(inputs=[[0, 0, 0]]),
        "two layers": lambda: nodes[0].update(op="FullyConnected"),
        "other data": lambda: nodes[0].update(name="features"),
        "another name of the weights": lambda: nodes[1].update(name="fc1_weight"),
        "weights and bias exchanged": lambda: nodes[3].update(inputs=[[0, 0, 0], [2, 0, 0], [1, 0, 0]]),
    }
    if what is None:
        return list(changes)
    changes[what]()
    return graph


@pytest.mark.parametrize("what", edited({"nodes": []}, None))
def test_another_graph(tmp_path, members, what):
    graph = edited(json.loads(members[SYMBOL]), what)
    pack(tmp_path, {**members, SYMBOL: json.dumps(graph)})
    assert refusal(tmp_path).startswith(
        "'mx-mod-symbol.json' in it must be one FullyConnected layer named fc0 on data, then one of "
        "LogisticRegressionOutput, SoftmaxOutput, LinearRegressionOutput"
    )


@pytest.mark.parametrize("name", [SYMBOL, DESCRIPTION, PARAMETERS])
def test_a_member_that_unpacks_to_a_bomb(tmp_path, members, monkeypatch, name):
    """It is refused by what it declares, before anything is unpacked."""
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1 << 20)
    pack(tmp_path, {**members, name: bytes(8 << 20)}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "model_algo-1").stat().st_size < 20_000
    unpacked = []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda file, member: unpacked.append(member.filename) or b"{}")
    assert refusal(tmp_path).startswith(f"'{name}' in it must have at most 1")
    assert name not in unpacked


def test_a_bomb_that_declares_less_than_it_unpacks_to(tmp_path, members):
    """`zipfile` stops at the declared size, and finds another checksum."""
    pack(tmp_path, {**members, PARAMETERS: bytes(8 << 20)}, zipfile.ZIP_DEFLATED)
    path = tmp_path / "model_algo-1"
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 8 << 20), struct.pack("<I", 100)))
    assert refusal(tmp_path).startswith("it must be a ZIP archive (Bad CRC-32")


def test_a_member_that_is_encrypted_or_packed_otherwise(tmp_path, members):
    pack(tmp_path, members, zipfile.ZIP_BZIP2)
    assert refusal(tmp_path) == f"'{SYMBOL}' in it must be stored or deflated, not encrypted"
    pack(tmp_path, members)
    path = tmp_path / "model_algo-1"
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\1\2", at + 1)) >= 0:
        content[at + 8] |= 1  # the flags in the entry of the directory
    path.write_bytes(content)
    assert refusal(tmp_path) == f"'{SYMBOL}' in it must be stored or deflated, not encrypted"


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_whatever_is_cut_or_changed_is_a_model_or_refused(tmp_path, members, packing):
    """Never another exception; what a checksum guards is never loaded with another value."""
    pack(tmp_path, members, packing)
    path = tmp_path / "model_algo-1"
    whole = path.read_bytes()
    for length in range(0, len(whole), 41):
        path.write_bytes(whole[:length])
        refusal(tmp_path)
    random = np.random.default_rng(0)
    for place in random.integers(len(whole), size=400):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            assert LinearModel.load(tmp_path).weights.tolist() == W.tolist()
        except UserError:
            refusal(tmp_path)
