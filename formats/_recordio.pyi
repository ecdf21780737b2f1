"""Types of the native scanner; see _recordio.pyx."""

import numpy as np
from numpy.typing import NDArray

def scan(data: bytes | memoryview, records: NDArray[np.void], last: bool) -> tuple[int, int, int]: ...
def fill_dense(
    data: bytes | memoryview, begin: NDArray[np.int64], end: NDArray[np.int64], values: NDArray[np.float32]
) -> int: ...
def fill_sparse(
    data: bytes | memoryview,
    records: NDArray[np.void],
    values: NDArray[np.float32],
    keys: NDArray[np.int64],
    row_starts: NDArray[np.int64],
) -> tuple[int, int, int, bool]: ...
