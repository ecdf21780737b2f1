import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

Integers = NDArray[np.int32]
Offsets = NDArray[np.int64]

def infer(
    starts: Offsets,
    words: Integers,
    counts: Dense,
    topics: Dense,
    alpha: Dense,
    theta: Dense,
    scratch: Dense,
    rounds: int,
    threads: int,
) -> None: ...
def count(
    starts: Offsets,
    documents: Integers,
    counts: Dense,
    topics: Dense,
    theta: Dense,
    expected: Dense,
    likelihood: NDArray[np.float64],
    threads: int,
) -> None: ...
