"""Real MXNet reading and writing NDArray files for test_ndarray.py, which runs this with the Python that has it.

mxnet_reader.py read FILE...    prints, as one JSON line, what MXNet finds in each file
mxnet_reader.py write FOLDER    writes the golden files of `valid/ndarray` that MXNet can write
"""

import json
import sys
from pathlib import Path

import mxnet as mx
import numpy as np


def described(array):
    """An array as `test_ndarray.py` compares it; a row-sparse or CSR one as the dense one it stands for."""
    values = array.asnumpy()
    return {"dtype": str(values.dtype), "shape": list(values.shape), "values": values.tolist()}


def read(path):
    """Names (None: a list) and arrays of a file. A file is in either of two semantics, and tells by refusing."""
    try:
        found = mx.nd.load(path)
    except mx.MXNetError:
        with mx.util.np_shape(True):
            found = mx.nd.load(path)
            return answer(found)
    return answer(found)


def answer(found):
    """A loaded list or dict as JSON; MXNet gives an empty list for an empty dict."""
    named = isinstance(found, dict)
    return {
        "names": list(found) if named else None,
        "arrays": [described(array) for array in (found.values() if named else found)],
    }


def write(folder):
    """The same bytes each time: no random number is drawn."""
    nd = mx.nd
    centroids = np.arange(6, dtype=np.float32).reshape(2, 3) / 4 - 0.5
    principal = {"mean": centroids[:1], "v": centroids.T, "s": np.array([1.5, 2.5], np.float32)}
    types = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
    sparse = nd.sparse
    files = {
        "list": [nd.array(centroids)],
        "dict": {name: nd.array(values) for name, values in principal.items()},
        "dict_utf8_names": {"é": nd.array([1]), "": nd.array([2])},
        "empty_list": [],
        "types": [nd.array([[0, 1, 100]], dtype=dtype) for dtype in types],
        "three_dimensions": [nd.array(np.arange(24).reshape(2, 3, 4))],
        "row_sparse": [sparse.row_sparse_array(([[1, 2], [3, 4]], [1, 4]), shape=(6, 2)), nd.array([7])],
        "row_sparse_empty": [sparse.zeros("row_sparse", (3, 2))],
        "csr": {"v": sparse.csr_matrix(([1, 2, 3], [0, 2, 1], [0, 1, 1, 3]), shape=(3, 3), dtype="float64")},
        "csr_empty": [sparse.zeros("csr", (3, 2))],
    }
    for name, arrays in files.items():
        nd.save(str(folder / f"{name}.nd"), arrays)
    mx.npx.set_np()
    mx.npx.save(str(folder / "numpy_semantics.nd"), [mx.np.array(2.0), mx.np.zeros((0, 3)), mx.np.ones((2,))])


if __name__ == "__main__":
    if sys.argv[1] == "read":
        print(json.dumps([read(path) for path in sys.argv[2:]]))  # noqa: T201
    else:
        write(Path(sys.argv[2]))
