"""Files and requests to rows in memory, beside the readers that users have: `formats` on one core, as in a job."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy import sparse

import formats
from benchmarks import synthetic
from benchmarks.floors import Floor
from benchmarks.measure import Peer, Row, Size
from formats import Batch, Expected, record_pb2, recordio
from formats.batch import concatenate

WIDTH, BATCH = 784, 5000
os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Each format; the work is told in MB of the file."""
    X, _ = synthetic.digits(size(10_000, 500))
    thin = sparse.csr_array(X)
    yield from of_recordio("dense", X, base / "dense")
    yield from of_recordio("sparse", thin, base / "sparse")
    yield from of_csv(base / "rows.csv", size)
    yield from of_libsvm(base / "rows.libsvm", size)
    yield from of_lines(base / "rows.jsonl", X[: size(5000, 200)])
    yield from of_json(X[: size(1000, 50)])


def read(path: Path, content_type: str, expected: Expected) -> Batch:
    """As a channel reads, and the batches put together."""
    with path.open("rb", buffering=0) as stream:
        return concatenate(list(formats.read(stream, content_type, BATCH, expected)))


def row(name: str, path: Path, content_type: str, expected: Expected, peers: dict[str, Any]) -> Row:
    """The floor: the file is read once, the rows are written once."""
    found = read(path, content_type, expected).features
    stored = found.nbytes if isinstance(found, np.ndarray) else found.data.nbytes + found.indices.nbytes
    bytes_ = path.stat().st_size
    return Row(
        f"{name}, {bytes_ / 1e6:.1f} MB",
        bytes_ / 1e6,
        "MB",
        lambda: read(path, content_type, expected),
        peers,
        Floor(bytes=float(bytes_ + stored)),
    )


def of_recordio(kind: str, X: Any, path: Path) -> Iterator[Row]:
    """Beside the SDK's reader, and what every user of it writes next; and the same loop over our own message."""
    path.write_bytes(recordio.encode_features(X))

    def with_sdk() -> None:
        from sagemaker.amazon.common import read_records

        with path.open("rb") as stream:
            matrix(read_records(stream))

    def with_protobuf() -> None:
        records = []
        with path.open("rb") as stream:
            while header := stream.read(8):
                length = struct.unpack("<II", header)[1]
                records.append(record_pb2.Record.FromString(stream.read(length)))
                stream.read(-length % 4)
        matrix(records)

    peers = {"SageMaker SDK read_records": with_sdk, "protobuf, one by one": with_protobuf}
    yield row(f"RecordIO, {kind}", path, recordio.MEDIA_TYPES[0], Expected(WIDTH), peers)


def matrix(records: list[Any]) -> Any:
    """The records as one array, dense or sparse as they are."""
    tensors = [record.features["values"].float32_tensor for record in records]
    if not tensors[0].keys:
        return np.array([tensor.values for tensor in tensors], np.float32)
    starts = np.cumsum([0] + [len(tensor.keys) for tensor in tensors])
    keys = np.concatenate([np.array(tensor.keys, np.int64) for tensor in tensors])
    values = np.concatenate([np.array(tensor.values, np.float32) for tensor in tensors])
    return sparse.csr_array((values, keys, starts), shape=(len(records), WIDTH))


def of_csv(path: Path, size: Size) -> Iterator[Row]:
    """Beside pandas' C reader and pyarrow, on one core as ours; both are told float32."""

    def with_pandas() -> object:
        import pandas as pd

        table = pd.read_csv(path, header=None, dtype=np.float32, engine="c")
        return np.ascontiguousarray(table.to_numpy())

    def with_pyarrow() -> object:
        import pyarrow as pa
        from pyarrow import csv

        with path.open("rb") as file:
            names = [str(i) for i in range(file.readline().count(b",") + 1)]
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False, column_names=names),
            convert_options=csv.ConvertOptions(column_types={name: pa.float32() for name in names}),
        )
        found = np.empty(table.shape, np.float32)
        for i, column in enumerate(table.columns):
            found[:, i] = column.to_numpy()
        return found

    peers = {"pandas, C engine": with_pandas, "pyarrow": with_pyarrow}
    synthetic.write_levels(path, synthetic.digits(size(10_000, 300))[0])
    yield row("CSV, 784 pixels", path, "text/csv;label_size=0", Expected(), peers)
    synthetic.write_csv(path, synthetic.normal(size(200_000, 3000), 10)[0], form="%.6f")
    yield row("CSV, 10 floats", path, "text/csv;label_size=0", Expected(), peers)


def of_libsvm(path: Path, size: Size) -> Iterator[Row]:
    """Beside scikit-learn's, told what it would otherwise find out."""

    def with_scikit_learn() -> object:
        from sklearn.datasets import load_svmlight_file

        return load_svmlight_file(str(path), dtype=np.float32, zero_based=True)

    synthetic.write_libsvm(path, synthetic.fields(size(50_000, 1000), 126, 21))
    peers = {"scikit-learn load_svmlight_file": with_scikit_learn}
    yield row("LibSVM, 21 of 126", path, "text/libsvm", Expected(), peers)


def of_lines(path: Path, X: np.ndarray) -> Iterator[Row]:
    """Beside pandas, and a loop over orjson."""
    path.write_bytes(b"".join(orjson.dumps({"features": each.tolist()}) + b"\n" for each in X))

    def with_orjson() -> object:
        with path.open("rb") as file:
            return np.array([orjson.loads(line)["features"] for line in file], np.float32)

    def with_pandas() -> object:
        import pandas as pd

        return np.array(pd.read_json(path, lines=True)["features"].tolist(), np.float32)

    peers = {"orjson and NumPy": with_orjson, "pandas read_json": with_pandas}
    yield row("JSON Lines, 784 pixels", path, "application/jsonlines", Expected(WIDTH), peers)


def of_json(X: np.ndarray) -> Iterator[Row]:
    """A request, beside what a handler would do."""
    body = orjson.dumps({"instances": [{"features": each.tolist()} for each in X]})

    def with_orjson() -> object:
        return np.array([each["features"] for each in orjson.loads(body)["instances"]], np.float32)

    yield Row(
        f"JSON request of {len(X):,} rows of 784, {len(body) / 1e6:.1f} MB",
        len(body) / 1e6,
        "MB",
        lambda: formats.decode(body, "application/json", Expected(WIDTH)),
        {"orjson and NumPy": Peer(with_orjson)},
        Floor(bytes=float(len(body) + X.nbytes)),
    )
