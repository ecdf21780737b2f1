"""What a user's handler does: a body to an array, the model's answer, the answer to text."""

import os
import struct
from pathlib import Path

import numpy as np
import orjson

from formats import record_pb2

FOLDER = Path(os.environ["MODEL_FOLDER"])
if (FOLDER / "centers.npy").exists():
    CENTERS = np.load(FOLDER / "centers.npy")
    SQUARES = (CENTERS**2).sum(axis=1)

    def predict(rows: np.ndarray) -> np.ndarray:
        """The nearest center of each row, and the distance to it."""
        squares = (rows**2).sum(axis=1)[:, None] - 2 * rows @ CENTERS.T + SQUARES
        nearest = squares.argmin(axis=1)
        return np.column_stack([nearest, np.sqrt(np.maximum(squares[np.arange(len(rows)), nearest], 0))])
else:
    import xgboost

    BOOSTER = xgboost.Booster(model_file=FOLDER / "booster.ubj")
    BOOSTER.set_param({"nthread": 1})

    def predict(rows: np.ndarray) -> np.ndarray:
        """The score of each row."""
        return BOOSTER.inplace_predict(rows).reshape(len(rows), -1)


def answer(body: bytes, content_type: str) -> tuple[bytes, str]:
    """The response and its content type."""
    if content_type == "text/csv":
        lines = body.strip().split(b"\n")
        rows = np.fromstring(b",".join(lines).decode(), np.float32, sep=",").reshape(len(lines), -1)
        text = "\n".join(",".join(map(str, row)) for row in predict(rows).tolist())
        return text.encode(), "text/csv"
    if content_type == "application/json":
        rows = np.array([each["features"] for each in orjson.loads(body)["instances"]], np.float32)
    else:
        rows = records(body)
    return orjson.dumps({"predictions": predict(rows).tolist()}), "application/json"


def records(body: bytes) -> np.ndarray:
    """The SDK's loop over the records, and the array that its users make of them."""
    found, start = [], 0
    while start < len(body):
        length = struct.unpack_from("<II", body, start)[1]
        record = record_pb2.Record.FromString(body[start + 8 : start + 8 + length])
        found.append(record.features["values"].float32_tensor.values)
        start += 8 + -(-length // 4) * 4
    return np.array(found, np.float32)
