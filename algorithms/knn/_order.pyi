import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def put_in_order(distances: Dense, numbers: NDArray[np.int64]) -> None: ...
