"""Builds the Cython kernels: every `_*.pyx` in the tree."""

import platform
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# x86-64-v3 (AVX2, FMA) and never `native`: an image must run on another machine than it was built on.
# No -ffast-math: it lets the compiler delete the checks for NaN.
MACHINE = ["-march=x86-64-v3"] if platform.machine() == "x86_64" else []


def kernels() -> list[Extension]:
    """One extension for each `_*.pyx`, named after its place in the tree."""
    return [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            language="c++",
            extra_compile_args=["-O3", "-fno-math-errno", "-std=c++17", "-fopenmp", *MACHINE],
            extra_link_args=["-fopenmp"],
        )
        for folder in ("formats", "algorithms")
        for source in sorted(Path(folder).glob("**/_*.pyx"))
    ]


setup(
    ext_modules=cythonize(
        kernels(),
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
    )
)
