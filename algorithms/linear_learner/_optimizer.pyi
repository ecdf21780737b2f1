from algorithms.linear_learner.optimizer import Plan
from formats.batch import Dense

KINDS: dict[str, int]

def step(weights: Dense, gradient: Dense, plan: Plan) -> None: ...
def average(mean: Dense, weights: Dense, share: float, sparse: bool) -> None: ...
