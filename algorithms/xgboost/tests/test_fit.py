"""Training as a whole, in the real program: rounds, early stopping, stops, kills, hosts, and data beyond memory."""

import json
import signal
import time
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
from algorithms.xgboost.fit import _check
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.matrices import matrices
from algorithms.xgboost.parameters import library_parameters
from formats import Expected
from tests.job_folder import JobFolder, free_port

Make = Callable[..., JobFolder]


def table(n: int, seed: int = 0, d: int = 5) -> np.ndarray:
    """(n, 1 + d): a noisy sum of steps, and its features."""
    random = np.random.default_rng(seed)
    features = np.round(random.normal(size=(n, d)), 3)
    labels = np.sign(features[:, 0]) + np.sin(3 * features[:, 1]) + random.normal(size=n)
    return np.column_stack([np.round(labels, 3), features]).astype(np.float32)


def csv(rows: np.ndarray) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()


def libsvm(rows: np.ndarray, first: int = 1) -> bytes:
    lines = [f"{row[0]} " + " ".join(f"{i}:{value}" for i, value in enumerate(row[1:], first)) for row in rows.tolist()]
    return "\n".join(lines).encode()


def booster_of(job: JobFolder) -> xgboost.Booster:
    return xgboost.Booster(model_file=bytearray(job.artifact()["xgboost-model"]))


def log_of(job: JobFolder) -> str:
    return (job.base / "train.log").read_text()


def rounds_of(job: JobFolder) -> list[str]:
    return [line for line in log_of(job).splitlines() if "\ttrain-" in line]


def trees_of(booster: xgboost.Booster) -> list[str]:
    return booster.get_dump(with_stats=True)


def rmse(job: JobFolder, rows: np.ndarray) -> float:
    answers = booster_of(job).predict(xgboost.DMatrix(rows[:, 1:]))
    return float(np.sqrt(np.mean((answers - rows[:, 0]) ** 2)))


def test_round_lines(train: Make) -> None:
    job = train(train=csv(table(300)), validation=csv(table(100, 1)), num_round=3, eval_metric="mae,rmse")
    found: dict[str, dict[str, float]] = {}
    rows, others = table(300), table(100, 1)
    watched = [(xgboost.DMatrix(rows[:, 1:], rows[:, 0]), "train"), (xgboost.DMatrix(others[:, 1:], others[:, 0]), "v")]
    settings = {"eval_metric": ["mae", "rmse"], "nthread": 1}
    xgboost.train(settings, watched[0][0], 3, evals=watched, evals_result=found, verbose_eval=False)
    assert rounds_of(job) == [
        f"[{i}]\ttrain-mae:{found['train']['mae'][i]:.5f}\ttrain-rmse:{found['train']['rmse'][i]:.5f}"
        f"\tvalidation-mae:{found['v']['mae'][i]:.5f}\tvalidation-rmse:{found['v']['rmse'][i]:.5f}"
        for i in range(3)
    ]


def test_early_stopping_keeps_the_best_round_without_an_eval_metric(train: Make) -> None:
    data = {"train": csv(table(300)), "validation": csv(table(200, 1))}
    job = train(**data, num_round=200, eta=0.5, early_stopping_rounds=4)
    scores = [float(line.rpartition(":")[2]) for line in rounds_of(job)]
    best = int(np.argmin(scores))
    booster = booster_of(job)
    assert len(scores) == best + 5 < 200
    assert booster.num_boosted_rounds() == best + 1
    assert booster.attributes() == {"best_iteration": str(best), "best_score": booster.attr("best_score")}
    assert f"Early stop condition met: round {best} was the best." in log_of(job)
    short = train(**data, num_round=best + 1, eta=0.5)
    assert trees_of(booster) == trees_of(booster_of(short))


def test_early_stopping_watches_the_tuned_metric(train: Make) -> None:
    rows, others = table(300), table(200, 1)
    rows[:, 0], others[:, 0] = rows[:, 0] > 0, others[:, 0] > 0
    data = {"train": csv(rows), "validation": csv(others), "objective": "binary:logistic", "num_round": 60}
    asked = {"eval_metric": "auc,logloss", "_tuning_objective_metric": "validation:auc", "early_stopping_rounds": 5}
    job = train(**data, **asked)
    scores = [float(line.split("validation-auc:")[1].split()[0]) for line in rounds_of(job)]
    assert booster_of(job).attr("best_iteration") == str(int(np.argmax(scores)))


def test_early_stopping_by_a_metric_of_ours(train: Make) -> None:
    rows, others = table(300), table(200, 1)
    rows[:, 0], others[:, 0] = rows[:, 0] > 0, others[:, 0] > 0
    settings = {"objective": "binary:logistic", "eval_metric": "f1", "early_stopping_rounds": 3, "num_round": 60}
    job = train(train=csv(rows), validation=csv(others), **settings)
    scores = [float(line.rpartition("validation-f1:")[2]) for line in rounds_of(job)]
    assert booster_of(job).attr("best_iteration") == str(int(np.argmax(scores)))


@pytest.mark.parametrize("booster", ["gblinear", "dart"])
def test_early_stopping_of_other_boosters(train: Make, booster: str) -> None:
    """Their first rounds are not what they were after them: dart scales earlier trees again."""
    others = table(200, 1)
    data = {"train": csv(table(300)), "validation": csv(others), "booster": booster}
    settings = {"eta": 0.9} if booster == "gblinear" else {"rate_drop": 0.3, "eta": 0.6}
    job = train(**data, **settings, num_round=100, early_stopping_rounds=3)
    best = int(booster_of(job).attr("best_iteration") or -1)
    assert 0 <= best < len(rounds_of(job)) - 1
    assert booster_of(job).num_boosted_rounds() == best + 1
    assert rmse(job, others) == pytest.approx(float(booster_of(job).attr("best_score") or 0), rel=1e-5)
    short = train(**data, **settings, num_round=best + 1)
    assert booster_of(job).get_dump() == booster_of(short).get_dump()


def test_early_stopping_without_validation_says_so(train: Make) -> None:
    job = train(train=csv(table(100)), num_round=8, early_stopping_rounds=1)
    assert len(rounds_of(job)) == 8
    assert "early_stopping_rounds is 1, but there is no channel 'validation' to watch: all 8 rounds are run." in log_of(
        job
    )


@pytest.mark.parametrize("first", [0, 1])
def test_libsvm_indices_count_as_in_training(train: Make, first: int) -> None:
    rows = table(200)
    job = train("text/libsvm", train=libsvm(rows, first), num_round=3)
    dense = train(train=csv(rows), num_round=3)
    assert booster_of(job).num_features() == 5
    assert booster_of(job).attr("first_index") == str(first)
    assert trees_of(booster_of(job)) == trees_of(booster_of(dense))


def test_weights_repeat_rows(train: Make) -> None:
    """A row of weight 2 counts as two rows do; in CSV and in LibSVM."""
    rows = table(120)
    weights = np.random.default_rng(3).integers(1, 4, len(rows)).astype(np.float32)
    settings = {"num_round": 3, "tree_method": "exact", "base_score": 0}
    repeated = train(train=csv(np.repeat(rows, weights.astype(int), axis=0)), **settings)
    weighted = np.column_stack([rows[:, :1], weights, rows[:, 1:]])
    of_csv = train(train=csv(weighted), csv_weights=1, **settings)
    lines = [
        line.replace(b" ", f":{weight} ".encode(), 1)
        for line, weight in zip(libsvm(rows).split(b"\n"), weights, strict=True)
    ]
    of_libsvm = train("text/libsvm", train=b"\n".join(lines), **settings)
    answers = [booster_of(job).predict(xgboost.DMatrix(rows[:, 1:])) for job in (repeated, of_csv, of_libsvm)]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answers[2], answers[1])


def test_queries_in_any_order(train: Make) -> None:
    """The rows of a query are brought together, and are not mixed with another's."""
    random = np.random.default_rng(0)
    rows = table(200)
    rows[:, 0] = random.integers(0, 4, 200)
    queries = np.repeat(np.arange(20), 10)
    lines = [
        line.replace(b" ", f" qid:{query} ".encode(), 1)
        for line, query in zip(libsvm(rows).split(b"\n"), queries, strict=True)
    ]
    settings = {"objective": "rank:ndcg", "num_round": 4}
    in_order = train("text/libsvm", train=b"\n".join(lines), **settings)
    order = np.argsort(np.arange(200) % 10, kind="stable")
    mixed = train("text/libsvm", train=b"\n".join(lines[i] for i in order), **settings)
    assert trees_of(booster_of(mixed)) == trees_of(booster_of(in_order))
    oracle = xgboost.train(
        {"objective": "rank:ndcg", "nthread": 1}, xgboost.DMatrix(rows[:, 1:], rows[:, 0], qid=queries), 4
    )
    assert trees_of(oracle) == trees_of(booster_of(in_order))


KILLED = {
    "trees": {},
    "random": {"subsample": 0.7, "colsample_bytree": 0.6, "colsample_bynode": 0.7, "eta": 0.1},
    "dart": {"booster": "dart", "rate_drop": 0.2},
    "exact": {"tree_method": "exact", "subsample": 0.6},
    "linear": {"booster": "gblinear"},
    "stopped": {"booster": "dart", "rate_drop": 0.5, "eta": 0.8, "early_stopping_rounds": 8},
}


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_job_goes_on_to_the_same_bytes(train: Make, job_folder: Callable[[str], JobFolder], name: str) -> None:
    data = {"train": csv(table(2000)), "validation": csv(table(500, 1))}
    settings = {"num_round": 60, "early_stopping_rounds": 20, "seed": 7} | KILLED[name]
    jobs = [job_folder("xgboost"), job_folder("xgboost")]
    for job in jobs:
        (job.base / "checkpoints").mkdir()
        job.hyperparameters = {"nthread": "1"} | {key: str(value) for key, value in settings.items()}
        for channel, content in data.items():
            job.channel(channel, {"data": content}, "text/csv")
    whole, killed = jobs
    assert whole.train().exit_code == 0
    folder = killed.base / "checkpoints"
    for kills in (1, 2):
        before = {path.name for path in folder.iterdir()}
        process = killed.start("train")
        while process.poll() is None and not {path.name for path in folder.glob("*[0-9]")} - before:
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert kills == 2 or any(folder.iterdir())
    ended = killed.train()
    assert ended.exit_code == 0
    assert "Going on after round" in ended.log
    assert killed.artifact()["xgboost-model"] == whole.artifact()["xgboost-model"]
    assert len([path for path in folder.iterdir() if path.name.startswith("xgboost-checkpoint.")]) <= 5


def latest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: int(path.suffix[1:]))


def test_checkpoints_of_the_platform_and_damaged_ones(train: Make, job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    folder = job.base / "kept"
    config = job.base / "input" / "config"
    config.mkdir(parents=True)
    (config / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(folder), "S3Uri": "s3://bucket/x"}))
    job.channel("train", {"data": csv(table(500))}, "text/csv")
    job.hyperparameters = {"num_round": "5"}
    assert job.train().exit_code == 0
    newest = latest(folder)
    (folder / "xgboost-checkpoint.4000").write_bytes(newest.read_bytes()[:-40])
    (folder / "xgboost-checkpoint.9.sagemaker-ignore").write_bytes(b"half")
    again = job.train()
    passed_over = (
        "The checkpoint xgboost-checkpoint.4000 is damaged, or not one of this container's: it is passed over."
    )
    assert passed_over in again.log
    assert f"Going on after round {newest.suffix[1:]}, from the checkpoint that was found." in again.log
    assert not (folder / "xgboost-checkpoint.9.sagemaker-ignore").exists()
    (folder / "xgboost-checkpoint.4000").unlink()
    newest = latest(folder)
    job.hyperparameters |= {"eta": "0.1"}
    refused = job.train()
    assert refused.exit_code == 2
    assert refused.failure == (
        f"ClientError: the checkpoint {newest.name} was written by a job with other hyperparameters or data: "
        "eta = None then and 0.1 now. Please give this job a checkpoint folder of its own, or the same hyperparameters "
        "and data."
    )
    job.hyperparameters.pop("eta")
    job.hyperparameters["num_round"] = "1"
    assert (job.train().failure or "").startswith(
        f"ClientError: hyperparameter 'num_round' must be at least {int(newest.suffix[1:]) + 1}, the rounds"
    )
    job.hyperparameters["num_round"] = "9"
    (folder / "xgboost-checkpoint.8000").mkdir()  # no checkpoint
    job.channel("train", {"data": csv(table(500, d=7))}, "text/csv")
    assert "with other hyperparameters or data: features = 5 then and 7 now" in (job.train().failure or "")
    job.channel("train", {"data": csv(table(500, seed=8))}, "text/csv")
    assert "with other hyperparameters or data: rows = [[500, " in (job.train().failure or "")


def test_a_checkpoint_folder_that_cannot_be_used(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    (job.base / "kept").write_bytes(b"a file")
    config = job.base / "input" / "config"
    config.mkdir(parents=True)
    (config / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(job.base / "kept")}))
    job.channel("train", {"data": csv(table(50))}, "text/csv")
    job.hyperparameters = {"num_round": "2"}
    ended = job.train()
    assert ended.exit_code == 3
    assert ended.failure == f"PlatformError: cannot use the checkpoint folder {job.base / 'kept'}: File exists"


def test_a_metric_that_is_no_number_stops_nothing(train: Make) -> None:
    rows, others = table(100), table(50, 1)
    rows[:, 0], others[:, 0] = rows[:, 0] > 0, 1
    job = train(
        train=csv(rows),
        validation=csv(others),
        objective="binary:logistic",
        eval_metric="auc",
        num_round=6,
        early_stopping_rounds=2,
    )
    assert booster_of(job).num_boosted_rounds() == 6
    assert "validation-auc is not a number: there is no best round to stop at." in log_of(job)


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


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"process_type": "update", "updater": "refresh"},
            "ClientError: hyperparameter 'process_type' must be default",
        ),
        ({"objective": "reg:tweedie"}, "ClientError: the score of row 1 is "),
    ],
)
def test_jobs_that_cannot_give_a_model(train: Make, settings: dict, sentence: str) -> None:
    rows = table(50)
    rows[:, 0] = 0
    job = train(train=csv(rows), num_round=3, expect=2, **settings)
    assert (job.base / "output" / "failure").read_text().startswith(sentence)
    assert job.artifact() == {}


def test_checkpoints_that_are_not_ours_are_left_alone(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    folder = job.base / "checkpoints"
    folder.mkdir()
    for number in range(95, 100):
        (folder / f"xgboost-checkpoint.{number}").write_bytes(b"a pickle of the hosted container")
    job.channel("train", {"data": csv(table(50))}, "text/csv")
    job.hyperparameters = {"num_round": "2"}
    assert job.train().exit_code == 0
    assert {path.name for path in folder.iterdir()} >= {"xgboost-checkpoint.0", "xgboost-checkpoint.95"}


def test_sigterm_leaves_a_checkpoint_of_the_last_round(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    (job.base / "checkpoints").mkdir()
    job.channel("train", {"data": csv(table(3000))}, "text/csv")
    job.hyperparameters = {"num_round": "1000000", "nthread": "1"}
    process = job.start("train")
    job.wait_for_log("[20]\t")
    process.send_signal(signal.SIGTERM)
    assert job.finish(process).exit_code == 0
    assert latest(job.base / "checkpoints").suffix == f".{len(rounds_of(job)) - 1}"


def test_a_position_bias_cannot_be_resumed(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    (job.base / "checkpoints").mkdir()
    job.channel("train", {"data": b"1 qid:1 0:2\n0 qid:1 0:3\n1 qid:2 0:4\n0 qid:2 0:1\n"})
    job.hyperparameters = {"num_round": "3", "objective": "rank:ndcg", "lambdarank_unbiased": "1"}
    ended = job.train()
    assert "No checkpoints are written" in ended.log
    assert (ended.exit_code, list((job.base / "checkpoints").iterdir())) == (0, [])


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


def test_channels_that_differ_in_queries(rows_of) -> None:
    ranked, plain = (rows_of(text, "text/libsvm", np.inf) for text in (b"1 qid:1 0:1\n", b"1 0:1\n"))
    plain.name = "validation"
    with pytest.raises(UserError, match="must have rows with a qid, or none, found a qid in channel 'train' only"):
        agree(Cluster(), [ranked, plain])


def test_rows_that_weigh_nothing_still_count_their_features(rows_of) -> None:
    rows = rows_of(b"1:0 1:2 9:3\n0:0 1:5\n", "text/libsvm", np.inf, expect=UserError)
    assert (rows.count, rows.indices) == (0, (1, 9))


def test_too_little_memory(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    job.channel("train", {"data": b"1 0:2\n0 2147483646:3\n"})
    job.hyperparameters = {"num_round": "2", "nthread": "1"}
    ended = job.train("sh", "-c", 'ulimit -v 6000000 && exec "$@"', "-")
    assert ended.exit_code == 3, ended.log
    assert (ended.failure or "").startswith("PlatformError: the machine has not enough memory: ")


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


def test_sigterm_saves_the_best_so_far(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    job.channel("train", {"data": csv(table(3000))}, "text/csv")
    job.hyperparameters = {"num_round": "1000000"}
    process = job.start("train")
    job.wait_for_log("[20]\t")
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    ended = job.finish(process)
    assert time.monotonic() - started < 10
    assert (ended.exit_code, ended.failure) == (0, None)
    assert booster_of(job).num_boosted_rounds() == len(rounds_of(job)) > 20


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
