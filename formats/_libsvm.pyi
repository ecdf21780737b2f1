"""What the native scan of LibSVM lines offers."""

import numpy as np
from numpy.typing import NDArray

USED_UP: int
BLANK_LINE: int
BAD_LINE: int
LABEL: int
WEIGHT: int
GROUP: int

def count(text: bytes | memoryview) -> tuple[int, int]: ...
def scan(
    text: bytes | memoryview,
    position: int,
    first_index: int,
    width: int,
    training: bool,
    kind: int,
    labels: NDArray[np.float32],
    weights: NDArray[np.float32],
    groups: NDArray[np.int64],
    bounds: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
) -> tuple[int, int, int, int, int]: ...
