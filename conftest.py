"""Fixtures for every test, the shared ones and the algorithms': a temporary /opt/ml."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.job_folder import JobFolder


@pytest.fixture
def job_folder(tmp_path: Path) -> Callable[[str], JobFolder]:
    """Makes empty job folders, each of its own."""
    made = []

    def make(algorithm: str) -> JobFolder:
        made.append(tmp_path / f"ml{len(made)}")
        made[-1].mkdir()
        return JobFolder(made[-1], algorithm)

    return make
