import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def maximise(
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    counts: Dense,
    words: Dense,
    prior: Dense,
    tolerance: float,
    threads: int,
    answers: Dense,
    gaps: NDArray[np.float64],
) -> None: ...
