import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def score(
    points: Dense,
    starts: NDArray[np.intp],
    feature: NDArray[np.int32],
    value: Dense,
    mass: NDArray[np.int32],
    link: NDArray[np.int32],
    box: NDArray[np.intp],
    boxes: Dense,
    sides: NDArray[np.float64],
    X: Dense,
    scores: NDArray[np.float64],
    shares: Dense,
    block: int,
    large: bool,
    floats: Dense,
    integers: NDArray[np.int32],
    sums: NDArray[np.float64],
    threads: int,
) -> None: ...
