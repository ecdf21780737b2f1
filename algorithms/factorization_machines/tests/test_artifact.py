"""The artifact: what it holds, byte for byte the same each time and in little memory; the forms that are read."""

import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from algorithms.factorization_machines.model import FactorizationMachine
from formats import Batch, ndarray

SYMBOL, PARAMETERS, DESCRIPTION = "symbol.json", "params", "meta.json"
V = np.array([[1, 2], [3, -1], [0, 2]], np.float32)
W = np.array([0.5, -1, 2], np.float32)
B = np.array([0.25], np.float32)
NAMES = ("arg:v", "arg:w1_weight", "arg:w0_weight")
MODELS = {kind: FactorizationMachine(V, W, B, kind) for kind in ("binary_classifier", "regressor")}
OPERATORS = {"binary_classifier": "LogisticRegressionOutput", "regressor": "LinearRegressionOutput"}


def members_of(model, tmp_path) -> dict[str, bytes]:
    model.save(tmp_path)
    with zipfile.ZipFile(tmp_path / "model_algo-1") as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def pack(tmp_path, members, packing=zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(tmp_path / "model_algo-1", "w", packing) as file:
        for name, content in members.items():
            file.writestr(name, content)


def parameters(v=V, w=W[:, None], b=B, names=NAMES) -> bytes:
    return ndarray.dumps(dict(zip(names, (v, w, b), strict=True)))


def meta(**fields) -> str:
    return json.dumps({"training_parameters": fields})


def assert_loads(tmp_path, predictor_type="binary_classifier") -> None:
    loaded = FactorizationMachine.load(tmp_path)
    for found, wanted in ((loaded.factors, V), (loaded.linear, W), (loaded.bias, B)):
        assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float32, wanted.shape, True)
        assert np.array_equal(found, wanted)
    assert loaded.predictor_type == predictor_type


@pytest.fixture
def members(tmp_path) -> dict[str, bytes]:
    return members_of(MODELS["binary_classifier"], tmp_path)


@pytest.mark.parametrize("kind", MODELS)
def test_what_was_saved_is_loaded(tmp_path, kind):
    MODELS[kind].save(tmp_path)
    assert_loads(tmp_path, kind)
    batch = Batch(np.array([[1, -1, 0], [0, 0, -1]], np.float32))
    before, after = MODELS[kind].predict(batch), FactorizationMachine.load(tmp_path).predict(batch)
    assert {name: column.tolist() for name, column in before.items()} == {
        name: column.tolist() for name, column in after.items()
    }


@pytest.mark.parametrize("kind", MODELS)
def test_the_members_of_the_archive(tmp_path, kind):
    members = members_of(MODELS[kind], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model_algo-1"]
    assert list(members) == [DESCRIPTION, PARAMETERS, SYMBOL]
    assert members[PARAMETERS] == parameters()
    described = {"feature_dim": 3, "num_factors": 2, "predictor_type": kind}
    assert json.loads(members[DESCRIPTION]) == {"training_parameters": described}
    nodes = {node["name"]: node for node in json.loads(members[SYMBOL])["nodes"]}
    arguments = [name for name, node in nodes.items() if node["op"] == "null"]
    assert arguments == ["data", "w1_weight", "w0_weight", "v", "out_label"]
    assert nodes["out"]["op"] == OPERATORS[kind]


def test_equal_models_have_equal_bytes(tmp_path, monkeypatch):
    """At any time of day; nothing is packed."""
    contents = []
    for name, now in (("one", 1.0e9), ("other", 1.7e9)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr("time.time", lambda now=now: now)
        MODELS["regressor"].save(tmp_path / name)
        contents.append((tmp_path / name / "model_algo-1").read_bytes())
    assert contents[0] == contents[1]
    with zipfile.ZipFile(tmp_path / "one" / "model_algo-1") as file:
        for member in file.infolist():
            assert (member.date_time, member.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
            assert (member.create_system, member.external_attr >> 16) == (3, 0o644)
    # PK 3 4, version 2.0, no flags, stored, midnight, 1 January 1980
    assert contents[0][:14] == struct.pack("<4sHHHHH", b"PK\3\4", 20, 0, 0, 0, 33)


def test_neither_saving_nor_loading_copies_the_factors(tmp_path):
    """Of 64 MB: saving takes next to nothing, loading what the model takes."""
    model = FactorizationMachine(np.ones((250_000, 64), np.float32), np.zeros(250_000, np.float32), B, "regressor")
    tracemalloc.start()
    try:
        model.save(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        del model
        tracemalloc.reset_peak()
        loaded = FactorizationMachine.load(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < (65 << 20) + (4 << 20)
    finally:
        tracemalloc.stop()
    assert loaded.factors[-1, -1] == 1


def test_parameters_of_more_than_two_gigabytes(tmp_path, monkeypatch):
    """Are laid out as ZIP64, here from 1 MiB and 50 bytes on."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", (1 << 20) + 50)
    model = FactorizationMachine(np.full((9_000, 64), 3, np.float32), np.zeros(9_000, np.float32), B, "regressor")
    model.save(tmp_path)
    monkeypatch.undo()
    assert np.array_equal(FactorizationMachine.load(tmp_path).factors, model.factors)
    with zipfile.ZipFile(tmp_path / "model_algo-1") as file:
        assert [member.extract_version for member in file.infolist()] == [20, 45, 45]


DESCRIBED = {
    "nothing": None,
    "no parameters": "{}",
    "the width": meta(feature_dim=3),
    "strings": meta(feature_dim="3", num_factors="2", predictor_type="binary_classifier", epochs="1"),
    "more": json.dumps({"training_parameters": {"feature_dim": 3, "bias_lr": 0.1, "_kvstore": None}, "version": [1]}),
}


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("described", DESCRIBED.values(), ids=DESCRIBED.keys())
def test_descriptions_of_the_hosted_service(tmp_path, members, packing, described):
    del members[DESCRIPTION]
    pack(tmp_path, members | ({} if described is None else {DESCRIPTION: described}), packing)
    assert_loads(tmp_path)


ACCEPTED = {
    "no prefix": parameters(names=[name.removeprefix("arg:") for name in NAMES]),
    "another order": ndarray.dumps({"arg:w0_weight": B, "arg:w1_weight": W[:, None], "arg:v": V}),
    "float64": parameters(V.astype(np.float64), W[:, None].astype(np.float64), B.astype(np.float64)),
    "float16": parameters(V.astype(np.float16)),
    "trained on dense data": parameters(
        V.T, W[None], B, ["arg:v", "arg:Linear_Plus_Bias_weight", "arg:Linear_Plus_Bias_bias"]
    ),
}


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_forms_of_the_parameters(tmp_path, members, content):
    pack(tmp_path, {**members, PARAMETERS: content})
    assert_loads(tmp_path)


def test_an_output_beside_others(tmp_path, members):
    """The head that is an operator of training says what the model is for."""
    graph = json.loads(members[SYMBOL])
    graph["heads"] = [[0, 0, 0], *graph["heads"]]
    pack(tmp_path, {**members, SYMBOL: json.dumps(graph)})
    assert_loads(tmp_path)
