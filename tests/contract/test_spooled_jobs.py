"""Jobs of several epochs on text, whose rows are kept on disk after the first: the same models, and no trace."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import algorithms
from algorithms.algorithm import Algorithm
from algorithms.job import Paths
from tests.contract.test_training import passes_after_training
from tests.examples import CSV, JSONLINES, LIBSVM, RECORDIO, encoded, example
from tests.job_folder import JobFolder

MEASURED = """
import logging, resource, sys
from pathlib import Path
from algorithms.channel import Channel
from algorithms.job import ChannelConfig, Paths
from algorithms.report import Report
from formats import Expected
logging.disable()
paths = Paths(Path(sys.argv[1]))
train = Channel(ChannelConfig("train"), paths.data, "text/csv", Report("a", "b", None), bool, allows_missing=False)
for again in (None, paths, paths, paths):
    with train.epoch(2000, Expected(500), again=again) as batches:
        print(sum(float(batch.features[:, 1].sum()) for batch in batches))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_what_is_kept(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    (paths.data / "train").mkdir(parents=True)
    row = b",".join([b"1"] * 500) + b"\n"
    (paths.data / "train" / "rows").write_bytes(row * 40_000)  # 80 MB of numbers, 4 of a batch
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(paths.base)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [float(each) for each in done[::2]] == [40_000] * 4
    without, first, second, third = map(float, done[1::2])
    assert max(first, second, third) < without + 20


REPEATING = [name for name in algorithms.names() if "epochs" in algorithms.find(name).hyperparameters.model_fields]
TEXTS = [
    (name, content_type)
    for name in REPEATING
    for content_type in (CSV, JSONLINES, LIBSVM)
    if content_type in algorithms.find(name).content_types
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("algorithm", "content_type"), TEXTS, indirect=["algorithm"])
def test_models_of_kept_rows_are_those_of_rows_read_again(
    algorithm: Algorithm, job: JobFolder, job_folder, content_type: str, packed: bool
) -> None:
    """FIFOs, an epoch each, keep nothing."""
    content = encoded(*rows_of(algorithm, 300, content_type))
    content = gzip.compress(content) if packed else content
    from_files = job_folder(algorithm.name)
    job.hyperparameters |= {"epochs": "4", "mini_batch_size": "37"}
    from_files.hyperparameters = dict(job.hyperparameters)
    from_files.channel("train", {"data": content}, content_type)
    ended = from_files.train()
    assert ended.exit_code == 0, ended.log
    read = [json.loads(line.partition("epoch_stats=")[2]) for line in ended.log.splitlines() if "epoch_stats" in line]
    assert read[0]["num_bytes"] == len(content)
    assert all(each["num_bytes"] != len(content) for each in read[1:])
    assert len(read) == 4 + passes_after_training(algorithm)
    assert "not kept" not in ended.log

    fifos = job.pipe("train", content_type, len(read))
    process = job.start("train")
    for fifo in fifos:
        fifo.write_bytes(content)
    assert job.finish(process).exit_code == 0
    assert job.artifact() == from_files.artifact()
    found = sorted(str(path.relative_to(from_files.base / "output")) for path in from_files.base.glob("output/**/*"))
    assert found == ["data", "data/metrics.jsonl"]


VALIDATING = [name for name in REPEATING if "validation" in [each.name for each in algorithms.find(name).channels]]


@pytest.mark.parametrize("algorithm", VALIDATING, indirect=True)
def test_rows_for_validation_are_kept_too(algorithm: Algorithm, job: JobFolder, job_folder) -> None:
    """Plain RecordIO is read again: the model must be the same."""
    plain = job_folder(algorithm.name)
    job.hyperparameters |= {"epochs": "3"}
    plain.hyperparameters = dict(job.hyperparameters)
    content = encoded(*rows_of(algorithm, 300, CSV))
    for channel in ("train", "validation"):
        job.channel(channel, {"data": content}, CSV)
        plain.channel(channel, {"data": encoded(*rows_of(algorithm, 300, RECORDIO))}, RECORDIO)
    log = job.train().log
    for channel in ("train", "validation"):
        lines = [line for line in log.splitlines() if "epoch_stats" in line and f"/data/{channel}" in line]
        sizes = [json.loads(line.partition("epoch_stats=")[2])["num_bytes"] for line in lines]
        assert len(sizes) >= 3
        assert [size == len(content) for size in sizes] == [True] + [False] * (len(sizes) - 1)
    assert plain.train().exit_code == 0
    assert job.artifact() == plain.artifact()


def rows_of(algorithm: Algorithm, n: int, content_type: str) -> tuple[np.ndarray, str, np.ndarray | None]:
    features, labels = example(algorithm.name).rows(n)
    return features, content_type, labels


@pytest.mark.parametrize("algorithm", REPEATING, indirect=True)
def test_a_full_disk_costs_time_only(algorithm: Algorithm, job: JobFolder, job_folder) -> None:
    """A limit on the size of a file is met in the midst of one, as the end of a disk is."""
    job.hyperparameters |= {"epochs": "2", "mini_batch_size": "1000"}
    job.channel("train", {"data": encoded(*rows_of(algorithm, 30_000, CSV))}, CSV)
    limited = job_folder(algorithm.name)
    limited.hyperparameters, limited.channels = job.hyperparameters, job.channels
    shutil.copytree(job.base / "input", limited.base / "input")
    assert "not kept" not in job.train().log
    ended = limited.train("sh", "-c", 'ulimit -f 400 && exec "$@"', "-")  # blocks of 512 bytes: 204,800 in all
    assert ended.exit_code == 0, ended.log
    assert ended.log.count("are not kept on disk, each epoch reads its files: File too large.") == 1
    assert limited.artifact() == job.artifact()
