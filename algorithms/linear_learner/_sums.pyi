from formats.batch import Dense

LOSSES: dict[str, int]

def add(
    X: Dense,
    y: Dense,
    weights: Dense,
    bias: Dense,
    scale: Dense,
    shift: Dense,
    loss: int,
    parameter: float,
    class_weights: Dense,
    weighs_loss: bool,
    sums: Dense,
) -> None: ...
