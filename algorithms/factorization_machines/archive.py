"""The file `model_algo-1`: a ZIP of MXNet's symbol and parameters of a factorization machine, and what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from algorithms import mxnet_archive
from algorithms.mxnet_archive import Members
from formats.batch import Dense

SYMBOL, PARAMETERS, DESCRIPTION = "symbol.json", "params", "meta.json"
FACTORS, LINEAR, BIAS = "v", "w1_weight", "w0_weight"
DENSE_LINEAR, DENSE_BIAS = "Linear_Plus_Bias_weight", "Linear_Plus_Bias_bias"
Predictor = Literal["binary_classifier", "regressor"]
OPERATORS: dict[str, Predictor] = {
    "LogisticRegressionOutput": "binary_classifier",
    "LinearRegressionOutput": "regressor",
}
MAX_UNPACKED = 64 << 20  # bytes of parameters in a small packed file: factors that are all one number pack well


@dataclass(frozen=True)
class Archive:
    """factors (N, k), linear (N,) and bias (1,) float32; what the graph ends with, by the predictor it makes."""

    factors: Dense
    linear: Dense
    bias: Dense
    predictor_type: Predictor


def write(path: Path, archive: Archive) -> None:
    """Writes the ZIP, with the same bytes for the same model, and without a copy of it."""
    width, factors = archive.factors.shape
    described = {"feature_dim": width, "num_factors": factors, "predictor_type": archive.predictor_type}
    objects = {
        DESCRIPTION: {"training_parameters": described},
        SYMBOL: symbol(width, factors, archive.predictor_type),
    }
    arrays = {
        f"arg:{FACTORS}": archive.factors,
        f"arg:{LINEAR}": archive.linear[:, None],
        f"arg:{BIAS}": archive.bias,
    }
    mxnet_archive.write(path, objects, PARAMETERS, arrays)


def symbol(feature_dim: int, num_factors: int, predictor_type: Predictor) -> dict[str, Any]:
    """The graph of w0 + x w1 + 1/2 (sums over f of (x v)^2 - x^2 v^2), then the operator `out`.

    Data is declared as CSR (storage type 2 in attributes), which MXNet makes of dense batches, too.
    """
    operator = next(name for name, predictor in OPERATORS.items() if predictor == predictor_type)
    nodes: list[dict[str, Any]] = []

    def add(name: str, op: str, *inputs: int, **attrs: str) -> int:
        node: dict[str, Any] = {"op": op, "name": name, "inputs": [[number, 0, 0] for number in inputs]}
        nodes.append(node | {"attrs": attrs} if attrs else node)
        return len(nodes) - 1

    over_factors = {"axis": "1", "keepdims": "True"}
    data = add("data", "null", __storage_type__="2")
    w1 = add(LINEAR, "null", __shape__=f"({feature_dim}, 1)")
    weighted = add("weighted", "dot", data, w1)
    w0 = add(BIAS, "null", __shape__="(1,)")
    linear = add("linear", "broadcast_add", weighted, w0)
    v = add(FACTORS, "null", __shape__=f"({feature_dim}, {num_factors})")
    sums = add("sums", "dot", data, v)
    squares = add("squares_of_sums", "square", sums)
    all_pairs = add("all_pairs", "sum", squares, **over_factors)
    data_squared = add("data_squared", "square", data)
    v_squared = add("v_squared", "square", v)
    lengths = add("lengths", "sum", v_squared, **over_factors)
    own_pairs = add("own_pairs", "dot", data_squared, lengths)
    twice = add("pairs_twice", "elemwise_sub", all_pairs, own_pairs)
    pairs = add("pairs", "_mul_scalar", twice, scalar="0.5")
    margin = add("margin", "elemwise_add", linear, pairs)
    label = add("out_label", "null")
    add("out", operator, margin, label)
    return mxnet_archive.graph(nodes)


def read(path: Path) -> Archive:
    """What a ZIP holds, ours, the hosted service's or MXNet's, packed or not. Raises UserError for any other file."""
    with mxnet_archive.opened(path, "factorization machine", MAX_UNPACKED) as members:
        members.require(SYMBOL, PARAMETERS)
        graph, described = members.object(SYMBOL), members.object(DESCRIPTION)
        predictor_type = _predictor_type(members, graph)
        arrays = members.arrays(PARAMETERS)
    found = Archive(*_terms(members, arrays), predictor_type)
    _compare(members, described, found)
    return found


def _predictor_type(members: Members, graph: dict[str, Any]) -> Predictor:
    """What the graph's output is; the hosted service does not say it otherwise."""
    try:
        operators = [graph["nodes"][number]["op"] for number, *_ in graph["heads"]]
        (predictor_type,) = [OPERATORS[operator] for operator in operators if operator in OPERATORS]
    except (KeyError, IndexError, TypeError, ValueError):
        raise members.refusal(
            f"'{SYMBOL}' in it must be a graph that ends with one of {', '.join(OPERATORS)}"
        ) from None
    return predictor_type


def _terms(members: Members, arrays: dict[str, Dense]) -> tuple[Dense, Dense, Dense]:
    """Factors (N, k), linear (N,) and bias (1,). A model trained on dense data has the first two on their side."""
    named = {name.removeprefix("arg:"): array for name, array in arrays.items()}
    if len(named) == len(arrays):
        if named.keys() == {FACTORS, DENSE_LINEAR, DENSE_BIAS} and named[FACTORS].ndim == 2:
            factors, linear = named[FACTORS].T, named[DENSE_LINEAR].T
            named = {FACTORS: np.ascontiguousarray(factors), LINEAR: linear, BIAS: named[DENSE_BIAS]}
        if named.keys() == {FACTORS, LINEAR, BIAS}:
            factors, linear, bias = named[FACTORS], named[LINEAR], named[BIAS]
            if factors.ndim == 2 and factors.size and linear.shape == (len(factors), 1) and bias.shape == (1,):
                return factors, linear.reshape(-1), bias
    raise members.refusal(
        f"'{PARAMETERS}' in it must hold the arrays {FACTORS} (feature_dim, num_factors), {LINEAR} (feature_dim, 1) "
        f"and {BIAS} (1,)"
    )


def _compare(members: Members, described: dict[str, Any], found: Archive) -> None:
    """Raises UserError where the description, whose numbers may be strings, says something else than the arrays."""
    parameters = described.get("training_parameters", {})
    if not isinstance(parameters, dict):
        raise members.refusal(f"training_parameters in '{DESCRIPTION}' in it must be a JSON object")
    width, factors = found.factors.shape
    for name, value in (("feature_dim", width), ("num_factors", factors), ("predictor_type", found.predictor_type)):
        if name in parameters and str(parameters[name]) != str(value):
            raise members.refusal(
                f"{name} in '{DESCRIPTION}' in it must be that of '{PARAMETERS}' and '{SYMBOL}', {value}, got "
                f"{str(parameters[name])[:100]!r}"
            )
