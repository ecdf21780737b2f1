"""The algorithms: each folder here is one, each file is shared by all of them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from algorithms.algorithm import Algorithm


@cache
def names() -> tuple[str, ...]:
    """The folders that hold an algorithm, sorted."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("[a-z]*/__init__.py")))


def find(name: str) -> Algorithm:
    """The algorithm of this folder or guide's repository name; only its own package is imported.

    Raises UserError.
    """
    folder = name.strip().lower().replace("-", "_")
    if folder not in names():
        folder = _folder_of_repository(name.strip().lower())
    algorithm: Algorithm = import_module(f"algorithms.{folder}").algorithm
    return algorithm


def _folder_of_repository(repository: str) -> str:
    for folder in names():
        if folder.replace("_", "") == repository.replace("-", "").replace("_", ""):
            return folder
    from algorithms.errors import (
        UserError,
    )  # not at the top: `names()` is asked for by builds that have no dependencies

    raise UserError(f"INBUILT_ALGORITHM must be one of {', '.join(names())}, got '{repository}'")
