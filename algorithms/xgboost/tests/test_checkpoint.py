"""Checkpoints: a job that is killed goes on to the same bytes, and not from what is no checkpoint of its own."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from algorithms.xgboost.tests.tables import csv, rounds_of, table
from tests.job_folder import JobFolder

Make = Callable[..., JobFolder]


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
        "eta = unset then and 0.1 now. Please give this job a checkpoint folder of its own, or the same "
        "hyperparameters and data."
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
