import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def sieve(
    rows: Dense,
    center: Dense,
    Q: Dense,
    k: int,
    inner: bool,
    longest: float,
    threads: int,
    numbers: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None: ...
