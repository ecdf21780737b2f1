import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

Integers = NDArray[np.int32]
Offsets = NDArray[np.int64]
Keys = NDArray[np.uint64]

def pieces(starts: Offsets, words: Integers, counts: Dense, first: Offsets, keys: Keys) -> None: ...
def sweep(
    starts: Offsets,
    words: Integers,
    counts: Dense,
    topics: Dense,
    alpha: Dense,
    first: Offsets,
    keys: Keys,
    seed: int,
    drawings: NDArray[np.int16],
    given: Dense,
    tallies: Offsets,
    scratch: Dense,
    threads: int,
) -> None: ...
