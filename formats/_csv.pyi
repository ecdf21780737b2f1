"""What the native scan of CSV lines offers."""

import numpy as np
from numpy.typing import NDArray

USED_UP: int
BLANK_LINE: int
BAD_CELL: int
BAD_LENGTH: int

def scan(
    text: bytes | memoryview, position: int, labels: NDArray[np.float32], features: NDArray[np.float32], row: int
) -> tuple[int, int, int, int]: ...
