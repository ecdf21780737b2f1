"""Random cut forests, slowly: trees of nested nodes, grown and asked as the paper and the formula say, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.random_cut_forest.forest import Forest


@dataclass
class Node:
    """A node with the points (m, d) at or below it; without children it is a leaf."""

    points: np.ndarray
    feature: int = -1
    value: float = 0.0
    left: Node | None = None
    right: Node | None = None


def grown(points: np.ndarray, uniform: np.ndarray) -> Node:
    """Guha et al. 2016, definition 1. Row k of `uniform` places the k-th cut, depth first."""
    places = iter(uniform)

    def node(points: np.ndarray) -> Node:
        lo, hi = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
        sides = hi - lo
        if not sides.any():
            return Node(points)
        where, share = next(places)
        feature = int(np.searchsorted(np.cumsum(sides), where * sides.sum(), side="right"))
        value = np.float32(lo[feature] + share * sides[feature])
        below = points[:, feature] <= value
        return Node(points, feature, float(value), node(points[below]), node(points[~below]))

    return node(points)


def trees(forest: Forest) -> list[Node]:
    """The nested trees of a forest."""
    result = []
    for tree, start in enumerate(np.cumsum(forest.num_nodes) - forest.num_nodes):
        at = iter(range(start, start + forest.num_nodes[tree]))

        def node(first: int, tree: int = tree, at=at) -> Node:
            i = next(at)
            own = Node(forest.points[tree, first : first + forest.mass[i]])
            if forest.feature[i] >= 0:
                own.feature, own.value = int(forest.feature[i]), float(forest.value[i])
                own.left = node(first)
                own.right = node(first + len(own.left.points))
            return own

        result.append(node(0))
    return result


def shape(node: Node) -> list[tuple[int, float, int]]:
    """Feature, value and mass of all nodes, depth first."""
    own = [(node.feature, node.value, len(node.points))]
    return own if node.left is None else own + shape(node.left) + shape(node.right)


def inverse_depth(node: Node, x: np.ndarray) -> np.ndarray:
    """Expected inverse depth of x (d,), divided among the features; its sum is the expectation."""
    shares, weight, path = np.zeros(len(x)), 1.0, []
    while True:
        points = node.points.astype(float)
        excess = np.maximum(points.min(axis=0) - x, 0) + np.maximum(x - points.max(axis=0), 0)
        total = excess.sum() + np.ptp(points, axis=0).sum()
        if excess.any():
            cut_off = excess.sum() / total
            shares += weight * cut_off / (len(path) + 1) * excess / excess.sum()
            weight *= 1 - cut_off
        if node.left is None:
            if not excess.any():
                rest = weight / (len(path) + np.log2(len(points)))
                np.add.at(shares, path or slice(None), rest / len(path or x))
            return shares
        path.append(node.feature)
        node = node.left if x[node.feature] <= node.value else node.right


def attributions(forest: Forest, X: np.ndarray) -> np.ndarray:
    """Shares of the scores of X (m, d), float64; they sum to the scores."""
    nested = trees(forest)
    parts = [np.mean([inverse_depth(tree, x) for tree in nested], axis=0) for x in X.astype(float)]
    return np.log2(forest.points.shape[1]) * np.array(parts)
