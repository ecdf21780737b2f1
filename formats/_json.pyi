"""What the native scan of JSON instances offers."""

import numpy as np
from numpy.typing import NDArray

def scan(text: bytes, features: NDArray[np.float32], lines: bool) -> int: ...
