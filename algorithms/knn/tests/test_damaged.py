"""What is refused as a model: one sentence, never a traceback, whatever the files hold."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

import faiss
import numpy as np
import pytest

from algorithms.errors import UserError
from algorithms.knn.tests.streams import algorithm, neighbours, train
from algorithms.knn.tests.test_model import INDEXES, LABELS, QUERIES, ROWS, described, edit, hosted

FILES = ("model_algo-1", "model_algo-1.labels", "model_algo-1.json")


@pytest.fixture
def folder(tmp_path):
    train(ROWS, LABELS, k=5, predictor_type="classifier").save(tmp_path)
    return tmp_path


def refusal(folder) -> str:
    with pytest.raises(UserError) as error:
        algorithm.load(folder)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert "Error in" not in sentence  # faiss's own words name its source files
    assert 20 < len(sentence) < 500
    return sentence


def test_an_empty_folder(tmp_path):
    assert refusal(tmp_path) == f"no k-NN model in {tmp_path}: 'model_algo-1' is missing"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    assert f"'{name}' is missing" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"\0", b"hello, world, this is no model", b"\x12\x01" + bytes(100)])
def test_another_file(folder, name, content):
    (folder / name).write_bytes(content)
    assert name in refusal(folder)


@pytest.mark.parametrize("given", INDEXES.values(), ids=INDEXES.keys())
def test_an_index_that_is_cut_short(tmp_path, given):
    train(ROWS, LABELS, **given).save(tmp_path)
    path = tmp_path / "model_algo-1"
    whole = path.read_bytes()
    for length in (1, 3, 4, 5, 12, 30, 37, 41, 45, 60, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "model_algo-1" in refusal(tmp_path), length


@pytest.mark.parametrize("given", INDEXES.values(), ids=INDEXES.keys())
def test_an_index_with_a_changed_head(tmp_path, given):
    """It is refused, or it can be asked: a wrong number must not lead outside of what was read."""
    train(ROWS, LABELS, **given).save(tmp_path)
    path = tmp_path / "model_algo-1"
    whole = path.read_bytes()
    for at in range(37):  # name, width, rows, two reserved numbers, whether it is trained, metric
        for value in (0, 1, 0x7F):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                model = algorithm.load(tmp_path)
                neighbours(model, np.zeros((2, model.width), np.float32))
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017 - either way is right


LOAD = """
import sys
from pathlib import Path
from algorithms.errors import UserError
from algorithms.knn import algorithm
try:
    algorithm.load(Path(sys.argv[1]))
except UserError:
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def test_a_size_beyond_the_file(folder):
    """The rows of the index begin with their number, here 2**28: no room is made for them before they are there."""
    path = folder / "model_algo-1"
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + b"\x10" + whole[41:])
    ended = subprocess.run([sys.executable, "-c", LOAD, folder], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 512  # MiB


@pytest.mark.parametrize("count", [0, 1, 299, 301, 600])
def test_labels_that_are_not_as_many_as_the_rows(folder, count):
    (folder / "model_algo-1.labels").write_bytes(bytes(4 * count))
    sentence = refusal(folder)
    assert "300 rows" in sentence
    assert str(4 * count) in sentence


def test_labels_that_are_no_floats(folder):
    (folder / "model_algo-1.labels").write_bytes(bytes(4 * 300 - 1))
    assert "model_algo-1.labels" in refusal(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_not_finite(folder, value):
    labels = LABELS.copy()
    labels[7] = value
    (folder / "model_algo-1.labels").write_bytes(labels.tobytes())
    assert "model_algo-1.labels" in refusal(folder)


@pytest.mark.parametrize(
    "content", ["[]", "3", "null", '"k"', "{", '{"k": 5', "{}", '{"k": 3}', "{'k': 3}", "[" * 9999]
)
def test_descriptions_that_are_none(folder, content):
    (folder / "model_algo-1.json").write_text(content)
    assert "model_algo-1.json" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("k", value) for value in (0, -1, 1.5, "x", None, True, [3], 10**30)],
        *[("predictor_type", value) for value in ("", "classify", None, 3, ["classifier"])],
        *[("normalize", value) for value in ("yes", 3, [])],
        *[("feature_dim", value) for value in (0, -8, "x", 1.5, [8])],
        *[("dimension_reduction", value) for value in ("sign", 3, [3])],
    ],
)
def test_values_that_are_none(folder, name, value):
    edit(folder, **{name: value})
    sentence = refusal(folder)
    assert "model_algo-1.json" in sentence
    assert name in sentence


@pytest.mark.parametrize("k", [301, 2**40])
def test_more_neighbours_than_rows(folder, k):
    edit(folder, k=k)
    sentence = refusal(folder)
    assert re.search(rf"\bk\b.*{k}", sentence)
    assert "300" in sentence


@pytest.mark.parametrize("width", [7, 9, 80])
def test_a_width_that_is_not_the_indexs(folder, width):
    """Narrower may be padding with zeros; wider cannot be."""
    edit(folder, feature_dim=width)
    if width > 8:
        assert str(width) in refusal(folder)
    else:
        assert algorithm.load(folder).width == width


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
@pytest.mark.parametrize("feature_dim", [{}, {"feature_dim": 20}])
def test_hosted_models_with_a_dimension_reduction(tmp_path, kind, feature_dim):
    """The hosted service does not say how it draws its matrix: any other one would answer nonsense."""
    index = faiss.IndexFlatL2(8)
    index.add(ROWS)
    reduction = {"type": kind, "seed": 3, "target_dim": 8, "input_dim": 20}
    hosted(tmp_path, index, LABELS, dimension_reduction=reduction, **feature_dim)
    sentence = refusal(tmp_path)
    assert "hosted" in sentence
    assert "dimension" in sentence
    edit(tmp_path, dimension_reduction=reduction | {"generator": "inbuilt-99"})
    assert "inbuilt-99" in refusal(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "pca"},
        {"seed": -1},
        {"seed": "x"},
        {"target_dim": 0},
        {"target_dim": 6},
        {"target_dim": 10**12},
        {"input_dim": 0},
        {"input_dim": "x"},
        {"input_dim": 10**15},
    ],
    ids=str,
)
def test_reductions_that_are_none(tmp_path, fields):
    """Those that ask for a matrix of terabytes, too."""
    train(ROWS, LABELS, **INDEXES["sign"]).save(tmp_path)
    edit(tmp_path, dimension_reduction=described(tmp_path)["dimension_reduction"] | fields)
    assert "model_algo-1.json" in refusal(tmp_path)


def other_metric():
    index = faiss.IndexFlat(8, faiss.METRIC_L1)
    index.add(ROWS)
    return index


def binary():
    return faiss.IndexLSH(8, 16)


@pytest.mark.parametrize("make", [other_metric, binary])
def test_other_indexes_of_faiss(tmp_path, make: Callable[[], faiss.Index]):
    """They are refused, or answered as what they are; L1 distances are not squared ones."""
    index = make()
    hosted(tmp_path, index, LABELS[: index.ntotal])
    assert "model_algo-1" in refusal(tmp_path)


def test_an_index_without_rows(tmp_path):
    hosted(tmp_path, faiss.IndexFlatL2(8), LABELS[:0])
    refusal(tmp_path)


def test_answers_after_all(folder):
    """The folder that the others damage is a model."""
    assert neighbours(algorithm.load(folder), QUERIES)[0].shape == (40, 5)
    assert json.loads((folder / "model_algo-1.json").read_text())["k"] == 5
