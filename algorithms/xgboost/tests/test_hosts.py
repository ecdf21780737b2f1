"""Several hosts: they learn what one host learns from all rows, or say that they cannot."""

from collections.abc import Callable

import pytest

from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.job import Job
from algorithms.report import Report
from algorithms.xgboost.fit import _check
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.parameters import library_parameters
from algorithms.xgboost.tests.tables import booster_of, csv, log_of, rmse, rounds_of, table
from tests.job_folder import JobFolder, free_port

Make = Callable[..., JobFolder]


def hosts(
    job_folder: Callable[[str], JobFolder], shares: list[bytes], distribution: str, **given: object
) -> list[JobFolder]:
    """Trains on hosts that have these shares of the channel train, and all of the channel validation."""
    names, port = [f"127.0.0.{i + 1}" for i in range(len(shares))], str(free_port())
    jobs = []
    for name, share in zip(names, shares, strict=True):
        job = job_folder("xgboost")
        job.hyperparameters = {"nthread": "1"} | {key: str(value) for key, value in given.items()}
        job.resources = {"current_host": name, "hosts": names}
        job.environment = {"INBUILT_CLUSTER_PORT": port}
        job.channel("train", {"data": share} if share else {}, "text/csv", S3DistributionType=distribution)
        job.channel("validation", {"data": csv(table(500, 9))}, "text/csv")
        jobs.append(job)
    processes = [job.start("train") for job in jobs]
    for job, process in zip(jobs, processes, strict=True):
        ended = job.finish(process)
        assert ended.exit_code == 0, ended.log
    assert [sorted(job.artifact()) for job in jobs] == [["manifest.json", "xgboost-model"], *[[]] * (len(jobs) - 1)]
    return jobs


@pytest.mark.parametrize("distribution", ["ShardedByS3Key", "FullyReplicated"])
def test_two_hosts_learn_what_one_learns(train: Make, job_folder, distribution: str) -> None:
    rows = table(4000)
    settings = {"num_round": 20, "max_depth": 4, "eval_metric": "rmse,mse"}
    one = train(train=csv(rows), validation=csv(table(500, 9)), **settings)
    sharded = distribution == "ShardedByS3Key"
    shares = [csv(rows[:1500]), csv(rows[1500:])] if sharded else [csv(rows)] * 2
    first, second = hosts(job_folder, shares, distribution, **settings)
    test = table(2000, 5)
    assert rmse(first, test) == pytest.approx(rmse(one, test), rel=0.01)
    assert rounds_of(second) == []
    last = {
        name: float(value) for name, _, value in (each.rpartition(":") for each in rounds_of(first)[-1].split("\t")[1:])
    }
    assert last["validation-mse"] == pytest.approx(last["validation-rmse"] ** 2, rel=1e-4)
    kept = [int(log_of(job).split("Train matrix has ")[1].split()[0]) for job in (first, second)]
    assert kept == ([1500, 2500] if sharded else [2000, 2000])


def test_a_host_without_rows_and_early_stopping(job_folder) -> None:
    first, *_ = hosts(
        job_folder,
        [csv(table(300)), b"", csv(table(300, 1))],
        "ShardedByS3Key",
        num_round=60,
        eta=0.6,
        early_stopping_rounds=3,
    )
    best = int(booster_of(first).attr("best_iteration") or -1)
    assert booster_of(first).num_boosted_rounds() == best + 1 == len(rounds_of(first)) - 3


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"booster": "gblinear"}, "booster", "gblinear"),
        ({"tree_method": "exact"}, "tree_method", "exact"),
        ({"updater": "grow_quantile_histmaker,refresh"}, "updater", "grow_quantile_histmaker,refresh"),
        ({"objective": "survival:cox"}, "objective", "survival:cox"),
        ({"_kfold": "2"}, "_kfold", "2"),
    ],
)
def test_what_needs_one_host(settings: dict, name: str, value: str) -> None:
    """What the library would compute from each host's rows alone, or not at all."""
    given = XGBoostHyperparameters.parse({"num_round": "1"} | settings)
    report = Report("algo-1", "XGBoost", None)
    parameters, _ = library_parameters(given)
    _check(Job({}, Cluster(), report, lambda: False), given, parameters)
    with pytest.raises(UserError) as refused:
        _check(Job({}, Cluster(0, 2), report, lambda: False), given, parameters)
    assert str(refused.value).startswith(
        f"hyperparameter '{name}' must not be {value} on several hosts, the job has 2."
    )


def test_queries_on_one_of_two_hosts(job_folder: Callable[[str], JobFolder]) -> None:
    names, port = ["127.0.0.1", "127.0.0.2"], str(free_port())
    shares = [b"1 qid:1 0:2\n0 qid:1 0:3\n", b"1 0:2\n0 0:3\n"]
    jobs = []
    for name, share in zip(names, shares, strict=True):
        job = job_folder("xgboost")
        job.hyperparameters = {"objective": "rank:ndcg", "num_round": "2"}
        job.resources = {"current_host": name, "hosts": names}
        job.environment = {"INBUILT_CLUSTER_PORT": port}
        job.channel("train", {"data": share}, S3DistributionType="ShardedByS3Key")
        jobs.append(job)
    processes = [job.start("train") for job in jobs]
    for job, process in zip(jobs, processes, strict=True):
        ended = job.finish(process)
        assert ended.exit_code == 2, ended.log
        assert ended.failure == (
            "ClientError: all rows of channel 'train' must have a qid, or none, found a qid on 1 of 2 hosts."
        )
