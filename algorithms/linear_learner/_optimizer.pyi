from algorithms.linear_learner.optimizer import Plan
from formats.batch import Dense

KINDS: dict[str, int]

def step(weights: Dense, gradient: Dense, plan: Plan) -> None: ...
