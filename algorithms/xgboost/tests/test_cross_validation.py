"""Cross-validation (`_kfold`): how rows are parted, and what a job leaves."""

from collections.abc import Callable

import numpy as np
import pytest
import xgboost

from algorithms.errors import UserError
from algorithms.xgboost.cross_validation import split
from formats import Batch
from tests.job_folder import JobFolder


def parts_of(labels: list[float], kfold: int, classes: bool = False, groups: list[int] | None = None) -> list[int]:
    batch = Batch(
        np.zeros((len(labels), 1), np.float32),
        np.array(labels, np.float32),
        groups=None if groups is None else np.array(groups),
    )
    return split(batch, kfold, classes, np.random.default_rng(0)).tolist()


def test_parts_are_of_one_size() -> None:
    assert sorted(parts_of([0] * 7, 3)) == [0, 0, 0, 1, 1, 2, 2]


def test_each_part_has_its_share_of_each_class() -> None:
    parts = np.array(parts_of([0, 1, 1] * 10, 5, classes=True))
    labels = np.array([0, 1, 1] * 10)
    assert [labels[parts == part].tolist().count(0) for part in range(5)] == [2] * 5


def test_a_query_is_in_one_part() -> None:
    groups = [4, 4, 9, 9, 9, 4, 7, 7]
    parts = parts_of([0] * 8, 3, groups=groups)
    assert len(set(zip(groups, parts, strict=True))) == 3
    assert set(parts) == {0, 1, 2}


def test_more_parts_than_rows() -> None:
    with pytest.raises(UserError, match="'_kfold' must be at most the number of rows, got 4 for 3 rows"):
        parts_of([0] * 3, 4)
    with pytest.raises(UserError, match="the number of queries, got 3 for 2 queries"):
        parts_of([0] * 3, 3, groups=[1, 1, 2])


@pytest.mark.parametrize("objective", ["reg:squarederror", "multi:softprob"])
def test_a_job(train: Callable[..., JobFolder], objective: str) -> None:
    random = np.random.default_rng(0)
    features = np.round(random.normal(size=(90, 3)), 3).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.float32) + (features[:, 1] > 0)
    data = "".join(f"{label},{','.join(map(str, row))}\n" for label, row in zip(labels, features.tolist(), strict=True))
    settings = {"num_class": 3} if objective == "multi:softprob" else {}
    lines = data.encode().splitlines(keepends=True)
    job = train(
        train=b"".join(lines[:60]),
        validation=b"".join(lines[60:]),
        objective=objective,
        num_round=4,
        _kfold=3,
        _num_cv_round=2,
        **settings,
    )
    assert sorted(job.artifact()) == ["manifest.json", *(f"xgboost-model-{i}" for i in range(6))]
    table = np.loadtxt(job.base / "output/data/predictions.csv", delimiter=",", dtype=np.float32)
    width = 3 if objective == "multi:softprob" else 1
    assert table.shape == (90, 1 + 2 * width)
    np.testing.assert_array_equal(table[:, 0], labels)
    # each row's first prediction is one of the first three models', and there are three that have not seen it
    answers = []
    for i in range(3):
        booster = xgboost.Booster(model_file=bytearray(job.artifact()[f"xgboost-model-{i}"]))
        answers.append(booster.predict(xgboost.DMatrix(features)).reshape(90, width))
    matching = np.array([(answer == table[:, 1 : 1 + width]).all(axis=1) for answer in answers])
    assert matching.any(axis=0).all()
    log = (job.base / "train.log").read_text()
    assert log.count("\ttrain-") == 1
    assert "[4]\ttrain-" in log
    with job.serve() as server:
        assert server.invoke(b"0.1,0.2,0.3", "text/csv").status == 200
