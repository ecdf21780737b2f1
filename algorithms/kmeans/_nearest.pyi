import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def nearest_of_few(X: Dense, C: Dense, labels: NDArray[np.intp], squared: NDArray[np.float64]) -> None: ...
def nearest_of_costs(
    X: Dense, C: Dense, costs: Dense, offset: Dense, labels: NDArray[np.intp], squared: NDArray[np.float64]
) -> bool: ...
def squared_distances(X: Dense, C: Dense, labels: NDArray[np.intp], squared: NDArray[np.float64]) -> None: ...
