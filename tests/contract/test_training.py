"""What every training job does, whatever the algorithm: the real `train` program in a temporary /opt/ml."""

import gzip
import json
import os
import re
import signal
import time

import numpy as np
import pytest

import formats
from algorithms.algorithm import Algorithm
from tests.examples import CSV, JSONLINES, RECORDIO, encoded, encoded_sparse, example
from tests.job_folder import JobFolder, free_port

MORE_THAN_A_PIPE_HOLDS = 5000  # rows of the example; a pipe holds 64 KiB
ROUND_LINE = re.compile(r"^\[\d+\]\t")
LOG_LINE = re.compile(r"^\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] ")


def data(algorithm: Algorithm, n: int = 200, content_type: str | None = None, seed: int = 0) -> bytes:
    features, labels = example(algorithm.name).rows(n, seed)
    return encoded(features, content_type or algorithm.content_types[0], labels)


def test_artifact_and_log(algorithm: Algorithm, trained: JobFolder) -> None:
    assert not (trained.base / "output" / "failure").exists()
    assert "manifest.json" in trained.artifact()
    lines = [line for line in (trained.base / "train.log").read_text().splitlines() if line]
    assert lines[0] == "Docker entrypoint called with argument(s): train"
    stamped = [line for line in lines[1:] if not line.startswith(("#metrics {", "[20"))]
    assert [line for line in stamped if not (LOG_LINE.match(line) or ROUND_LINE.match(line))] == []
    assert any(re.search(r"#progress_metric: host=\S+, completed (\S+) %", line) for line in lines)
    assert any(
        re.search(r"#throughput_metric: host=\S+, train throughput=(\S+) records/second", line) for line in lines
    )
    totals = json.loads(lines[-1].removeprefix("#metrics "))
    assert {"setuptime", "totaltime"} == set(totals["Metrics"])
    assert totals["Dimensions"] == {"Algorithm": algorithm.dimension, "Host": "algo-1", "Operation": "training"}


def test_every_declared_metric_is_found_by_the_tuner_and_in_the_json_lines(
    algorithm: Algorithm, job: JobFolder
) -> None:
    job.hyperparameters |= example(algorithm.name).ALL_METRICS
    one = example(algorithm.name)
    for channel in algorithm.channels:
        job.channel(channel.name, {"data": data(algorithm)})
    log = job.train().log
    written = [json.loads(line) for line in (job.base / "output/data/metrics.jsonl").read_text().splitlines()]
    reported = getattr(one, "REPORTED", [f"{metric.channel}:{metric.name}" for metric in algorithm.metrics])
    for channel, name in (each.split(":") for each in reported):
        metric = algorithm.metric(channel, name)
        kind = "loss" if metric.direction == "minimize" else "score"
        found = re.findall(algorithm.metric_line.format(channel=channel, name=name, kind=kind), log)
        values = [each["value"] for each in written if each["metric"] == f"{channel}:{name}"]
        assert len(found) == len(values) > 0
        assert [float(value) for value in found] == pytest.approx(values, rel=1e-5)
        if channel == "test":
            assert f"#test_score (algo-1) : ('{name}', {found[0]})" in log


def test_same_seed_same_bytes(algorithm: Algorithm, job: JobFolder, trained: JobFolder) -> None:
    assert trained_on(algorithm, job, {"data": data(algorithm)}).artifact() == trained.artifact()


def trained_on(
    algorithm: Algorithm, job: JobFolder, files: dict[str, bytes], content_type: str | None = None
) -> JobFolder:
    """The job, after training on these files and the other channels of `trained`."""
    job.channel("train", files, content_type)
    for i, channel in enumerate(algorithm.channels[1:], 1):
        job.channel(channel.name, {"data": data(algorithm, 100, seed=i)})
    assert job.train().exit_code == 0
    return job


def test_layouts_of_a_channel_give_one_artifact(algorithm: Algorithm, job_folder, trained: JobFolder) -> None:
    features, labels = example(algorithm.name).rows(200)
    first, none, rest = [
        encoded(features[part], algorithm.content_types[0], None if labels is None else labels[part])
        for part in (slice(0, 70), slice(70, 70), slice(70, 200))
    ]
    passed_over = {"_SUCCESS": b"", ".hidden": b"no data", "a.manifest": b"[]", ".git/config": b"no data"}
    variants = {
        "gzip": {"data.gz": gzip.compress(data(algorithm))},
        "nested": {"a/b/part-0": first, "a/b/part-1": none, "b/part-0": rest} | passed_over,
    }
    for name, files in variants.items():
        job = job_folder(algorithm.name)
        job.hyperparameters = dict(example(algorithm.name).HYPERPARAMETERS)
        assert trained_on(algorithm, job, files).artifact() == trained.artifact(), name


def test_dense_formats_give_one_artifact(algorithm: Algorithm, job_folder) -> None:
    labelled = int(example(algorithm.name).rows(1)[1] is not None)
    variants = {name: name for name in (CSV, JSONLINES, RECORDIO) if name in algorithm.content_types}
    variants |= {f"Text/CSV; label_size={labelled}": CSV, "text/csv; charset=utf-8": CSV}
    artifacts = []
    for content_type, name in variants.items():
        job = job_folder(algorithm.name)
        job.hyperparameters = dict(example(algorithm.name).HYPERPARAMETERS)
        trained_on(algorithm, job, {"data": data(algorithm, content_type=name)}, content_type)
        artifacts.append(job.artifact())
    assert all(artifact == artifacts[0] for artifact in artifacts)


def test_sparse_data_give_the_answers_of_dense_data(algorithm: Algorithm, job: JobFolder, trained: JobFolder) -> None:
    features, labels = example(algorithm.name).rows(200)
    if labels is not None:
        pytest.skip("the sparse encoder of these tests writes no labels; the algorithm's own tests cover it")
    job.channel("train", {"data": encoded_sparse(features, RECORDIO)})
    assert job.train().exit_code == 0
    for name, content in trained.artifact().items():
        if name != "manifest.json":
            ours, theirs = np.frombuffer(job.artifact()[name], np.uint8), np.frombuffer(content, np.uint8)
            assert len(ours) == len(theirs)
    sample = json.loads(job.artifact()["manifest.json"])["sample"]
    assert sample["request"]["instances"][0]["data"]["features"]["shape"] == [features.shape[1]]


def test_pipe_mode_reads_one_fifo_an_epoch(algorithm: Algorithm, job: JobFolder, job_folder) -> None:
    epochs = 2 if "epochs" in algorithm.hyperparameters.model_fields else 1
    settings = {"epochs": str(epochs)} if epochs > 1 else {}
    from_files = job_folder(algorithm.name)
    from_files.hyperparameters = job.hyperparameters = job.hyperparameters | settings
    from_files.channel("train", {"data": data(algorithm)})
    assert from_files.train().exit_code == 0

    fifos = job.pipe("train", algorithm.content_types[0], epochs + passes_after_training(algorithm))
    process = job.start("train")
    for fifo in fifos:
        fifo.write_bytes(data(algorithm))
    assert job.finish(process).exit_code == 0
    assert job.artifact() == from_files.artifact()


def passes_after_training(algorithm: Algorithm) -> int:
    return getattr(example(algorithm.name), "PASSES_AFTER_TRAINING", 0)


def test_a_fifo_that_appears_late_is_waited_for(algorithm: Algorithm, job: JobFolder) -> None:
    fifos = job.pipe("train", algorithm.content_types[0], 1 + passes_after_training(algorithm))
    fifos[0].unlink()
    process = job.start("train")
    job.wait_for_log("Number of GPUs being used")
    time.sleep(1)
    assert process.poll() is None
    os.mkfifo(fifos[0])
    for fifo in fifos:
        fifo.write_bytes(data(algorithm))
    assert job.finish(process).exit_code == 0
    assert "manifest.json" in job.artifact()


def test_sigterm_while_reading_saves_what_was_learned(algorithm: Algorithm, job: JobFolder) -> None:
    [fifo] = job.pipe("train", algorithm.content_types[0], 1)
    process = job.start("train")
    with fifo.open("wb") as writer:
        writer.write(data(algorithm, MORE_THAN_A_PIPE_HOLDS))  # returns when most of them were read
        writer.flush()
        time.sleep(1)  # the writer stays: the program waits for more rows
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        ended = job.finish(process)
    assert time.monotonic() - started < 10
    assert (ended.exit_code, ended.failure) == (0, None)
    assert ("manifest.json" in job.artifact()) == getattr(example(algorithm.name), "LEARNS_WHILE_READING", True)


def test_sigterm_before_any_row_ends_well_without_a_model(algorithm: Algorithm, job: JobFolder) -> None:
    [_] = job.pipe("train", algorithm.content_types[0], 1)
    process = job.start("train")
    job.wait_for_log("Number of GPUs being used")
    process.send_signal(signal.SIGTERM)
    ended = job.finish(process)
    assert (ended.exit_code, ended.failure, job.artifact()) == (0, None, {})
    assert "Stopped before anything was learned" in ended.log


def two_hosts(job_folder, algorithm: Algorithm, shares: list[bytes], **config: str) -> list[JobFolder]:
    """Folders of two hosts; loopback addresses resolve as names without a name server."""
    hosts, port = ["127.0.0.1", "127.0.0.2"], str(free_port())
    folders = []
    for host, share in zip(hosts, shares, strict=True):
        job = job_folder(algorithm.name)
        job.hyperparameters = dict(example(algorithm.name).HYPERPARAMETERS)
        job.resources = {"current_host": host, "hosts": hosts[::-1]}
        job.environment = {"INBUILT_CLUSTER_PORT": port}
        job.channel("train", {"data": share} if share else {}, S3DistributionType="ShardedByS3Key", **config)
        folders.append(job)
    return folders


@pytest.mark.parametrize("second", [100, 0])
def test_two_hosts_train_one_model(algorithm: Algorithm, job_folder, second: int) -> None:
    if algorithm.max_hosts == 1:
        pytest.skip("this algorithm trains on one host; test_too_many_hosts proves that it says so")
    jobs = two_hosts(job_folder, algorithm, [data(algorithm, 100), data(algorithm, second, seed=1) if second else b""])
    processes = [job.start("train") for job in jobs]
    ended = [job.finish(process) for job, process in zip(jobs, processes, strict=True)]
    assert [each.exit_code for each in ended] == [0, 0], ended[0].log + ended[1].log
    assert "manifest.json" in jobs[0].artifact()
    assert jobs[1].artifact() == {}  # the leader alone writes: in local mode all hosts share one model folder


def test_a_lost_host_ends_the_job_on_the_other(algorithm: Algorithm, job_folder) -> None:
    if algorithm.max_hosts == 1:
        pytest.skip("this algorithm trains on one host")
    jobs = two_hosts(job_folder, algorithm, [data(algorithm), b""])
    [fifo] = jobs[1].pipe("train", algorithm.content_types[0], 1)
    processes = [job.start("train") for job in jobs]
    with fifo.open("wb") as writer:
        writer.write(data(algorithm, MORE_THAN_A_PIPE_HOLDS))
        writer.flush()
        processes[1].kill()
        ended = jobs[0].finish(processes[0])
    processes[1].wait()
    assert ended.exit_code == 3, ended.log
    assert ended.failure is not None
    assert ended.failure.startswith("PlatformError: host 127.0.0.2 left before the training job was done.")
    assert jobs[0].artifact() == {}


def test_sigterm_while_other_hosts_are_waited_for(algorithm: Algorithm, job: JobFolder) -> None:
    if algorithm.max_hosts == 1:
        pytest.skip("this algorithm trains on one host")
    job.channel("train", {"data": data(algorithm)})
    job.resources = {"current_host": "127.0.0.1", "hosts": ["127.0.0.1", "no-such-host.invalid"]}
    process = job.start("train")
    job.wait_for_log("waiting for the name of no-such-host.invalid")
    process.send_signal(signal.SIGTERM)
    ended = job.finish(process)
    assert (ended.exit_code, ended.failure, job.artifact()) == (0, None, {})


def test_too_many_hosts(algorithm: Algorithm, job: JobFolder) -> None:
    if algorithm.max_hosts is None:
        pytest.skip("this algorithm trains on any number of hosts")
    job.resources = {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}
    job.channel("train", {"data": data(algorithm)})
    ended = job.train()
    assert ended.exit_code == 2
    assert (ended.failure or "").startswith(
        f"ClientError: {algorithm.name} trains on at most {algorithm.max_hosts} host"
    )


def test_defaults_of_local_mode(algorithm: Algorithm, job: JobFolder, trained: JobFolder) -> None:
    """No inputdataconfig.json, no resourceconfig.json, and numbers that are not in quotes."""
    for i, channel in enumerate(algorithm.channels):
        job.channel(channel.name, {"data": data(algorithm, 100 if i else 200, seed=i)})
    job.channels.clear()
    job.hyperparameters = {
        name: json.loads(value) if value.isdigit() else value for name, value in job.hyperparameters.items()
    }
    assert job.train().exit_code == 0
    assert job.artifact() == trained.artifact()


def test_without_a_network_nothing_is_missed(algorithm: Algorithm, job: JobFolder) -> None:
    """A single host opens no socket: a module loaded before all others replaces `socket.socket` by a refusal."""
    (job.base / "sitecustomize.py").write_text(
        "import socket\nclass Refused(socket.socket):\n"
        "    def __init__(self, *_, **__): raise AssertionError('a socket was opened')\nsocket.socket = Refused\n"
    )
    job.environment["PYTHONPATH"] = str(job.base)
    job.channel("train", {"data": data(algorithm)})
    assert job.train().exit_code == 0


def test_content_types_of_the_declaration_are_formats(algorithm: Algorithm) -> None:
    for name in (*algorithm.content_types, *algorithm.request_types, *algorithm.response_types):
        assert formats.find(name).MEDIA_TYPES[0] == name
