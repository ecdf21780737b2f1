import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def nearest_of_few(X: Dense, C: Dense, labels: NDArray[np.intp], squared: NDArray[np.float64]) -> None: ...
def squared_distances(X: Dense, C: Dense, labels: NDArray[np.intp], squared: NDArray[np.float64]) -> None: ...
