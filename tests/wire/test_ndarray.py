"""MXNet NDArray files: golden files, damaged files, and real MXNet 1.9.1 in a Python of its own."""

import io
import json
import os
import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats import ndarray
from formats.errors import FormatError

HERE = Path(__file__).parent
VALID = sorted((HERE / "valid" / "ndarray").glob("*.nd"))
INVALID = sorted((HERE / "invalid" / "ndarray").glob("*.nd"))
SPARSE = {"csr", "csr_empty", "row_sparse", "row_sparse_empty"}
OTHER_WRITER = {"before_v1", "v1", "saved_on_gpu"}  # MXNet 1.9.1 reads them but writes V2 on a CPU
VIEW = np.arange(12, dtype=np.float32).reshape(3, 4)
WRITTEN = {
    "list": [np.array([[1.5, -2], [3, np.inf]], np.float32), np.array([1, 2], np.int64)],
    "dict": {"mean": np.zeros((1, 3), np.float32), "v": np.eye(3, dtype=np.float32), "é": np.ones(1, np.float32)},
    "types": [np.array([0, 1, 100]).astype(dtype) for dtype in ndarray.TYPES],
    "shapes": [np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.ones(5), np.ones((1, 1, 1, 1), np.int32)],
    "views": [VIEW.T, VIEW[:, 1::2], VIEW[::-1].astype(">f4")],
    "numpy_semantics": {"zero_d": np.array(2.5, np.float32), "none": np.zeros((0, 3)), "one": np.ones(2, np.float16)},
}


def by_name(path):
    return path.stem


def described(found):
    named = isinstance(found, dict)
    arrays = [np.asarray(array) for array in (found.values() if named else found)]
    return {
        "names": list(found) if named else None,
        "arrays": [{"dtype": a.dtype.name, "shape": list(a.shape), "values": a.tolist()} for a in arrays],
    }


def golden(path):
    expected = json.loads(path.with_suffix(".expected.json").read_text())
    del expected["source"]
    return expected


def test_a_list_of_one_array_byte_for_byte():
    """The layout of the module's docstring, spelled out."""
    data = bytes.fromhex(
        "1201000000000000 0000000000000000 0100000000000000"  # file magic, reserved, one array
        "c9fa93f9 00000000 02000000 0100000000000000 0200000000000000"  # V2, dense, two dimensions: 1 and 2
        "01000000 00000000 00000000 0000803f 00000040"  # CPU 0, float32, 1.0, 2.0
        "0000000000000000"  # no names
    )
    array = np.array([[1, 2]], np.float32)
    assert ndarray.dumps([array]) == data
    (read,) = ndarray.loads(data)
    assert read.dtype == np.float32
    assert read.tolist() == [[1, 2]]


@pytest.mark.parametrize("path", VALID, ids=by_name)
def test_valid(path):
    found = ndarray.load(path)
    assert described(found) == golden(path)
    for array in found.values() if isinstance(found, dict) else found:
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert array.flags.aligned


@pytest.mark.parametrize("path", [path for path in VALID if path.stem not in SPARSE | OTHER_WRITER], ids=by_name)
def test_bytes_written_are_those_of_mxnet(path, tmp_path):
    ndarray.save(tmp_path / "model_algo-1", ndarray.load(path))
    assert (tmp_path / "model_algo-1").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", INVALID, ids=by_name)
def test_invalid(path):
    with pytest.raises(FormatError) as error:
        ndarray.load(path)
    assert f"{error.value}\n" == path.with_suffix(".error.txt").read_text()


def test_a_row_sparse_array_without_a_dimension():
    """NumPy semantics know the shape (); of its rows there are none."""
    data = bytes.fromhex(
        "1201000000000000 0000000000000000 0100000000000000"  # file magic, reserved, one array
        "cafa93f9 01000000 01000000 0100000000000000 00000000"  # V3, row-sparse, values of shape (1,), shape ()
        "01000000 00000000 00000000 06000000 01000000 0100000000000000"  # CPU 0, float32, row numbers: int64 (1,)
        "0000803f 0000000000000000"  # 1.0 in row 0
        "0000000000000000"  # no names
    )
    with pytest.raises(FormatError, match=r"a row-sparse array of shape \(\) has 1 row numbers"):
        ndarray.loads(data)


@pytest.mark.parametrize("path", VALID, ids=by_name)
def test_cut_off_anywhere(path):
    data = path.read_bytes()
    for end in range(len(data)):
        with pytest.raises(FormatError):
            ndarray.loads(data[:end])


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(VALID), st.data())
def test_damage_is_read_or_refused(path, data):
    damaged = bytearray(path.read_bytes())
    place = data.draw(st.integers(24, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    with suppress(FormatError):
        ndarray.loads(bytes(damaged))


@pytest.mark.parametrize("name", WRITTEN)
def test_reads_what_it_writes(name):
    assert described(ndarray.loads(ndarray.dumps(WRITTEN[name]))) == described(WRITTEN[name])


@pytest.mark.parametrize("dtype", ["uint32", "complex64", "U3", "O"])
def test_a_dtype_mxnet_has_not(dtype):
    with pytest.raises(ValueError, match=f"^dtype must be one of float32, .*, bool, got {np.dtype(dtype)}$"):
        ndarray.dumps([np.zeros(2, dtype)])


def test_more_elements_than_mxnet_reads():
    many = np.broadcast_to(np.float32(0), (2**16, 2**15))
    with pytest.raises(
        ValueError, match=r"^an array must have at most 2147483647 elements, got shape \(65536, 32768\)$"
    ):
        ndarray.dumps([many])


def test_a_file_within_a_file():
    """Is written at the place where that one is, and read from there, with nothing of what follows."""
    file = io.BytesIO()
    file.write(b"before")
    ndarray.write(file, WRITTEN["dict"])
    size = file.tell() - 6
    file.write(b"after")
    file.seek(6)
    assert described(ndarray.read(file, size)) == described(WRITTEN["dict"])
    assert file.read() == b"after"
    assert file.getvalue()[6:-5] == ndarray.dumps(WRITTEN["dict"])


@pytest.mark.parametrize("size", [4, ndarray.PIECE - 4, ndarray.PIECE, ndarray.PIECE + 4, 3 * ndarray.PIECE])
def test_arrays_of_several_pieces(size):
    array = np.arange(size // 4, dtype=np.int32)
    (read,) = ndarray.loads(ndarray.dumps([array]))
    assert np.array_equal(read, array)


@pytest.mark.parametrize("missing", [1, 8, 100, ndarray.PIECE, ndarray.PIECE + 200])
def test_a_file_that_is_shorter_than_it_was(missing):
    data = ndarray.dumps({"v": np.zeros(ndarray.PIECE // 4 + 100, np.float32)})
    with pytest.raises(FormatError, match="the file is cut off: expected "):
        ndarray.read(io.BytesIO(data[:-missing]), len(data))


def test_neither_writing_nor_reading_a_file_copies_an_array(tmp_path):
    arrays = {"v": np.ones((1 << 20, 8), np.float32)}
    tracemalloc.start()
    try:
        ndarray.save(tmp_path / "large", arrays)
        assert tracemalloc.get_traced_memory()[1] < 2 * ndarray.PIECE
        tracemalloc.reset_peak()
        read = ndarray.load(tmp_path / "large")
        assert tracemalloc.get_traced_memory()[1] < arrays["v"].nbytes + 4 * ndarray.PIECE
    finally:
        tracemalloc.stop()
    assert np.array_equal(read["v"], arrays["v"])


@pytest.fixture(scope="module")
def mxnet():
    """Run mxnet_reader.py with real MXNet."""
    python = os.environ.get("INBUILT_MXNET_PYTHON") or str(HERE.parents[1] / ".venv-mxnet" / "bin" / "python")
    if not Path(python).exists():
        pytest.skip(f"no {python} with mxnet==1.9.1 and numpy==1.23.5; `make test` makes it")

    def run(*arguments):
        command = [python, str(HERE / "mxnet_reader.py"), *map(str, arguments)]
        # MXNet must not see the packages of the Python that runs the tests.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    return run


def test_mxnet_reads_what_we_write(mxnet, tmp_path):
    for name, arrays in WRITTEN.items():
        ndarray.save(tmp_path / name, arrays)
    found = json.loads(mxnet("read", *[tmp_path / name for name in WRITTEN]))
    assert dict(zip(WRITTEN, found, strict=True)) == {name: described(arrays) for name, arrays in WRITTEN.items()}


def test_mxnet_reads_the_golden_files_as_we_do(mxnet):
    found = json.loads(mxnet("read", *VALID))
    assert dict(zip(VALID, found, strict=True)) == {path: golden(path) for path in VALID}


def test_mxnet_writes_the_golden_files(mxnet, tmp_path):
    mxnet("write", tmp_path)
    written = {path.stem: path.read_bytes() for path in tmp_path.glob("*.nd")}
    assert written == {path.stem: path.read_bytes() for path in VALID if path.stem not in OTHER_WRITER}
