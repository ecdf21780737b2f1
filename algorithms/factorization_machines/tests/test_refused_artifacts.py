"""What is no artifact is refused in one sentence, whatever it is: files, members, graphs, arrays, damage, bombs."""

import json
import re
import zipfile

import numpy as np
import pytest

from algorithms.errors import UserError
from algorithms.factorization_machines import archive
from algorithms.factorization_machines.model import FactorizationMachine
from algorithms.factorization_machines.tests.test_artifact import (
    DESCRIPTION,
    MODELS,
    NAMES,
    PARAMETERS,
    SYMBOL,
    B,
    V,
    W,
    members_of,
    meta,
    pack,
    parameters,
)
from formats import ndarray


def refusal(tmp_path) -> str:
    with pytest.raises(UserError) as error:
        FactorizationMachine.load(tmp_path)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert 20 < len(sentence) < 500
    assert sentence.startswith(f"{tmp_path / 'model_algo-1'} is not a factorization machine: ")
    return sentence.split("a factorization machine: ", 1)[1]


@pytest.fixture
def members(tmp_path) -> dict[str, bytes]:
    return members_of(MODELS["binary_classifier"], tmp_path)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(UserError) as error:
        FactorizationMachine.load(tmp_path)
    assert str(error.value) == f"no factorization machine in {tmp_path}: 'model_algo-1' is missing"


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 something else", parameters(), b"PK\5\6" + bytes(9)])
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


HEADS = [[], [[17, 0, 0], [17, 0, 0]], [[15, 0, 0]], [[99, 0, 0]], [[]], ["out"], None, 3]
GRAPHS = [("heads", heads) for heads in HEADS] + [("op", operator) for operator in ("SoftmaxOutput", "", None, [1])]


@pytest.mark.parametrize(("name", "value"), GRAPHS, ids=str)
def test_a_graph_without_one_output(tmp_path, members, name, value):
    graph = json.loads(members[SYMBOL])
    (graph if name == "heads" else graph["nodes"][-1])[name] = value
    pack(tmp_path, {**members, SYMBOL: json.dumps(graph)})
    assert refusal(tmp_path) == (
        "'symbol.json' in it must be a graph that ends with one of LogisticRegressionOutput, LinearRegressionOutput"
    )


@pytest.mark.parametrize(
    ("described", "wanted"),
    [
        ({"feature_dim": 4}, "feature_dim .*, 3, got '4'"),
        ({"feature_dim": "x" * 1000}, "feature_dim .*, 3, got 'x{100}'"),
        ({"num_factors": "3"}, "num_factors .*, 2, got '3'"),
        ({"predictor_type": "regressor"}, "predictor_type .*, binary_classifier, got 'regressor'"),
    ],
)
def test_a_description_of_another_model(tmp_path, members, described, wanted):
    pack(tmp_path, {**members, DESCRIPTION: meta(**described)})
    wanted = wanted.replace(".*", r"in 'meta\.json' in it must be that of 'params' and 'symbol\.json'")
    assert re.fullmatch(wanted, refusal(tmp_path))


@pytest.mark.parametrize("parameters", [[], "3", 3, None])
def test_training_parameters_that_are_no_object(tmp_path, members, parameters):
    pack(tmp_path, {**members, DESCRIPTION: json.dumps({"training_parameters": parameters})})
    assert refusal(tmp_path) == "training_parameters in 'meta.json' in it must be a JSON object"


ARRAYS = {
    "a list": [V, W[:, None], B],
    "nothing": {},
    "no factors": {NAMES[1]: W[:, None], NAMES[2]: B},
    "no weights": {NAMES[0]: V, NAMES[2]: B},
    "no bias": {NAMES[0]: V, NAMES[1]: W[:, None]},
    "another array": {**dict(zip(NAMES, (V, W[:, None], B), strict=True)), "arg:v2": V},
    "one array twice": {**dict(zip(NAMES, (V, W[:, None], B), strict=True)), "v": V},
    "not an argument": {"aux:v": V, NAMES[1]: W[:, None], NAMES[2]: B},
    "factors of one dimension": dict(zip(NAMES, (V[:, 0], W[:, None], B), strict=True)),
    "factors on their side": dict(zip(NAMES, (V.T, W[:, None], B), strict=True)),
    "weights of one dimension": dict(zip(NAMES, (V, W, B), strict=True)),
    "weights on their side": dict(zip(NAMES, (V, W[None], B), strict=True)),
    "a bias of no dimension": dict(zip(NAMES, (V, W[:, None], B[0]), strict=True)),
    "two biases": dict(zip(NAMES, (V, W[:, None], np.tile(B, 2)), strict=True)),
    "no features": dict(zip(NAMES, (V[:0], W[:0, None], B), strict=True)),
    "no factors of features": dict(zip(NAMES, (V[:, :0], W[:, None], B), strict=True)),
    "dense, factors of one dimension": {"v": W, "Linear_Plus_Bias_weight": W[None], "Linear_Plus_Bias_bias": B},
    "dense, weights of no dimension": {"v": V.T, "Linear_Plus_Bias_weight": W[0], "Linear_Plus_Bias_bias": B},
}


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_of_other_names_or_shapes(tmp_path, members, arrays):
    pack(tmp_path, {**members, PARAMETERS: ndarray.dumps(arrays)})
    assert refusal(tmp_path) == (
        "'params' in it must hold the arrays v (feature_dim, num_factors), w1_weight (feature_dim, 1) and "
        "w0_weight (1,)"
    )


@pytest.mark.parametrize(
    ("v", "w", "b"),
    [(V * np.nan, W, B), (V, W * np.inf, B), (V, W, B * np.nan), (V.astype(np.float64) * 1e300, W, B)],
    ids=["factors", "linear", "bias", "beyond float32"],
)
def test_numbers_that_are_not_finite(tmp_path, members, v, w, b):
    pack(tmp_path, {**members, PARAMETERS: parameters(v, w[:, None], b)})
    assert refusal(tmp_path) == "it holds NaN or infinite numbers"


@pytest.mark.parametrize("content", [b"", b"hello", parameters()[:-3], parameters() + b"x"])
def test_parameters_that_are_damaged(tmp_path, members, content):
    pack(tmp_path, {**members, PARAMETERS: content})
    assert refusal(tmp_path).startswith("'params' in it: ")


@pytest.mark.parametrize("name", [SYMBOL, DESCRIPTION, PARAMETERS])
def test_a_member_that_unpacks_to_a_bomb(tmp_path, members, monkeypatch, name):
    """It is refused by what it declares, before anything is unpacked."""
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1 << 20)
    pack(tmp_path, {**members, name: bytes(8 << 20)}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "model_algo-1").stat().st_size < 20_000
    unpacked, whole = [], zipfile.ZipFile.open
    monkeypatch.setattr(
        zipfile.ZipFile,
        "open",
        lambda file, member, *more: unpacked.append(member.filename) or whole(file, member, *more),
    )
    assert refusal(tmp_path).startswith(f"'{name}' in it must have at most 1")
    assert name not in unpacked


@pytest.mark.parametrize("missing", [1, 40, 500])
def test_a_file_without_its_beginning(tmp_path, members, missing):
    path = tmp_path / "model_algo-1"
    path.write_bytes(path.read_bytes()[missing:])
    assert refusal(tmp_path) == "it must be a ZIP archive (a place in it is before its beginning)"


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
            assert FactorizationMachine.load(tmp_path).factors.tolist() == V.tolist()
        except UserError:
            refusal(tmp_path)
