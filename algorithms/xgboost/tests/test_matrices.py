"""Rows on their way into matrices: in memory, as quantiles or in files they give the same trees."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import xgboost

from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.job import ChannelConfig, Job
from algorithms.report import Report
from algorithms.xgboost.checks import RowCheck
from algorithms.xgboost.data import Rows, agree, read
from algorithms.xgboost.matrices import matrices
from algorithms.xgboost.tests.tables import csv, libsvm, table, trees_of
from formats import Expected
from tests.job_folder import JobFolder

Make = Callable[..., JobFolder]


@pytest.fixture
def rows_of(tmp_path: Path) -> Iterator[Callable[[bytes, str, float], Rows]]:
    """`rows_of(content, content_type, room)`: the rows of a channel, for which there are `room` bytes of memory."""
    made: list[Rows] = []

    def read_all(content: bytes, content_type: str, room: float, expect: type[Exception] | None = None) -> Rows:
        data = tmp_path / str(len(made))
        (data / "train").mkdir(parents=True)
        (data / "train" / "data").write_bytes(content)
        report = Report("algo-1", "XGBoost", None)
        channel = Channel(ChannelConfig("train"), data, content_type, report, lambda: False, allows_missing=True)
        made.append(Rows("train", content_type == "text/libsvm", room, data))
        job = Job({"train": channel}, Cluster(), report, lambda: False)
        with pytest.raises(expect) if expect else nullcontext():
            read(job, channel, made[-1], Expected(None, 1), RowCheck(channel.media_type, [], 0))
        return made[-1]

    yield read_all
    for rows in made:
        rows.close()
    assert [path.name for path in tmp_path.glob("*/*")] == ["train"] * len(made)


@pytest.mark.parametrize("parameters", [{}, {"tree_method": "approx"}, {"max_bin": 16}])
@pytest.mark.parametrize("kind", ["csv", "libsvm"])
def test_rows_beyond_memory_give_the_same_trees(rows_of, monkeypatch, kind: str, parameters: dict) -> None:
    monkeypatch.setattr("algorithms.xgboost.data.ROWS", 300)  # several pages
    content = csv(table(1000)) if kind == "csv" else libsvm(table(1000))
    dumps = []
    for free, room in ((1e12, np.inf), (0, np.inf), (0, 10_000)):  # a DMatrix, quantiles, quantiles in files
        monkeypatch.setattr("algorithms.xgboost.matrices.free_memory", lambda free=free: free)
        rows = rows_of(content, f"text/{kind}", room)
        assert rows.filed == (room == 10_000)
        made = matrices(Cluster(), [rows], agree(Cluster(), [rows]), parameters)
        booster = xgboost.Booster(parameters | {"nthread": 1}, made)
        for i in range(4):
            booster.update(made[0], i)
        dumps.append(trees_of(booster))
    assert dumps[0] == dumps[1] == dumps[2]


def test_what_must_be_in_memory_says_so(rows_of) -> None:
    queries = b"".join(b"%d qid:%d 1:%d\n" % (i % 3, i // 10, i % 7) for i in range(500))
    rows = rows_of(queries, "text/libsvm", 1000)
    with pytest.raises(UserError, match=r"rows of queries \(qid\) must be in it"):
        matrices(Cluster(), [rows], agree(Cluster(), [rows]), {"objective": "rank:ndcg"})


def test_a_query_has_one_weight(rows_of) -> None:
    same = rows_of(b"1:2 qid:7 0:3\n0:2 qid:7 0:4\n1:5 qid:8 0:1\n", "text/libsvm", np.inf)
    ranked = {"objective": "rank:ndcg"}
    [made] = matrices(Cluster(), [same], agree(Cluster(), [same]), ranked)
    assert made.get_weight().tolist() == [2, 5]
    different = rows_of(b"1:2 qid:7 0:3\n0:1 qid:7 0:4\n", "text/libsvm", np.inf)
    with pytest.raises(UserError, match="must have the same weight, got 2 and 1 for qid 7"):
        matrices(Cluster(), [different], agree(Cluster(), [different]), ranked)


def test_rows_survive_files(rows_of) -> None:
    [batch] = rows_of(b"1:2 qid:7 1:0 3:nan\n0:1 qid:8\n", "text/libsvm", 0)
    assert (batch.labels.tolist(), batch.weights.tolist(), batch.groups.tolist()) == ([1, 0], [2, 1], [7, 8])
    assert batch.features.indices.tolist() == [1, 3]
    assert batch.features.data[0] == 0
    assert np.isnan(batch.features.data[1])


@pytest.mark.parametrize("updater", ["grow_colmaker", "grow_colmaker,refresh,prune", "grow_quantile_histmaker,refresh"])
@pytest.mark.parametrize("free", [0, 1e12])
def test_updaters_get_the_matrix_they_need(rows_of, monkeypatch, updater: str, free: float) -> None:
    monkeypatch.setattr("algorithms.xgboost.matrices.free_memory", lambda: free)
    rows = rows_of(csv(table(200)), "text/csv", np.inf)
    parameters = {"updater": updater}
    made = matrices(Cluster(), [rows], agree(Cluster(), [rows]), parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the updater was chosen by hand
        booster = xgboost.Booster(parameters, made)
        booster.update(made[0], 0)
    assert booster.num_boosted_rounds() == 1


def test_channels_that_differ_in_queries(rows_of) -> None:
    ranked, plain = (rows_of(text, "text/libsvm", np.inf) for text in (b"1 qid:1 0:1\n", b"1 0:1\n"))
    plain.name = "validation"
    with pytest.raises(UserError, match="must have rows with a qid, or none, found a qid in channel 'train' only"):
        agree(Cluster(), [ranked, plain])


def test_rows_that_weigh_nothing_still_count_their_features(rows_of) -> None:
    rows = rows_of(b"1:0 1:2 9:3\n0:0 1:5\n", "text/libsvm", np.inf, expect=UserError)
    assert (rows.count, rows.indices) == (0, (1, 9))
