import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def vote(
    labels: NDArray[np.float32],
    numbers: NDArray[np.int64],
    distances: Dense,
    classifier: bool,
    farthest: bool,
    answers: NDArray[np.float32],
) -> int: ...
