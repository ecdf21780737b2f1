"""The artifact's bytes, what is refused as a model, and the answers."""

import struct

import numpy as np
import pytest
from scipy import sparse

import algorithms
from algorithms.errors import UserError
from algorithms.pca.fit import fit
from algorithms.pca.model import PCAModel
from formats import Batch, ndarray

MEAN = np.array([[1, 2, 3]], np.float32)
V = np.array([[0, 0.6], [1, 0], [0, 0.8]], np.float32)
S = np.array([0.5, 7], np.float32)
ARRAYS = {"mean": MEAN, "v": V, "s": S}


@pytest.fixture
def model():
    return PCAModel(MEAN, V, S)


def array_bytes(array):
    shape = struct.pack(f"<Iii{array.ndim}q", 0xF993FAC9, 0, array.ndim, *array.shape)  # V2, dense
    return shape + struct.pack("<iii", 1, 0, 0) + array.astype("<f4").tobytes()  # cpu 0, float32, in C order


def test_the_artifact_is_a_dict_file_of_three_float32_arrays(tmp_path, model):
    model.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model_algo-1"]
    names = [struct.pack("<Q", len(name)) + name.encode() for name in ARRAYS]
    assert (tmp_path / "model_algo-1").read_bytes() == b"".join(
        [struct.pack("<QQQ", 0x112, 0, 3), *map(array_bytes, ARRAYS.values()), struct.pack("<Q", 3), *names]
    )


def test_what_was_saved_is_loaded(tmp_path, model):
    model.save(tmp_path)
    loaded = PCAModel.load(tmp_path)
    assert loaded.width == model.width == 3
    for name, array in ARRAYS.items():
        found = getattr(loaded, name)
        assert (found.dtype, found.shape) == (np.float32, array.shape)
        assert np.array_equal(found, array)


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_a_trained_model_is_saved_whole_and_equal_each_time(tmp_path, make_job, configure, mode):
    rows = np.random.default_rng(0).normal(size=(100, 99)).astype(np.float32)
    given = configure(feature_dim=99, num_components=4, algorithm_mode=mode, seed=3)
    contents = []
    for name in ("one", "other"):
        trained = fit(make_job(rows), given)
        (tmp_path / name).mkdir()
        trained.save(tmp_path / name)
        contents.append((tmp_path / name / "model_algo-1").read_bytes())
    assert contents[0] == contents[1]
    arrays = ndarray.loads(contents[0])
    assert {name: array.shape for name, array in arrays.items()} == {"mean": (1, 99), "v": (99, 4), "s": (4,)}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    loaded = PCAModel.load(tmp_path / "one")
    assert np.array_equal(loaded.predict(Batch(rows))["projection"], trained.predict(Batch(rows))["projection"])


@pytest.mark.parametrize(
    "arrays",
    [
        {"s": S, "v": V, "mean": MEAN},
        {"mean": MEAN.astype(np.float64), "v": V.astype(np.float64), "s": S.astype(np.float64)},
        {"mean": MEAN, "v": -V, "s": S},
    ],
    ids=["another order", "float64", "other signs"],
)
def test_a_model_of_the_hosted_service_is_loaded(tmp_path, arrays):
    """There is no manifest beside it; order, signs and type are its own."""
    ndarray.save(tmp_path / "model_algo-1", arrays)
    loaded = algorithms.find("pca").load(tmp_path)
    answer = loaded.predict(Batch(np.array([[1, 3, 8]], np.float32)))
    np.testing.assert_allclose(answer["projection"], np.array([[1, 4]]) * np.sign(arrays["v"].sum()), rtol=1e-6)
    assert answer["projection"].dtype == np.float32


DAMAGED = [
    b"",
    b"PK\x03\x04 something else",
    ndarray.dumps(ARRAYS)[:-9],
    ndarray.dumps(ARRAYS)[:60],
    ndarray.dumps(ARRAYS) + b"x",
]
MISFITS = {
    "a list": [MEAN, V, S],
    "nothing": {},
    "no mean": {"v": V, "s": S},
    "no v": {"mean": MEAN, "s": S},
    "no s": {"mean": MEAN, "v": V},
    "another name": {"mean": MEAN, "V": V, "s": S},
    "a mean of another width": {**ARRAYS, "mean": MEAN[:, :2]},
    "two means": {**ARRAYS, "mean": np.tile(MEAN, (2, 1))},
    "v on its side": {**ARRAYS, "v": V.T.copy()},
    "v of one dimension": {**ARRAYS, "v": V[:, 0]},
    "v of three dimensions": {**ARRAYS, "v": V[None]},
    "another number of s": {**ARRAYS, "s": S[:1]},
    "s of two dimensions": {**ARRAYS, "s": S[None]},
    "no components": {**ARRAYS, "v": V[:, :0], "s": S[:0]},
    "numbers that are none": {**ARRAYS, "v": V * np.float32(np.nan)},
    "no features": {**ARRAYS, "v": V[:0], "mean": MEAN[:, :0]},
}


@pytest.mark.parametrize(
    "content",
    [*DAMAGED, *map(ndarray.dumps, MISFITS.values())],
    ids=["empty", "zip", "cut", "cut in an array", "longer", *MISFITS],
)
def test_refuses(tmp_path, content):
    path = tmp_path / "model_algo-1"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        PCAModel.load(tmp_path)
    assert str(error.value).startswith(f"{path} is not a PCA model: ")
    assert "\n" not in str(error.value)


def test_refuses_a_folder_without_a_model(tmp_path):
    with pytest.raises(UserError) as error:
        PCAModel.load(tmp_path)
    assert str(error.value) == f"no PCA model in {tmp_path}: 'model_algo-1' is missing"


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_answers_by_hand(model, kind):
    """(x - mean) v, the greatest component last."""
    rows = np.array([[1, 2, 3], [2, 0, 0], [0, 0, 0], [6, 7, 3]], np.float32)
    answer = model.predict(Batch(kind(rows)))
    assert list(answer) == ["projection"]
    assert (answer["projection"].dtype, answer["projection"].shape) == (np.float32, (4, 2))
    np.testing.assert_allclose(answer["projection"], [[0, 0], [-2, -1.8], [-2, -3], [5, 3]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("offset", [0, 1e4, 1e6])
def test_answers_do_not_depend_on_the_rows_beside_them_nor_on_the_offset(n, offset):
    """One row, as a request has it, and 100: float32 holds the rows to 0.06 at 1e6, and their distances to more."""
    random = np.random.default_rng(n)
    v = np.linalg.qr(random.normal(size=(400, n)))[0]
    model = PCAModel(np.full((1, 400), offset, np.float32), v.astype(np.float32), np.ones(n, np.float32))
    rows = (offset + random.normal(size=(100, 400))).astype(np.float32)
    wanted = (rows.astype(np.float64) - offset) @ model.v.astype(np.float64)
    for found in (
        model.predict(Batch(rows))["projection"],
        np.concatenate([model.predict(Batch(rows[[i]]))["projection"] for i in range(100)]),
    ):
        assert found.shape == (100, n)
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("density", [0, 0.02, 1])
@pytest.mark.parametrize("offset", [0, 3])
def test_sparse_requests_are_dense_ones(density, offset):
    random = np.random.default_rng(1)
    v = np.linalg.qr(random.normal(size=(500, 7)))[0].astype(np.float32)
    model = PCAModel(np.full((1, 500), offset, np.float32), v, np.ones(7, np.float32))
    rows = (random.normal(size=(200, 500)) * (random.random((200, 500)) < density)).astype(np.float32)
    dense, found = (model.predict(Batch(kind(rows)))["projection"] for kind in (np.asarray, sparse.csr_array))
    assert type(found) is np.ndarray
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(found, dense, atol=2e-5)


def test_no_rows_no_answers(model):
    assert model.predict(Batch.empty(3))["projection"].shape == (0, 2)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("rows", [1, 20_000])
@pytest.mark.parametrize(("mean", "value"), [(0, 3.4e38), (-3.4e38, 3.4e38)])
def test_values_that_are_too_large(kind, rows, mean, value):
    """0.6 + 0.8 times the greatest float32 is beyond float32, and so is the distance between it and its negative."""
    model = PCAModel(np.full((1, 3), mean, np.float32), V, S)
    with pytest.raises(UserError, match=r"^the values are too large: .*[Pp]lease scale the data\.$"):
        model.predict(Batch(kind(np.full((rows, 3), value, np.float32))))


def test_large_values_that_float32_can_hold(model):
    answer = model.predict(Batch(np.array([[1e38, 2, 3]], np.float32)))
    np.testing.assert_allclose(answer["projection"], [[0, 6e37]], rtol=1e-6)
