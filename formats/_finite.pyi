import numpy as np
from numpy.typing import NDArray

def first_not_finite(bits: NDArray[np.uint32], missing: bool = False) -> int: ...
