from formats.batch import Dense

def adam(
    weights: Dense,
    gradient: Dense,
    mean: Dense,
    square: Dense,
    rate: Dense,
    wd: Dense,
    l1: Dense,
    beta_1: float,
    beta_2: float,
) -> None: ...
def sgd(
    weights: Dense, gradient: Dense, velocity: Dense, rate: Dense, wd: Dense, l1: Dense, momentum: float
) -> None: ...
def rmsprop(
    weights: Dense, gradient: Dense, square: Dense, rate: Dense, wd: Dense, l1: Dense, decay: float
) -> None: ...
