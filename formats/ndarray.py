"""The file format of `mxnet.ndarray.save`: what model artifacts are written in, read and written without MXNet.

Little-endian, as NDArray::Save in MXNet's src/ndarray/ndarray.cc writes it:

    file:   uint64 0x112, uint64 0, uint64 count, arrays, uint64 count of names (0: a list), names
    name:   uint64 length, UTF-8
    array:  uint32 magic, int32 storage type, [shape of stored values,] shape, int32 device type, int32 device id,
            int32 type flag, [int32 type flag and shape of each index array,] values, [index arrays]
    shape:  int32 count of dimensions, int64 each

What stands in brackets is there for sparse arrays only: row-sparse has one index array (row numbers), CSR has two
(row starts, column numbers). Magic V2 is what 1.x writes; V3 is the same under NumPy semantics, where an array may have
no dimension or one of size 0; V1 has no storage type; before V1 the magic itself is the count of uint32 dimensions.
"""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from formats.errors import FormatError

Array = NDArray[np.generic]
Arrays = list[Array] | dict[str, Array]

FILE_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DENSE, ROW_SPARSE, CSR = 0, 1, 2
CPU = 1
TYPES = tuple(np.dtype(code) for code in ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?"))  # by type flag
MAX_DIMENSIONS = 32
# MXNet's own limit. A sparse array may be small in the file and huge in memory; only this bounds it.
MAX_ELEMENTS = 2**31 - 1
PIECE = 1 << 20  # bytes read at once: a packed file unpacks them to memory of its own first


def load(path: str | Path) -> Arrays:
    """The arrays of a file: a list, or a dict in the file's order if they are named. See `read`."""
    with open(path, "rb") as file:
        return read(file, os.fstat(file.fileno()).st_size)


def save(path: str | Path, arrays: Sequence[Array] | dict[str, Array]) -> None:
    """Write a list or dict of arrays; see `write`."""
    with open(path, "wb") as file:
        write(file, arrays)


def loads(data: bytes) -> Arrays:
    """The arrays in the bytes of a file; see `read`."""
    return read(io.BytesIO(data), len(data))


def dumps(arrays: Sequence[Array] | dict[str, Array]) -> bytes:
    """The bytes of a file of these arrays; see `write`."""
    file = io.BytesIO()
    write(file, arrays)
    return file.getvalue()


def read(file: IO[bytes], size: int) -> Arrays:
    """The arrays in the next `size` bytes of an open file, writable and of their own dtypes; sparse ones become dense.

    Values are read straight into their arrays. The device an array was saved from is passed over. Raises FormatError;
    `row` is the 1-based array in the file.
    """
    source = _Source(file, size)
    if size < 24 or source.number("<Q") != FILE_MAGIC:
        raise FormatError("not an MXNet NDArray file: it does not begin with 0x112 as such files do")
    source.number("<Q")
    # An array takes at least 4 bytes, a name 8: a count that does not fit is refused before anything is made of it.
    count = source.count(4, "arrays")
    arrays = []
    for row in range(1, count + 1):
        try:
            arrays.append(_read_array(source))
        except FormatError as error:
            raise FormatError(error.problem, row=row) from None
    names = [_read_name(source) for _ in range(source.count(8, "names"))]
    if source.left:
        raise FormatError(f"{source.left} bytes follow the last name; the file is damaged")
    if not names:
        return arrays
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise FormatError(f"expected {len(arrays)} different names, found {len(set(names))}; the file is damaged")
    return dict(zip(names, arrays, strict=True))


def write(file: IO[bytes], arrays: Sequence[Array] | dict[str, Array]) -> None:
    """Writes what MXNet 1.9.1 writes for the same dense arrays; ValueError for a dtype or a size that it has not.

    Arrays that are C-contiguous and little-endian are not copied. Arrays without a dimension or with one of size 0 mean
    "unknown" to V2: a file with such an array is written in V3 throughout, because MXNet reads a file in one of the two
    semantics.
    """
    values = [np.asarray(value) for value in (arrays.values() if isinstance(arrays, dict) else arrays)]
    names = list(arrays) if isinstance(arrays, dict) else []
    magic = V3 if any(value.size == 0 or value.ndim == 0 for value in values) else V2
    file.write(struct.pack("<QQQ", FILE_MAGIC, 0, len(values)))
    for value in values:
        dtype = value.dtype.newbyteorder("<")
        if dtype not in TYPES:
            raise ValueError(f"dtype must be one of {', '.join(map(str, TYPES))}, got {value.dtype}")
        if value.size > MAX_ELEMENTS:
            raise ValueError(f"an array must have at most {MAX_ELEMENTS} elements, got shape {value.shape}")
        file.write(struct.pack(f"<Iii{value.ndim}q", magic, DENSE, value.ndim, *value.shape))
        file.write(struct.pack("<iii", CPU, 0, TYPES.index(dtype)))
        file.write(_bytes_of(np.asarray(value, dtype, order="C")))
    file.write(struct.pack("<Q", len(names)))
    for encoded in (name.encode() for name in names):
        file.write(struct.pack("<Q", len(encoded)) + encoded)


def _bytes_of(array: Array) -> memoryview:
    """The memory of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data


class _Source:
    """An open file and how many of its bytes are left; nothing is taken that is not there."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self.left = size

    def require(self, size: int) -> None:
        if size > self.left:
            raise FormatError(f"the file is cut off: expected {size} more bytes, found {self.left}")

    def take(self, size: int) -> bytes:
        self.require(size)
        taken = self._file.read(size)
        if len(taken) < size:
            raise FormatError(f"the file is cut off: expected {size} more bytes, found {len(taken)}")
        self.left -= size
        return taken

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def count(self, smallest: int, things: str) -> int:
        count = self.number("<Q")
        if count * smallest > self.left:
            raise FormatError(f"the file is cut off: expected {count} {things} in {self.left} bytes")
        return count

    def shape(self, dimensions: int | None = None, size: str = "q") -> tuple[int, ...]:
        """A shape; the count of its dimensions is read first unless it is given."""
        count = self.number("<i") if dimensions is None else dimensions
        if not 0 <= count <= MAX_DIMENSIONS:
            raise FormatError(f"an array must have 0 to {MAX_DIMENSIONS} dimensions, found {count}")
        shape = struct.unpack(f"<{count}{size}", self.take(struct.calcsize(f"<{count}{size}")))
        if min(shape, default=0) < 0:
            raise FormatError(f"a dimension must be 0 or more, found shape {shape}")
        if math.prod(max(length, 1) for length in shape) > MAX_ELEMENTS:
            raise FormatError(f"an array must have at most {MAX_ELEMENTS} elements, found shape {shape}")
        return shape

    def dtype(self) -> np.dtype[np.generic]:
        flag = self.number("<i")
        if not 0 <= flag < len(TYPES):
            raise FormatError(f"the type flag must be 0 to {len(TYPES) - 1}, found {flag}")
        return TYPES[flag]

    def array(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        self.require(math.prod(shape) * dtype.itemsize)
        array = np.empty(shape, dtype)
        memory = _bytes_of(array)
        for start in range(0, len(memory), PIECE):
            piece = memory[start : start + PIECE]
            piece[:] = self.take(len(piece))
        return array


def _read_name(source: _Source) -> str:
    try:
        return str(source.take(source.number("<Q")), "utf-8")
    except UnicodeDecodeError:
        raise FormatError("the name of an array is not UTF-8; the file is damaged") from None


def _read_array(source: _Source) -> Array:
    magic = source.number("<I")
    storage = DENSE
    if magic in (V2, V3):
        storage = source.number("<i")
        if storage not in (DENSE, ROW_SPARSE, CSR):
            raise FormatError(f"the storage type must be 0 (dense), 1 (row-sparse) or 2 (CSR), found {storage}")
    elif magic != V1 and not 0 <= magic <= MAX_DIMENSIONS:
        raise FormatError(f"an array must begin with a magic number of MXNet, found 0x{magic:08x}")
    stored = source.shape() if storage != DENSE else ()
    shape = source.shape() if magic >= V1 else source.shape(magic, "I")
    # MXNet ends an array here whose shape it does not know: no dimension, except in NumPy semantics.
    if not shape and magic != V3:
        return np.empty(0, np.float32)
    source.take(8)  # the device it was on
    dtype = source.dtype()
    if storage == DENSE:
        return source.array(shape, dtype)
    kinds = [(source.dtype(), source.shape()) for _ in range(storage)]  # 1 index array or 2, as the storage type says
    values = source.array(stored, dtype)
    indices = [source.array(index_shape, index_dtype) for index_dtype, index_shape in kinds]
    if any(index.dtype.kind not in "iu" or index.ndim != 1 for index in indices):
        raise FormatError("the index arrays of a sparse array must be lists of whole numbers")
    whole = [index.astype(np.int64) for index in indices]
    return _row_sparse(values, whole[0], shape) if storage == ROW_SPARSE else _csr(values, whole[0], whole[1], shape)


def _row_sparse(values: Array, rows: NDArray[np.int64], shape: tuple[int, ...]) -> Array:
    """Row rows[i] of the result is values[i], the others are 0."""
    dense = np.zeros(shape, values.dtype)
    if rows.size == 0:  # MXNet gives the values of an empty array another shape
        return dense
    if not shape or values.shape != (rows.size, *shape[1:]):
        raise FormatError(f"a row-sparse array of shape {shape} has {rows.size} row numbers, but values {values.shape}")
    if not (rows.min() >= 0 and rows.max() < shape[0]):
        raise FormatError(f"row numbers of a row-sparse array must be in 0..{shape[0] - 1}")
    dense[rows] = values
    return dense


def _csr(values: Array, starts: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, ...]) -> Array:
    """Row i of the result holds values[starts[i]:starts[i + 1]] in the columns of the same places."""
    if len(shape) != 2 or values.shape != columns.shape or starts.shape != (shape[0] + 1,):
        raise FormatError(
            f"a CSR array of shape {shape} has {starts.size} starts, {columns.size} columns, {values.size} values"
        )
    if starts[0] != 0 or starts[-1] != values.size or (np.diff(starts) < 0).any():
        raise FormatError(f"row starts of a CSR array must rise from 0 to {values.size}, its count of values")
    if columns.size and not (columns.min() >= 0 and columns.max() < shape[1]):
        raise FormatError(f"columns of a CSR array must be in 0..{shape[1] - 1}")
    dense = np.zeros(shape, values.dtype)
    dense[np.repeat(np.arange(shape[0]), np.diff(starts)), columns] = values
    return dense
