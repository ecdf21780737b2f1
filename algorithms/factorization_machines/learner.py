"""A factorization machine while it learns: from mini-batches to the next weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.factorization_machines import _factorization
from algorithms.factorization_machines.hyperparameters import FactorizationMachinesHyperparameters
from algorithms.machine import cpu_count
from formats.batch import Dense

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # MXNet's defaults, which are those of Adam's paper
LINE = 64  # bytes of a cache line
DIVIDED = 2**18  # numbers of a step, entries times factors, from which threads save more than their start costs


def state_bytes(feature_dim: int, num_factors: int) -> int:
    """Memory that a Learner keeps: float32 weights, and the means and squares of their gradients."""
    return 3 * 4 * (feature_dim * (1 + num_factors) + 1)


@dataclass
class Term:
    """Weights (N, c), float32, and what Adam has seen of their gradients: means and squares (N, c)."""

    weights: Dense
    mean: Dense
    square: Dense
    rate: float
    wd: float


class Learner:
    """The model bias (1,), linear (N,), factors (N, k), float32, and Adam's means, which are the same on all hosts.

    Of the linear and the factorization terms, only features that occur in a mini-batch are moved by it, and so are
    their means: what MXNet calls a lazy update. Adam's correction of the rates goes by the number of all steps.
    random: seeded alike on all hosts.
    """

    def __init__(self, h: FactorizationMachinesHyperparameters, random: np.random.Generator) -> None:
        self.steps = 0
        self._binary = h.predictor_type == "binary_classifier"
        self._rescale_grad = h.rescale_grad
        self._clip = math.inf if h.clip_gradient is None else h.clip_gradient
        self._epsilon = EPSILON if h.eps is None else h.eps
        self._most_rows = 0.0  # of a step so far
        self._kernel = _factorization.Step(cpu_count())
        self._bias = _term("bias", (1, 1), h, random, h.use_bias)
        self._linear = _term("linear", (h.feature_dim, 1), h, random, h.use_linear)
        self._factors = _term("factors", (h.feature_dim, h.num_factors), h, random)
        self.bias, self.linear = self._bias.weights.reshape(-1), self._linear.weights.reshape(-1)
        self.factors = self._factors.weights

    @property
    def squares(self) -> list[Dense]:
        """What Adam has seen of the squares of the gradients, of each term that learns."""
        return [term.square for term in (self._bias, self._linear, self._factors) if term.rate > 0]

    def step(self, cluster: Cluster, X: sparse.csr_array, y: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Learns from the mini-batches of all hosts as from one.

        X: (n, N) float32, n may be 0 on some hosts; what is stored as 0 does not count as a feature that occurs
        y: (n,), of a classifier 0 or 1
        Returns the margins (n,) before the step, and the rows of all hosts. Every host must call this equally often.
        The gradient is the mean over the rows of a full mini-batch, also where the last one has fewer: a few rows would
        otherwise count as much as all the others.
        """
        margins = np.empty(len(y), np.float32)
        model = (float(self.bias[0]), self.linear, self.factors)
        alone = X.nnz * self.factors.shape[1] < DIVIDED
        slopes = self._kernel.forward(X.indptr, X.indices, X.data, y, self._binary, *model, margins, alone)
        totals = cluster.all_reduce(np.array([len(y), slopes]))
        rows = float(totals[0])
        if rows:
            self._most_rows = max(self._most_rows, rows)
            self.steps += 1
            if cluster.size > 1:  # one host spares itself the copy of its gradients
                features, gradients = self._kernel.gradients()
                features = np.concatenate(cluster.gather(features))
                self._kernel.replace(features, np.concatenate(cluster.gather(gradients)), len(self.linear))
            self._kernel.update(self._rule(self._linear), self._rule(self._factors))
            self._move_bias(float(totals[1]))
        return margins, rows

    def _rule(self, term: Term) -> _factorization.Term:
        """The term and how it learns in this step; Adam's means began at 0, which the rate makes up for."""
        correction = math.sqrt(1 - BETA_2**self.steps) / (1 - BETA_1**self.steps)
        scale = 1 / self._most_rows if self._rescale_grad is None else self._rescale_grad
        rule = (scale, term.rate * correction, term.wd, self._clip, self._epsilon, BETA_1, BETA_2)
        return (term.weights, term.mean, term.square, *rule)

    def _move_bias(self, slopes: float) -> None:
        """The bias occurs in every row. slopes: the sum over the rows."""
        _factorization.adam(np.array([[slopes]], np.float32), self._rule(self._bias))


def _term(
    name: str,
    shape: tuple[int, int],
    h: FactorizationMachinesHyperparameters,
    random: np.random.Generator,
    used: bool = True,
) -> Term:
    """The term with its initial weights; one that is not used is 0 and stays so, as it learns at the rate 0."""
    weights, mean, square = (_zeros(shape) for _ in range(3))
    if not used:
        return Term(weights, mean, square, 0, 0)
    method = getattr(h, f"{name}_init_method")
    if method == "normal":
        random.standard_normal(dtype=np.float32, out=weights)
        weights *= np.float32(getattr(h, f"{name}_init_sigma"))
    elif method == "uniform":
        scale = np.float32(getattr(h, f"{name}_init_scale"))
        random.random(dtype=np.float32, out=weights)
        weights *= 2 * scale
        weights -= scale
    else:
        weights[:] = getattr(h, f"{name}_init_value")
    return Term(weights, mean, square, getattr(h, f"{name}_lr"), getattr(h, f"{name}_wd"))


def _zeros(shape: tuple[int, int]) -> Dense:
    """Zeros that begin where a cache line does, so that 16 factors are in one and not in two."""
    size = math.prod(shape)
    memory = np.zeros(size + LINE // 4, np.float32)
    start = -memory.ctypes.data % LINE // 4
    return memory[start : start + size].reshape(shape)
