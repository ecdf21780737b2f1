"""Jobs of XGBoost for its tests: the real programs, and channels on files."""

from collections.abc import Callable

import pytest

from tests.job_folder import JobFolder


@pytest.fixture
def train(job_folder: Callable[[str], JobFolder]) -> Callable[..., JobFolder]:
    """`train(train=csv, validation=csv, content_type=..., eta=0.1)`: a job that ended well."""

    def run(content_type: str = "text/csv", *, expect: int = 0, **given: object) -> JobFolder:
        job = job_folder("xgboost")
        for name in ("train", "validation"):
            if (files := given.pop(name, None)) is not None:
                job.channel(name, files if isinstance(files, dict) else {"data": files}, content_type)
        job.hyperparameters = {"nthread": "1"} | {name: str(value) for name, value in given.items()}
        ended = job.train()
        assert ended.exit_code == expect, ended.log
        return job

    return run
