import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

Index = NDArray[np.int32] | NDArray[np.int64]
# weights, mean, square, each (N, c); scale, rate, wd, clip, epsilon, beta_1, beta_2
Term = tuple[Dense, Dense, Dense, float, float, float, float, float, float, float]

def margins(
    indptr: Index,
    indices: Index,
    data: NDArray[np.float32],
    bias: float,
    linear: NDArray[np.float32],
    factors: Dense,
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def adam(gradient: Dense, weights: Term) -> None: ...

class Step:
    def __init__(self, threads: int) -> None: ...
    def forward(
        self,
        indptr: Index,
        indices: Index,
        data: NDArray[np.float32],
        labels: NDArray[np.float32],
        binary: bool,
        bias: float,
        linear: NDArray[np.float32],
        factors: Dense,
        out: NDArray[np.float32],
        alone: bool = False,
    ) -> float: ...
    def gradients(self) -> tuple[NDArray[np.int64], Dense]: ...
    def replace(self, features: NDArray[np.int64], gradients: Dense, most: int) -> None: ...
    def update(self, linear: Term, factors: Term) -> None: ...
