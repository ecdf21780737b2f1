"""The file `model_algo-1`: a ZIP of MXNet's symbol and parameters of a linear model, and what is known besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from algorithms import mxnet_archive
from algorithms.mxnet_archive import Members
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
MAX_UNPACKED = 64 << 20  # bytes of parameters in a small packed file: weights that are nearly all 0 pack well


@dataclass(frozen=True)
class Archive:
    """weights (C, d) and bias (C,) float32; operator: MXNet's for the output; described: `additional-params.json`."""

    weights: Dense
    bias: Dense
    operator: Operator
    described: dict[str, Any]


def write(path: Path, archive: Archive) -> None:
    """Writes the ZIP, with the same bytes for the same model."""
    objects = {
        DESCRIPTION: archive.described,
        MANIFEST: {"suite": "inbuilt", "files": [DESCRIPTION, PARAMETERS, SYMBOL]},
        SYMBOL: symbol(len(archive.weights), archive.operator),
    }
    mxnet_archive.write(path, objects, PARAMETERS, {WEIGHTS: archive.weights, BIAS: archive.bias})


def symbol(outputs: int, operator: Operator) -> dict[str, Any]:
    """The graph of data -> FullyConnected `fc0` -> operator `out`."""
    hidden = {"num_hidden": str(outputs)}
    return mxnet_archive.graph(
        [
            {"op": "null", "name": "data", "inputs": []},
            {"op": "null", "name": "fc0_weight", "attrs": hidden, "inputs": []},
            {"op": "null", "name": "fc0_bias", "attrs": hidden, "inputs": []},
            {"op": "FullyConnected", "name": "fc0", "attrs": hidden, "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]},
            {"op": "null", "name": "out_label", "inputs": []},
            {"op": operator, "name": "out", "inputs": [[3, 0, 0], [4, 0, 0]]},
        ]
    )


def read(path: Path) -> Archive:
    """What a ZIP holds, ours or of files that MXNet wrote, packed or not. Raises UserError for any other file."""
    with mxnet_archive.opened(path, "linear model", MAX_UNPACKED) as members:
        members.require(SYMBOL, PARAMETERS)
        graph, described = members.object(SYMBOL), members.object(DESCRIPTION)
        arrays = members.arrays(PARAMETERS)
    operator, has_bias = _output(members, graph)
    return Archive(*_weights(members, arrays, has_bias), operator, described)


def _output(members: Members, graph: dict[str, Any]) -> tuple[Operator, bool]:
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
        raise members.refusal(
            f"'{SYMBOL}' in it must be one FullyConnected layer named fc0 on data, then one of {', '.join(_OPERATORS)}"
        )
    return operator, has_bias


def _weights(members: Members, arrays: dict[str, Dense], has_bias: bool) -> tuple[Dense, Dense]:
    """Weights (C, d) and bias (C,), zeros if the model has none."""
    if arrays.keys() == ({WEIGHTS, BIAS} if has_bias else {WEIGHTS}):
        weights = arrays[WEIGHTS]
        bias = arrays[BIAS] if has_bias else np.zeros(weights.shape[:1], np.float32)
        if weights.ndim == 2 and weights.size and bias.shape == (len(weights),):
            return weights, bias
    raise members.refusal(
        f"'{PARAMETERS}' in it must hold the arrays {WEIGHTS} (outputs, feature_dim) and {BIAS} (outputs,)"
    )
