"""The artifact's bytes, what is refused as a model, and the answers."""

import io
import struct
import zipfile

import numpy as np
import pytest
from scipy import sparse

from algorithms import threads
from algorithms.errors import UserError
from algorithms.kmeans import nearest
from algorithms.kmeans.model import KMeansModel
from formats import Batch, ndarray

CENTERS = np.array([[0, 0], [3, 4], [3, 4]], np.float32)


def test_the_artifact_is_a_list_file_of_one_float32_array(tmp_path):
    KMeansModel(CENTERS).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model_algo-1"]
    assert (tmp_path / "model_algo-1").read_bytes() == b"".join(
        [
            struct.pack("<QQQ", 0x112, 0, 1),  # list file, reserved, one array
            struct.pack("<Iii2q", 0xF993FAC9, 0, 2, 3, 2),  # V2, dense, shape (3, 2)
            struct.pack("<iii", 1, 0, 0),  # cpu 0, float32
            struct.pack("<6f", 0, 0, 3, 4, 3, 4),
            struct.pack("<Q", 0),  # no names
        ]
    )
    (read,) = ndarray.load(tmp_path / "model_algo-1")
    assert read.dtype == np.float32
    assert np.array_equal(read, CENTERS)


@pytest.mark.parametrize("arrays", [[CENTERS], {"centroids": CENTERS}, [CENTERS.astype(np.float64)]])
def test_loads_a_list_or_a_dict_of_one_array(tmp_path, arrays):
    ndarray.save(tmp_path / "model_algo-1", arrays)
    model = KMeansModel.load(tmp_path)
    assert model.width == 2
    assert model.centers.dtype == np.float32
    assert model.centers.flags.c_contiguous
    assert np.array_equal(model.centers, CENTERS)


def zipped() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("params", ndarray.dumps([CENTERS]))
        return file.getvalue()


NO_NDARRAY = "not an MXNet NDArray file: it does not begin with 0x112 as such files do"
NO_CENTERS = "it must hold one array of shape (k, feature_dim)"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zipped(), NO_NDARRAY),
        (b"", NO_NDARRAY),
        (ndarray.dumps([CENTERS, CENTERS]), NO_CENTERS),
        (ndarray.dumps({"a": CENTERS, "b": CENTERS}), NO_CENTERS),
        (ndarray.dumps([]), NO_CENTERS),
        (ndarray.dumps([CENTERS[0]]), NO_CENTERS),
        (ndarray.dumps([CENTERS[None]]), NO_CENTERS),
        (ndarray.dumps([CENTERS[:0]]), NO_CENTERS),
        (ndarray.dumps([CENTERS[:, :0]]), NO_CENTERS),
    ],
    ids=["zip", "empty", "two", "dict of two", "none", "1-D", "3-D", "no centers", "no features"],
)
def test_refuses(tmp_path, content, problem):
    path = tmp_path / "model_algo-1"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        KMeansModel.load(tmp_path)
    assert str(error.value) == f"{path} is not a k-means model: {problem}"


def test_refuses_a_folder_without_a_model(tmp_path):
    with pytest.raises(UserError) as error:
        KMeansModel.load(tmp_path)
    assert str(error.value) == f"no k-means model in {tmp_path}: 'model_algo-1' is missing"


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_answers(kind):
    rows = np.array([[0, 0], [6, 8], [0, 2], [3, 3]], np.float32)
    answer = KMeansModel(CENTERS).predict(Batch(kind(rows)))
    assert list(answer) == ["closest_cluster", "distance_to_cluster"]
    assert [column.dtype for column in answer.values()] == [np.float32, np.float32]
    assert answer["closest_cluster"].tolist() == [0, 1, 0, 1]
    assert answer["distance_to_cluster"].tolist() == [0, 5, 2, 1]  # Euclidean, not squared: 25 and 4 would be


@pytest.fixture
def three_threads(monkeypatch):
    """Which look for the nearest centers of however few rows."""
    for module in (threads, nearest):
        monkeypatch.setattr(module, "WORTH", 0)
    monkeypatch.setattr(nearest, "threads_for", lambda size: 3)


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("offset", [0, 1000])
def test_rows_shared_out_among_threads(three_threads, k, offset):
    """Each is answered as by itself, and as NumPy would."""
    rng = np.random.default_rng(k)
    rows, centers = ((rng.normal(size=(n, 300)) + offset).astype(np.float32) for n in (1000, k))
    model = KMeansModel(centers)
    answer = model.predict(Batch(rows))
    exact = np.linalg.norm(rows.astype(np.float64)[:, None] - centers[None], axis=2)
    assert np.array_equal(answer["closest_cluster"], exact.argmin(axis=1))
    np.testing.assert_allclose(answer["distance_to_cluster"], exact.min(axis=1), rtol=1e-6)
    for i in (0, 499, 999):
        alone = model.predict(Batch(rows[i : i + 1]))
        assert all(alone[name][0] == column[i] for name, column in answer.items())


def test_values_that_are_too_large_for_a_thread(three_threads):
    rows = np.zeros((40_000, 2), np.float32)
    rows[-1] = 3e38
    with pytest.raises(UserError, match="too large"):
        KMeansModel(np.full((1, 2), -3e38, np.float32)).predict(Batch(rows))


def test_no_rows_no_answers():
    answer = KMeansModel(CENTERS).predict(Batch.empty(2))
    assert [column.shape for column in answer.values()] == [(0,), (0,)]


def test_values_that_are_too_large():
    """1e20 squared is beyond float32, 1e20 is not; the distance of 3e38 to -3e38 is."""
    model = KMeansModel(np.array([[-3e38, 0], [0, 1e20]], np.float32))
    [distance] = model.predict(Batch(np.array([[0, 3e20]], np.float32)))["distance_to_cluster"]
    assert distance == np.float32(2e20)
    for rows in (1, 40_000):  # the kernel for few rows, and BLAS
        with pytest.raises(UserError, match=r"^the values are too large: distances between them are beyond float32"):
            KMeansModel(np.full((1, 2), -3e38, np.float32)).predict(Batch(np.full((rows, 2), 3e38, np.float32)))
