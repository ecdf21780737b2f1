"""The file `model_algo-1`: a ZIP of MXNet's symbol and parameters of a linear model, and what is known besides."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from algorithms.errors import UserError
from formats import FormatError, ndarray
from formats._finite import first_not_finite
from formats.batch import Dense

SYMBOL, PARAMETERS, MANIFEST = "mx-mod-symbol.json", "mx-mod-0000.params", "manifest.json"
DESCRIPTION = "additional-params.json"
WEIGHTS, BIAS = "arg:fc0_weight", "arg:fc0_bias"
Operator = Literal["LogisticRegressionOutput", "SoftmaxOutput", "LinearRegressionOutput"]
# the last differs from the one before in training only
_OPERATORS: dict[str, Operator] = {
    "LogisticRegressionOutput": "LogisticRegressionOutput",
    "SoftmaxOutput": "SoftmaxOutput",
    "LinearRegressionOutput": "LinearRegressionOutput",
    "MAERegressionOutput": "LinearRegressionOutput",
}
MAX_JSON = 1 << 20  # bytes; ours have 1,000
# What a packed file may become: some MiB whatever it is, as weights that are nearly all 0 pack well, then a multiple.
MAX_UNPACKED, MAX_RATIO = 64 << 20, 20
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)


@dataclass(frozen=True)
class Archive:
    """weights (C, d) and bias (C,) float32; operator: MXNet's for the output; described: `additional-params.json`."""

    weights: Dense
    bias: Dense
    operator: Operator
    described: dict[str, Any]


def write(path: Path, archive: Archive) -> None:
    """Writes the ZIP: not packed, and with a fixed date, so that the same model has the same bytes."""
    members = {
        DESCRIPTION: _json(archive.described),
        MANIFEST: _json({"suite": "inbuilt", "files": [DESCRIPTION, PARAMETERS, SYMBOL]}),
        PARAMETERS: ndarray.dumps({WEIGHTS: archive.weights, BIAS: archive.bias}),
        SYMBOL: _json(symbol(len(archive.weights), archive.operator)),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # Unix, wherever this runs: it says how to read the next line
            member.external_attr = 0o644 << 16
            file.writestr(member, content)


def symbol(outputs: int, operator: Operator) -> dict[str, Any]:
    """The graph that MXNet 1.9.1 writes for data -> FullyConnected `fc0` -> operator `out`, as `Symbol.tojson` has it.

    A node's inputs are [number of the node, number of its output, version].
    """
    hidden = {"num_hidden": str(outputs)}
    nodes: list[dict[str, Any]] = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "fc0_weight", "attrs": hidden, "inputs": []},
        {"op": "null", "name": "fc0_bias", "attrs": hidden, "inputs": []},
        {"op": "FullyConnected", "name": "fc0", "attrs": hidden, "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]},
        {"op": "null", "name": "out_label", "inputs": []},
        {"op": operator, "name": "out", "inputs": [[3, 0, 0], [4, 0, 0]]},
    ]
    return {
        "nodes": nodes,
        "arg_nodes": [0, 1, 2, 4],
        "node_row_ptr": list(range(len(nodes) + 1)),
        "heads": [[5, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }


def read(path: Path) -> Archive:
    """What a ZIP holds, ours or of files that MXNet wrote, packed or not. Raises UserError for any other file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no linear model in {path.parent}: '{path.name}' is missing") from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            names = file.namelist()
            missing = [name for name in (SYMBOL, PARAMETERS) if name not in names]
            if missing:
                raise UserError(f"{path} is not a linear model: '{missing[0]}' is missing in it")
            graph = _object(path, SYMBOL, _member(path, file, SYMBOL, MAX_JSON))
            described = {}
            if DESCRIPTION in names:
                described = _object(path, DESCRIPTION, _member(path, file, DESCRIPTION, MAX_JSON))
            most = MAX_UNPACKED + MAX_RATIO * len(content)
            parameters = _member(path, file, PARAMETERS, most)
    except _BROKEN as error:
        raise UserError(f"{path} is not a linear model: it must be a ZIP archive ({str(error)[:100]})") from None
    operator, has_bias = _output(path, graph)
    return Archive(*_arrays(path, parameters, has_bias), operator, described)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _member(path: Path, file: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a member, of which `zipfile` unpacks no more than its entry declares."""
    member = file.getinfo(name)
    if member.file_size > most:
        raise UserError(
            f"{path} is not a linear model: '{name}' in it must have at most {most} bytes, got {member.file_size}"
        )
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{path} is not a linear model: '{name}' in it must be stored or deflated, not encrypted")
    return file.read(member)


def _object(path: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a linear model: '{name}' in it must be a JSON object")
    return found


def _output(path: Path, graph: dict[str, Any]) -> tuple[Operator, bool]:
    """The operator that the graph ends with, and whether the layer below it, `fc0`, has a bias."""
    try:
        nodes = graph["nodes"]
        ((head, *_),) = graph["heads"]
        out = nodes[head]
        layer = nodes[out["inputs"][0][0]]
        below = [nodes[number] for number, *_ in layer["inputs"]]
        has_bias = len(below) == 3
        variables = [f"fc0_{what}" for what in ("weight", "bias")[: len(below) - 1]]
        plain = layer["op"] == "FullyConnected" and [node["name"] for node in below[1:]] == variables
        plain = plain and below[0]["name"] == "data" and all(node["op"] == "null" for node in below)
        operator = _OPERATORS.get(out["op"]) if plain and len(below) in (2, 3) else None
    except (KeyError, IndexError, TypeError, ValueError):
        operator = None
    if operator is None:
        raise UserError(
            f"{path} is not a linear model: '{SYMBOL}' in it must be one FullyConnected layer named fc0 on data, then "
            f"one of {', '.join(_OPERATORS)}"
        )
    return operator, has_bias


def _arrays(path: Path, content: bytes, has_bias: bool) -> tuple[Dense, Dense]:
    """Weights (C, d) and bias (C,), zeros if the model has none."""
    try:
        arrays = ndarray.loads(content)
    except FormatError as error:
        raise UserError(f"{path} is not a linear model: '{PARAMETERS}' in it: {error}") from None
    if isinstance(arrays, dict) and arrays.keys() == ({WEIGHTS, BIAS} if has_bias else {WEIGHTS}):
        with np.errstate(over="ignore"):  # float64 beyond float32 is infinite, and refused as such
            weights = np.ascontiguousarray(arrays[WEIGHTS], np.float32)
            bias = np.ascontiguousarray(arrays.get(BIAS, np.zeros(len(weights))), np.float32)
        if weights.ndim == 2 and weights.size and bias.shape == (len(weights),):
            if any(first_not_finite(array.reshape(-1).view(np.uint32)) >= 0 for array in (weights, bias)):
                raise UserError(f"{path} is not a linear model: it holds NaN or infinite numbers")
            return weights, bias
    raise UserError(
        f"{path} is not a linear model: '{PARAMETERS}' in it must hold the arrays {WEIGHTS} (outputs, feature_dim) and "
        f"{BIAS} (outputs,)"
    )
