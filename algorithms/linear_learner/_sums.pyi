import numpy as np
from numpy.typing import NDArray

from algorithms.linear_learner.optimizer import Plan
from formats.batch import Dense

# scale (d,), shift (d,), one of LOSSES, its parameter, class weights (classes, m) or (0, 0), whether these weigh losses
Objective = tuple[Dense, Dense, int, float, Dense, bool]

LOSSES: dict[str, int]

def add(X: Dense, y: Dense, weights: Dense, bias: Dense, loss: Objective, sums: Dense) -> None: ...
def learn(
    X: Dense,
    y: Dense,
    rows: int,
    weights: Dense,
    bias: Dense,
    loss: Objective,
    sums: Dense,
    factors: Dense,
    plan: Plan,
    bias_plan: Plan | None,
    mean: Dense,
    bias_mean: Dense,
    shares: Dense,
    losses: NDArray[np.float64],
) -> None: ...
