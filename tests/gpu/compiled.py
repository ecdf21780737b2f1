"""CuPy's ElementwiseKernel for a CPU: the same text, compiled by the C++ compiler that the project needs anyway."""

import ctypes
import os
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

TYPES = {"float32": ("float", np.float32), "bool": ("bool", np.bool_)}
SOURCE = """
#include <math.h>
#define __device__ static
{preamble}
extern "C" void run(long n, {arguments}) {{ for (long i = 0; i < n; i++) {{ {names} {{ {operation} }} }} }}
"""


def kernels_of(module):
    """The class ElementwiseKernel for the arrays of a CuPy that forwards."""

    class ElementwiseKernel:
        """As CuPy's: arrays are broadcast, those that are given for the outputs are changed in place."""

        def __init__(self, in_params, out_params, operation, name="kernel", preamble=""):
            self._ins = [each.split() for each in in_params.split(",")]
            self._outs = [each.split() for each in out_params.split(",")]
            every = self._ins + self._outs
            assert not {"i", "n"} & {each for _, each in every}  # CuPy's own words
            self._run = _compiled(
                SOURCE.format(
                    preamble=preamble,
                    operation=operation,
                    arguments=", ".join(f"{TYPES[kind][0]} *{each}_" for kind, each in every),
                    names=" ".join(
                        [f"const {TYPES[kind][0]} {each} = {each}_[i];" for kind, each in self._ins]
                        + [f"{TYPES[kind][0]} &{each} = {each}_[i];" for kind, each in self._outs]
                    ),
                )
            )

        def __call__(self, *arguments):
            given = [each._host if isinstance(each, module.Ndarray) else each for each in arguments]
            assert not any(isinstance(each, np.ndarray) for each in arguments)
            ins, outs = given[: len(self._ins)], given[len(self._ins) :]
            shape = np.broadcast_shapes(*(np.shape(each) for each in given))
            if not outs:
                outs = [np.empty(shape, TYPES[kind][1]) for kind, _ in self._outs]
            assert all(each.shape == shape for each in outs)
            ins = [
                np.ascontiguousarray(np.broadcast_to(np.asarray(each, TYPES[kind][1]), shape))
                for each, (kind, _) in zip(ins, self._ins, strict=True)
            ]
            held = [np.ascontiguousarray(each) for each in outs]
            pointers = [ctypes.c_void_p(each.ctypes.data) for each in ins + held]
            self._run(ctypes.c_long(int(np.prod(shape))), *pointers)
            for to, what in zip(outs, held, strict=True):
                to[...] = what
            placed = tuple(map(module.Ndarray, outs))
            return placed if len(placed) > 1 else placed[0]

    return ElementwiseKernel


@cache
def _compiled(source):
    with TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cpp")
        path.write_text(source)
        command = [os.environ.get("CXX", "c++"), "-O1", "-shared", "-fPIC", "-o", f"{folder}/kernel.so", str(path)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(f"{folder}/kernel.so").run
