"""BLAS' dsyrk without the interpreter's lock, which SciPy's function of that name keeps while it computes.

SciPy hands out pointers to BLAS for Cython; ctypes calls one as well, and no kernel needs SciPy to be built.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from ctypes import byref, c_char_p, c_double, c_int, c_void_p, pythonapi
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_blas

SIGNATURE = "void (char *, char *, int *, int *, d *, d *, int *, d *, d *, int *)"


def add_products(Z: NDArray[np.float64], products: NDArray[np.float64]) -> None:
    """Adds Z'Z to the lower triangle of products (d, d), at least; Z is (n, d), both C-contiguous."""
    n, d = Z.shape
    if not (Z.flags.c_contiguous and products.flags.c_contiguous and products.shape == (d, d)):
        raise ValueError("rows and products must be contiguous and equally wide")
    dsyrk = _dsyrk()
    if dsyrk is None:
        products += Z.T @ Z
        return
    rows, width, one = byref(c_int(n)), byref(c_int(d)), byref(c_double(1.0))
    # Fortran takes our rows for columns, and so its upper triangle is our lower one
    dsyrk(b"U", b"N", width, rows, one, Z.ctypes.data, width, one, products.ctypes.data, width)


@cache
def _dsyrk() -> Callable[..., None] | None:
    """None where SciPy's has another signature, such as longer integers."""
    capsule = ctypes.py_object(cython_blas.__pyx_capi__["dsyrk"])
    name = ctypes.PYFUNCTYPE(c_char_p, ctypes.py_object)(("PyCapsule_GetName", pythonapi))(capsule)
    if re.sub(r"__pyx_t_\w+_d\b", "d", name.decode()) != SIGNATURE:
        return None
    pointer = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, c_char_p)(("PyCapsule_GetPointer", pythonapi))(
        capsule, name
    )
    return ctypes.CFUNCTYPE(None, *[c_void_p] * 10)(pointer)
