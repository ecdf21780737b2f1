"""The random cut forest: grown, asked for scores and for each feature's share of them, taken apart and put together.

Guha et al. 2016, "Robust random cut forest based anomaly detection on streams". The score is the hosted service's, as
far as its published scores tell: log2(n) times the mean over the trees of the expected inverse depth of the query.
At a node of depth k, 0 at the root, a random cut of the node's box, widened to hold the query, would part the two with
probability p = growth / (sum of sides + growth), both sums over the features; the query would then lie at depth k + 1,
which adds p / (k + 1). Otherwise it goes on, along the node's own cut. A leaf of another point adds 1 / (k + 1); a leaf
of m points equal to the query adds 1 / (k + log2 m). It follows that a score lies in [0, log2 n], and that a tree whose
points are all alike gives 1 to them and log2 n to all else. Trees of one point say nothing: then all scores are 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.random_cut_forest._forest import score
from algorithms.random_cut_forest._growth import enclose_nodes
from algorithms.random_cut_forest._growth import grow as grow_trees
from formats.batch import Dense

LANES = 8  # features of a box are padded to a multiple: a vector of the kernel
ROWS = 2**16  # values of the rows that go through a tree together: 256 KB
FEWEST = 16  # of these rows, however many features they have
LARGE = 1e30  # as in the kernel
TYPES = {"points": np.float32, "num_nodes": np.int32, "feature": np.int32, "value": np.float32, "mass": np.int32}
FAULTS = (
    "its nodes do not form a tree",
    "the masses of its leaves do not add up to its points",
    "a cut's feature does not exist",
    "points of a leaf differ",
    "a cut does not lie between the points of its sides",
)


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """T trees of n points of d features; N nodes in all, C of them with a cut. Made by `grow` or `Forest.of`.

    A tree's nodes are in depth-first order, left before right: the left child of a node is the next one.

    points: (T, n, d) each tree's sample, duplicates included, in the order of the leaves from left to right
    num_nodes: (T,) number of nodes of each tree, whose numbers follow those of the tree before
    feature: (N,) of a node's cut, -1 at a leaf
    value: (N,) of the cut, 0 at a leaf; points of the left child have at most this value
    mass: (N,) number of points at or below a node

    The rest follows from these:

    starts: (T,) the first node of each tree
    depths: (T,) number of nodes on the longest path
    link: (N,) the right child, counted from its tree's first node; of a leaf its first point
    box: (N,) the row of `boxes` and `sides` where a node with a cut has its own
    boxes: (C, 2, d padded) lowest and highest values of a node's points
    sides: (C,) sum of the sides of a box
    large: whether a point has values too large for the fast way of scoring
    """

    points: Dense
    num_nodes: NDArray[np.int32]
    feature: NDArray[np.int32]
    value: Dense
    mass: NDArray[np.int32]
    starts: NDArray[np.intp]
    depths: NDArray[np.int32]
    link: NDArray[np.int32]
    box: NDArray[np.intp]
    boxes: Dense
    sides: NDArray[np.float64]
    large: bool

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for name in self.__slots__ if isinstance(array := getattr(self, name), np.ndarray))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What the forest can be made of again, by name; not its boxes, which would be twice as large as all else."""
        return {name: getattr(self, name) for name in TYPES}

    @classmethod
    def of(cls, arrays: dict[str, NDArray[np.generic]], threads: int = 1) -> Forest:
        """The forest of such arrays, which may be damaged. Raises ValueError, with a sentence that says in what."""
        for name, dtype in TYPES.items():
            dimensions = 3 if name == "points" else 1
            array = arrays.get(name)
            if array is None:
                raise ValueError(f"the array {name!r} is missing")
            if array.dtype != dtype or array.ndim != dimensions:
                wanted = f"{dimensions} dimensions of {np.dtype(dtype)}"
                raise ValueError(f"{name!r} must have {wanted}, got shape {array.shape} of {array.dtype}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name!r} must be finite, got NaN or infinity")
        points, nodes, feature, value, mass = (np.ascontiguousarray(arrays[name]) for name in TYPES)
        if points.size == 0 or len(nodes) != len(points):
            raise ValueError(f"'points' must have the shape (trees, points, features), got {points.shape}")
        most = 2 * points.shape[1] - 1
        if not (nodes.min() >= 1 and nodes.max() <= most):
            raise ValueError(f"'num_nodes' must be 1 to {most}, got {nodes.min()} to {nodes.max()}")
        count = int(nodes.sum(dtype=np.int64))
        for name, array in (("feature", feature), ("value", value), ("mass", mass)):
            if len(array) != count:
                raise ValueError(f"{name!r} must have {count} values, a node each, got {len(array)}")
        return _forest(points, nodes, feature, value, mass, threads)

    def scores(self, X: Dense, threads: int) -> Dense:
        """Anomaly score of each row of X (m, d), finite if the row is; shape (m,)."""
        return self._ask(X, threads, shares=False)[0]

    def attributions(self, X: Dense, threads: int) -> Dense:
        """Each feature's share of the score of each row of X (m, d), summing to it; shape (m, d).

        What a node adds is divided in proportion to how far the query lies outside of its box (or from its point) in
        each feature; what a leaf of equal points adds, equally over the cuts on the way to it, or all features if none.
        """
        return self._ask(X, threads, shares=True)[1]

    def _ask(self, X: Dense, threads: int, *, shares: bool) -> tuple[Dense, Dense]:
        trees, n, d = self.points.shape
        m, width = len(X), self.boxes.shape[2]
        parts = np.zeros((m if shares else 0, d), np.float32)
        if n == 1 or m == 0:
            return np.zeros(m, np.float32), parts
        block = max(FEWEST, ROWS // width)
        block = min(block, -(-m // threads))
        threads = min(threads, -(-m // block))
        totals = np.empty(m)
        # fmt: off
        score(
            self.points, self.starts, self.feature, self.value, self.mass, self.link, self.box, self.boxes, self.sides,
            np.ascontiguousarray(X, np.float32), totals, parts, block, self.large,
            _aligned(threads, block * width + 4 * (block + 8)), np.empty((threads, 3 * (block + 8) + 4 * n), np.int32),
            np.empty((threads, d)), threads,
        )
        # fmt: on
        scale = math.log2(n) / trees
        return (totals * scale).astype(np.float32), np.multiply(parts, np.float32(scale), out=parts)


def grow(points: Dense, seed: int, threads: int) -> Forest:
    """A forest of T trees of the n points (T, n, d) each, finite; the same whatever `threads` is.

    A cut's feature is drawn with probability in proportion to its side of the bounding box, its value uniformly in the
    side. Equal points end in one leaf.
    """
    trees, n, d = points.shape
    threads = min(threads, trees)
    uniform = np.random.default_rng(seed).random((trees, n, 2))
    order, nodes = np.empty((trees, n), np.int32), np.empty(trees, np.int32)
    feature, mass = (np.empty((trees, 2 * n - 1), np.int32) for _ in range(2))
    value = np.empty((trees, 2 * n - 1), np.float32)
    scratch = np.empty((threads, 2 * d), np.float32), np.empty((threads, n), np.int32)
    grow_trees(np.ascontiguousarray(points), uniform, order, feature, value, mass, nodes, *scratch, threads)
    used = np.arange(2 * n - 1) < nodes[:, None]
    ordered = np.take_along_axis(points, order[:, :, None], axis=1)
    return _forest(ordered, nodes, feature[used], value[used], mass[used], threads)


def memory_needed(trees: int, n: int, d: int) -> int:
    """Bytes of a forest if no two points of a tree are equal."""
    boxes = (n - 1) * (2 * 4 * _padded(d) + 8)
    return trees * (4 * n * d + boxes + (2 * n - 1) * 24 + 16)


def _forest(
    points: Dense,
    nodes: NDArray[np.int32],
    feature: NDArray[np.int32],
    value: Dense,
    mass: NDArray[np.int32],
    threads: int,
) -> Forest:
    """Adds what follows from these. Raises ValueError if they are not proper trees."""
    trees, n, d = points.shape
    threads = min(threads, trees)
    starts = np.concatenate([[0], np.cumsum(nodes, dtype=np.intp)])
    box = np.cumsum(feature >= 0, dtype=np.intp) - 1
    cuts = int(box[-1]) + 1
    width = _padded(d)
    boxes = _aligned(max(1, cuts), 2 * width).reshape(-1, 2, width)
    sides, faults = np.zeros(max(1, cuts)), np.empty(trees, np.int32)
    link, height = (np.empty(len(feature), np.int32) for _ in range(2))
    stacks = np.empty((threads, 2 * n), np.int32)
    enclose_nodes(points, starts, feature, value, mass, box, link, boxes, sides, height, stacks, faults, threads)
    if faults.any():
        tree = int(faults.argmax())
        raise ValueError(f"tree {tree} is damaged: {FAULTS[faults[tree] - 1]}")
    large = bool(max(points.max(), -points.min()) > LARGE)
    return Forest(points, nodes, feature, value, mass, starts[:-1], height[starts[:-1]], link, box, boxes, sides, large)


def _padded(d: int) -> int:
    return -(-d // LANES) * LANES


def _aligned(rows: int, columns: int) -> Dense:
    """Zeros (rows, columns) that begin with a line of the cache."""
    line = 16
    zeros = np.zeros(rows * columns + line, np.float32)
    start = -zeros.ctypes.data // 4 % line
    return zeros[start : start + rows * columns].reshape(rows, columns)
