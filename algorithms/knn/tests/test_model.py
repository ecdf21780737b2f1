"""The artifact: three files that faiss, NumPy and an editor open, ours or the hosted service's."""

import json
import shutil

import faiss
import numpy as np
import pytest

from algorithms import artifact
from algorithms.errors import UserError
from algorithms.knn.tests.oracle import METRICS
from algorithms.knn.tests.streams import algorithm, neighbours, predicted, train
from algorithms.knn.tests.test_search import normal

INDEXES = {
    "faiss.Flat": {},
    "faiss.IVFFlat": {"index_type": "faiss.IVFFlat", "faiss_index_ivf_nlists": 9},
    "faiss.IVFPQ": {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 4},
    "sign": {"dimension_reduction_type": "sign", "dimension_reduction_target": 5},
    "fjlt": {"dimension_reduction_type": "fjlt", "dimension_reduction_target": 5},
    "cosine": {"index_metric": "COSINE"},
}
each_index = pytest.mark.parametrize("given", INDEXES.values(), ids=INDEXES.keys())
ROWS = normal(300, 8)
LABELS = np.random.default_rng(1).integers(0, 4, 300).astype(np.float32)
QUERIES = normal(40, 8, seed=1)


def described(folder):
    return json.loads((folder / "model_algo-1.json").read_text())


def edit(folder, **fields):
    (folder / "model_algo-1.json").write_text(json.dumps(described(folder) | fields))


def test_ties(tmp_path):
    """Two neighbours, a vote each: the nearest row's label, or, of a hosted model, the farthest row's."""
    rows, labels = np.array([[0], [1], [9]], np.float32), np.array([5, 3, 4], np.float32)
    train(rows, labels, k=2, predictor_type="classifier").save(tmp_path)
    assert predicted(algorithm.load(tmp_path), [[0.4], [0.6]]).tolist() == [5, 3]
    fields = described(tmp_path)
    del fields["ties"]
    (tmp_path / "model_algo-1.json").write_text(json.dumps(fields))
    assert predicted(algorithm.load(tmp_path), [[0.4], [0.6]]).tolist() == [3, 5]
    model = train(rows, labels, k=2, predictor_type="classifier", ties="farthest")
    assert predicted(model, [[0.4], [0.6]]).tolist() == [3, 5]
    edit(tmp_path, ties="none")
    with pytest.raises(UserError, match='ties must be one of nearest, farthest, got "none"'):
        algorithm.load(tmp_path)


@each_index
def test_three_files(tmp_path, given):
    train(ROWS, LABELS, **given).save(tmp_path)
    names = ["model_algo-1", "model_algo-1.json", "model_algo-1.labels"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_flat_files_by_hand(tmp_path):
    """faiss opens the first, which has the rows in their order; the second is packed float32; the third JSON."""
    train(ROWS, LABELS, k=7, predictor_type="classifier").save(tmp_path)
    index = faiss.read_index(str(tmp_path / "model_algo-1"))
    assert isinstance(index, faiss.IndexFlat)
    assert (index.ntotal, index.d, index.metric_type) == (300, 8, faiss.METRIC_L2)
    assert np.array_equal(index.reconstruct_n(0, 300), ROWS)
    assert (tmp_path / "model_algo-1.labels").read_bytes() == LABELS.astype("<f4").tobytes()
    assert described(tmp_path) == {
        "k": 7,
        "predictor_type": "classifier",
        "dimension_reduction": None,
        "normalize": False,
        "ties": "nearest",
        "version": "1.0",
        "feature_dim": 8,
    }


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("index_type", ["faiss.Flat", "faiss.IVFFlat"])
def test_the_metric_of_the_index(tmp_path, metric, index_type):
    train(ROWS, LABELS, index_metric=metric, index_type=index_type).save(tmp_path)
    index = faiss.read_index(str(tmp_path / "model_algo-1"))
    assert index.metric_type == (faiss.METRIC_L2 if metric == "L2" else faiss.METRIC_INNER_PRODUCT)
    assert described(tmp_path)["normalize"] == (metric == "COSINE")
    assert index.ntotal == 300
    if metric == "COSINE" and index_type == "faiss.Flat":
        np.testing.assert_allclose(np.linalg.norm(index.reconstruct_n(0, 300), axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_the_reduction_is_described(tmp_path, kind):
    train(ROWS, LABELS, seed=12, **INDEXES[kind]).save(tmp_path)
    assert described(tmp_path)["dimension_reduction"] == {
        "type": kind,
        "seed": 12,
        "target_dim": 5,
        "input_dim": 8,
        "generator": "inbuilt-1",
    }
    assert faiss.read_index(str(tmp_path / "model_algo-1")).d == 5


@each_index
def test_loading_gives_the_same_answers(tmp_path, given):
    model = train(ROWS, LABELS, k=5, **given)
    model.save(tmp_path)
    loaded = algorithm.load(tmp_path)
    assert loaded.width == 8
    assert np.array_equal(predicted(loaded, QUERIES), predicted(model, QUERIES))
    for before, after in zip(neighbours(model, QUERIES), neighbours(loaded, QUERIES), strict=True):
        assert np.array_equal(before, after)
    (tmp_path / "again").mkdir()
    loaded.save(tmp_path / "again")
    for name in ("model_algo-1", "model_algo-1.labels", "model_algo-1.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


@each_index
def test_equal_seeds_give_equal_bytes(tmp_path, given):
    found = []
    for i, seed in enumerate((3, 3, 4)):
        (tmp_path / str(i)).mkdir()
        train(ROWS, LABELS, seed=seed, sample_size=280, **given).save(tmp_path / str(i))
        found.append({path.name: path.read_bytes() for path in (tmp_path / str(i)).iterdir()})
    assert found[0] == found[1]
    assert found[0]["model_algo-1"] != found[2]["model_algo-1"]


@each_index
def test_k_and_the_predictor_may_be_edited(tmp_path, given):
    train(ROWS, LABELS, k=3, predictor_type="classifier", **given).save(tmp_path)
    edit(tmp_path, k=11, predictor_type="regressor")
    loaded = algorithm.load(tmp_path)
    assert neighbours(loaded, QUERIES)[0].shape == (40, 11)
    again = train(ROWS, LABELS, k=11, predictor_type="regressor", **given)
    assert np.array_equal(predicted(loaded, QUERIES), predicted(again, QUERIES))
    edit(tmp_path, k=300)
    mean = predicted(algorithm.load(tmp_path), QUERIES)
    np.testing.assert_allclose(mean, np.full(40, LABELS.mean()), rtol=1e-6)


def hosted(folder, index, labels, **fields):
    """As the hosted service leaves it: no manifest, no feature_dim."""
    faiss.write_index(index, str(folder / "model_algo-1"))
    (folder / "model_algo-1.labels").write_bytes(labels.astype(np.float32).tobytes())
    content = {"k": 3, "predictor_type": "classifier", "dimension_reduction": None, "normalize": False}
    (folder / "model_algo-1.json").write_text(json.dumps(content | {"version": "1.0"} | fields))
    return folder


@pytest.mark.parametrize(
    ("factory", "metric"),
    [("Flat", faiss.METRIC_L2), ("IVF7,Flat", faiss.METRIC_L2), ("IVF7,PQ4np", faiss.METRIC_L2)],
)
def test_a_model_of_the_hosted_service(tmp_path, factory, metric):
    index = faiss.index_factory(8, factory, metric)
    index.train(ROWS)
    index.add(ROWS)
    loaded = artifact.load(hosted(tmp_path, index, LABELS), "knn")
    loaded.self_test()
    assert loaded.model.width == 8
    told, labels = neighbours(loaded.model, QUERIES)
    wanted, numbers = faiss.read_index(str(tmp_path / "model_algo-1")).search(QUERIES, 3)
    found = (numbers >= 0).all(axis=1)
    assert found.sum() > 20
    np.testing.assert_allclose(told[found], wanted[found], rtol=1e-5)
    assert np.mean(labels[found] == LABELS[numbers[found]]) > 0.98


def test_a_hosted_model_of_the_cosine(tmp_path):
    """`normalize`: queries are brought to length 1 before they are compared."""
    index = faiss.IndexFlatIP(8)
    index.add(ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True))
    loaded = algorithm.load(hosted(tmp_path, index, np.arange(300), normalize=True))
    told, labels = neighbours(loaded, QUERIES * 100)
    wanted = neighbours(train(ROWS, k=3, index_metric="COSINE"), QUERIES)
    np.testing.assert_allclose(told, wanted[0], atol=1e-5)
    assert np.array_equal(labels, wanted[1])


def test_feature_dim_may_be_added_to_a_hosted_model_with_padding(tmp_path):
    """What the index is wider by is zeros."""
    index = faiss.IndexFlatL2(8)
    index.add(np.pad(ROWS[:, :6], ((0, 0), (0, 2))))
    loaded = algorithm.load(hosted(tmp_path, index, np.arange(300), feature_dim=6))
    assert loaded.width == 6
    wanted = neighbours(train(ROWS[:, :6], k=3), QUERIES[:, :6])
    found = neighbours(loaded, QUERIES[:, :6])
    assert np.array_equal(found[1], wanted[1])


def test_a_copy_without_the_manifest_loads(tmp_path):
    train(ROWS, LABELS, k=2).save(tmp_path)
    edit(tmp_path, feature_dim=8, comment="mine")
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert artifact.load(tmp_path / "copy", "knn").model.width == 8
