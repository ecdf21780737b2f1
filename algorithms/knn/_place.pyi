import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def place(X: Dense, rows: NDArray[np.int64], slots: NDArray[np.int64], kept: Dense) -> None: ...
