"""RecordIO decoding beside the reader users have: the SageMaker SDK's, and the same loop over our generated message.

`python benchmarks/decode_recordio.py [--rows N]` writes a file of 784-wide float32 records (and a sparse one), reads it
with each reader in turn, and prints medians of five rounds. The SDK's takes part if `sagemaker<3` can be imported.
"""

from __future__ import annotations

import argparse
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from formats import Expected, record_pb2, recordio

WIDTH = 784
ROUNDS = 5
BATCH = 5000  # rows, the mini-batch of the built-in k-means


def ours(path: Path) -> None:
    with path.open("rb", buffering=0) as stream:
        for _ in recordio.read(stream, BATCH, Expected(WIDTH)):
            pass


def matrix(records: list[Any]) -> None:
    """What every user of the SDK's reader writes next."""
    tensors = [record.features["values"].float32_tensor for record in records]
    if tensors[0].keys:
        starts = np.cumsum([0] + [len(tensor.keys) for tensor in tensors])
        keys = np.concatenate([np.array(tensor.keys, np.int64) for tensor in tensors])
        values = np.concatenate([np.array(tensor.values, np.float32) for tensor in tensors])
        sparse.csr_array((values, keys, starts), shape=(len(records), WIDTH))
    else:
        np.array([tensor.values for tensor in tensors], np.float32)


def with_protobuf(path: Path) -> None:
    """The SDK's loop (sagemaker/serializer_utils.py, read_records) over our generated message."""
    records = []
    with path.open("rb") as stream:
        while header := stream.read(8):
            length = struct.unpack("<II", header)[1]
            records.append(record_pb2.Record.FromString(stream.read(length)))
            stream.read(-length % 4)
    matrix(records)


def with_sdk(path: Path) -> None:
    from sagemaker.amazon.common import read_records

    with path.open("rb") as stream:
        matrix(read_records(stream))


def readers() -> dict[str, Callable[[Path], None]]:
    found = {"formats.recordio": ours, "protobuf, one by one": with_protobuf}
    os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"
    try:
        import sagemaker.amazon.common  # noqa: F401
    except ImportError:
        print("sagemaker<3 is not installed: its reader is left out")
    else:
        found["sagemaker SDK"] = with_sdk
    return found


def measure(name: str, path: Path, contestants: dict[str, Callable[[Path], None]]) -> None:
    """Prints MB/s of each reader; they take turns, so that a busy machine slows all of them."""
    size = path.stat().st_size / 1e6
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for reader, run in contestants.items():
            start = time.perf_counter()
            run(path)
            seconds.setdefault(reader, []).append(time.perf_counter() - start)
    fastest = statistics.median(seconds["formats.recordio"])
    for reader, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:8} {reader:22} {size / median:8.0f} MB/s  {median / fastest:6.1f} x our time")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=20_000)
    rows = arguments.parse_args().rows
    random = np.random.default_rng(0)
    dense = random.random((rows, WIDTH), np.float32)
    thin = sparse.random_array((rows, WIDTH), density=0.2, dtype=np.float32, rng=random, format="csr")
    contestants = readers()
    with tempfile.TemporaryDirectory() as folder:
        for name, features in (("dense", dense), ("sparse", thin)):
            path = Path(folder, name)
            path.write_bytes(recordio.encode_features(features))
            measure(name, path, contestants)


if __name__ == "__main__":
    main()
