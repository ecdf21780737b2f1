import numpy as np
from numpy.typing import NDArray

from formats.batch import Dense

def grow(
    points: Dense,
    uniform: NDArray[np.float64],
    order: NDArray[np.int32],
    feature: NDArray[np.int32],
    value: Dense,
    mass: NDArray[np.int32],
    nodes: NDArray[np.int32],
    boxes: Dense,
    ends: NDArray[np.int32],
    threads: int,
) -> None: ...
def enclose_nodes(
    points: Dense,
    starts: NDArray[np.intp],
    feature: NDArray[np.int32],
    value: Dense,
    mass: NDArray[np.int32],
    box: NDArray[np.intp],
    link: NDArray[np.int32],
    boxes: Dense,
    sides: NDArray[np.float64],
    height: NDArray[np.int32],
    stacks: NDArray[np.int32],
    faults: NDArray[np.int32],
    threads: int,
) -> None: ...
