"""What a training job refuses, with the sentence that the customer reads in FailureReason and the exit code."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from algorithms.algorithm import Algorithm
from tests.examples import CSV, JSONLINES, RECORDIO, encoded, example
from tests.job_folder import JobFolder, Trained


def data(algorithm: Algorithm, content_type: str | None = None, n: int = 200) -> bytes:
    features, labels = example(algorithm.name).rows(n)
    return encoded(features, content_type or algorithm.content_types[0], labels)


def refused(job: JobFolder, exit_code: int = 2, *wrapper: str) -> str:
    """Trains; the job must fail without a traceback, a model or its parts, and say why once: this."""
    ended = job.train(*wrapper)
    assert ended.exit_code == exit_code, ended.log
    assert ended.failure is not None
    if exit_code == 2:
        assert "Traceback" not in ended.log
    assert len(ended.failure) <= 1024
    assert f"ERROR {thread_of(ended)}] {ended.failure}" in ended.log
    if job.model.is_dir():
        assert list(job.model.iterdir()) == []
    return ended.failure


def thread_of(ended: Trained) -> str:
    found = re.search(r"ERROR (\d+)\]", ended.log)
    assert found is not None
    return found[1]


def test_hyperparameters_all_at_once(algorithm: Algorithm, job: JobFolder) -> None:
    job.channel("train", {"data": data(algorithm)})
    job.hyperparameters |= {"mini_batch_siz": "5", "seed": "-1e9", "_tuning_objective_metric": "", "_kvstore": "a"}
    sentence = refused(job)
    assert sentence.startswith("ClientError: unknown hyperparameter 'mini_batch_siz'; ")
    assert f"; hyperparameter 'seed' must be {algorithm.hyperparameters.rule('seed')}, got '-1e9'" in sentence


def test_required_hyperparameters(algorithm: Algorithm, job: JobFolder) -> None:
    job.channel("train", {"data": data(algorithm)})
    job.hyperparameters = {}
    required = [name for name, field in algorithm.hyperparameters.model_fields.items() if field.is_required()]
    if not required:
        pytest.skip("this algorithm requires none")
    sentence = refused(job)
    for name in required:
        assert f"hyperparameter '{name}' is required: {algorithm.hyperparameters.rule(name)}" in sentence


@pytest.mark.parametrize(("content", "sentence"), [
    ("{", "hyperparameters.json must be a JSON object: Expecting property name"),
    ("[1]", "hyperparameters.json must be a JSON object, got list"),
])  # fmt: skip
def test_malformed_configuration(algorithm: Algorithm, job: JobFolder, content: str, sentence: str) -> None:
    job.hyperparameters = {}
    job.channel("train", {"data": data(algorithm)})
    config = job.base / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(content)
    assert refused(job).startswith(f"ClientError: {sentence}")


def test_channels(algorithm: Algorithm, job_folder: Callable[[str], JobFolder]) -> None:
    described = ", ".join(f"{each.name} ({'required' if each.required else 'optional'})" for each in algorithm.channels)

    def job_with(**channels: dict[str, str]) -> JobFolder:
        job = job_folder(algorithm.name)
        job.hyperparameters = dict(example(algorithm.name).HYPERPARAMETERS)
        for name, config in channels.items():
            job.channel(name, {"data": data(algorithm)}, **config)
        return job

    missing = job_with()
    missing.resources = {"current_host": "algo-1", "hosts": ["algo-1"]}
    for job, sentence in [
        (missing, f"channel 'train' is missing; {algorithm.name} reads the channels {described}."),
        (job_with(train={}, trian={}), f"unknown channel 'trian'; {algorithm.name} reads the channels {described}."),
        (
            job_with(train={"ContentType": "image/png"}),
            f"channel 'train': content type must be one of {', '.join(algorithm.content_types)}, got 'image/png'.",
        ),
        (
            job_with(train={"TrainingInputMode": "Tape"}),
            "channel 'train': TrainingInputMode must be File or Pipe, got 'Tape'",
        ),
        (
            job_with(train={"S3DistributionType": "Halves"}),
            "channel 'train': S3DistributionType must be FullyReplicated or ShardedByS3Key, got 'Halves'",
        ),
        (
            job_with(train={"RecordWrapperType": "RecordIO"}),
            "channel 'train': RecordWrapperType must be None, got 'RecordIO'",
        ),
    ]:
        assert refused(job) == f"ClientError: {sentence}"


@pytest.mark.parametrize("files", [{}, {"_SUCCESS": b"", ".hidden": b"1,2"}, {"data": b""}])
@pytest.mark.parametrize("channel", ["train", "test", "validation"])
def test_channels_without_data(algorithm: Algorithm, job: JobFolder, channel: str, files: dict[str, bytes]) -> None:
    if channel not in {each.name for each in algorithm.channels}:
        pytest.skip(f"this algorithm has no channel {channel}")
    if channel != "train":
        job.channel("train", {"data": data(algorithm)})
    job.channel(channel, files)
    assert refused(job) == (
        f"ClientError: No data in channel '{channel}'. Please verify that it points to files with at least one record."
    )


@pytest.mark.parametrize("content_type", [RECORDIO, CSV, JSONLINES])
@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_width(algorithm: Algorithm, job: JobFolder, content_type: str, change: int) -> None:
    if "feature_dim" not in job.hyperparameters:
        pytest.skip("this algorithm takes the width from the data")
    if content_type not in algorithm.content_types:
        pytest.skip(f"this algorithm does not train from {content_type}")
    features, labels = example(algorithm.name).rows(20)
    wider = np.column_stack([features, features[:, 0]])
    if change > 0 and labels is None and content_type == CSV:
        wider = np.column_stack([wider, wider[:, 0]])  # one more column alone would be a label
    job.channel(
        "train", {"a/data": encoded(features[:, :-1] if change < 0 else wider, content_type, labels)}, content_type
    )
    sentence = refused(job)
    place = f"ClientError: Unable to read data channel 'train' as {content_type}: file 'a/data', row 1: expected "
    assert sentence.startswith(place)
    assert "found" in sentence


@pytest.mark.parametrize(
    ("content_type", "make", "sentence"),
    [
        (CSV, lambda b: b"a,b,c,d,e\n" + b, "row 1, column 1: expected a number, found 'a'; this looks like a header"),
        (CSV, lambda b: b.replace(b"\n", b"\nx", 1), "row 2, column 1: expected a number, found 'x"),
        (CSV, lambda b: b.replace(b"\n", b"\n1,", 1), "row 2: expected "),
        (CSV, lambda b: b.replace(b"\n", b"\n\n", 1), "row 2: "),
        (CSV, lambda _: encoded(np.ones((2, 9), np.float32), RECORDIO), "this does not look like CSV"),
        (RECORDIO, lambda b: b[:-3], "row 200: the data ends inside this record"),
        (RECORDIO, lambda b: b"\0" + b, "row 1: expected a RecordIO frame, which begins with the bytes 0a 23 d7 ce"),
        (RECORDIO, lambda _: b"1,2,3\n" * 9, "row 1: expected a RecordIO frame, which begins with the bytes 0a"),
        (RECORDIO, lambda b: b"\x1f\x8b" + b, "file 'data', the gzip data is damaged or cut short: "),
        (JSONLINES, lambda b: b"{" + b, "row 1: not valid JSON"),
    ],
)  # fmt: skip
def test_bad_files(algorithm: Algorithm, job: JobFolder, content_type: str, make, sentence: str) -> None:
    if content_type not in algorithm.content_types:
        pytest.skip(f"this algorithm does not train from {content_type}")
    job.channel("train", {"data": make(data(algorithm, content_type))}, content_type)
    found = refused(job)
    assert found.startswith(f"ClientError: Unable to read data channel 'train' as {content_type}: file 'data', ")
    assert sentence in found


@pytest.mark.parametrize(("value", "what"), [(np.nan, "a missing (NaN) value"), (np.inf, "an infinite value")])
@pytest.mark.parametrize("content_type", [RECORDIO, CSV])
def test_values_that_are_not_finite(
    algorithm: Algorithm, job: JobFolder, content_type: str, value: float, what: str
) -> None:
    if algorithm.allows_missing and np.isnan(value):
        pytest.skip("this algorithm takes missing values")
    features, labels = example(algorithm.name).rows(200)
    features[123, 2] = value
    job.channel("train", {"data": encoded(features, content_type, labels)}, content_type)
    unwanted = "infinite values" if algorithm.allows_missing else "missing (NaN) or infinite values"
    place = f"row 124, column {3 + (labels is not None)}" if content_type == CSV else "row 124"
    assert refused(job) == (
        f"ClientError: Unable to read data channel 'train' as {content_type}: file 'data', {place}: feature 3 of "
        f"{features.shape[1]} is {what}. Please remove any {unwanted} in the input data."
    )


def test_what_a_killed_job_left_is_not_published(algorithm: Algorithm, job: JobFolder, trained: JobFolder) -> None:
    left = job.model / ".partial"
    left.mkdir(parents=True)
    (left / "junk").write_bytes(b"half a model")
    (job.base / "output").mkdir()
    (job.base / "output" / "failure").write_text("ClientError: of the job before")
    job.channel("train", {"data": b"no records"})
    assert refused(job).startswith("ClientError: Unable to read")
    left.mkdir()
    (left / "junk").write_bytes(b"half a model")
    features, labels = example(algorithm.name).rows(100, 1)
    for i, channel in enumerate(algorithm.channels):
        content = encoded(features, algorithm.content_types[0], labels) if i else data(algorithm)
        job.channel(channel.name, {"data": content})
    assert (job.train().exit_code, job.artifact()) == (0, trained.artifact())
    assert not (job.base / "output" / "failure").exists()


def test_a_model_that_cannot_replace_what_is_there(algorithm: Algorithm, job: JobFolder, trained: JobFolder) -> None:
    job.channel("train", {"data": data(algorithm)})
    (job.model / next(name for name in trained.artifact() if name != "manifest.json")).mkdir(parents=True)
    ended = job.train()
    assert ended.exit_code == 3
    assert (ended.failure or "").startswith(f"PlatformError: cannot write the model to {job.model}: ")
    assert not (job.model / "manifest.json").exists()


def test_the_failure_file_is_short_and_written_whatever_the_message(algorithm: Algorithm, job: JobFolder) -> None:
    job.channel("train", {"data": data(algorithm)})
    job.hyperparameters["seed"] = "\ud800"
    assert "got '\\ud800'" in (job.train().failure or "")
    job.hyperparameters = {"\u00e9" * 900 + "x" * 900: "1"}
    assert len(job.train().failure or "") <= 1024


@pytest.mark.parametrize("parameter", ["label_size=2", "label_size", "charset=latin1"])
def test_content_type_parameters(algorithm: Algorithm, job: JobFolder, parameter: str) -> None:
    job.channel("train", {"data": data(algorithm, CSV)}, f"text/csv; {parameter}")
    assert refused(job).startswith(f"ClientError: channel 'train': {parameter.split('=')[0]} must be ")


def test_files_that_cannot_be_found_are_not_left_out(algorithm: Algorithm, job: JobFolder) -> None:
    job.channel("train", {"data": data(algorithm)})
    (job.base / "input/data/train/z").symlink_to("/nowhere")
    assert refused(job) == "ClientError: Unable to read data channel 'train': No such file or directory: 'z'."


def test_values_beyond_what_can_be_computed_with(algorithm: Algorithm, job: JobFolder) -> None:
    """Either they are computed with, or they are the customer's to scale; never our fault, never a wrong answer."""
    features, labels = example(algorithm.name).rows(200)
    job.channel("train", {"data": encoded((features * np.float32(1e37)), RECORDIO, labels)}, RECORDIO)
    assert job.train().exit_code in (0, 2)


def test_a_mini_batch_larger_than_all_memory(algorithm: Algorithm, job: JobFolder) -> None:
    """Is no reason to fail: room is made for the rows that come."""
    if "mini_batch_size" not in algorithm.hyperparameters.model_fields:
        pytest.skip("this algorithm has no mini-batches")
    job.channel("train", {"data": data(algorithm, CSV)}, CSV)
    job.hyperparameters["mini_batch_size"] = str(10**12)
    assert job.train().exit_code == 0


def test_too_little_memory(algorithm: Algorithm, job: JobFolder) -> None:
    """A width that the data have but no machine can hold the state of."""
    if "feature_dim" not in job.hyperparameters:
        pytest.skip("this algorithm takes the width from the data")
    if JSONLINES not in algorithm.content_types:
        pytest.skip(f"this algorithm does not train from {JSONLINES}")
    wide = 2**31 - 1
    job.hyperparameters["feature_dim"] = str(wide)
    record = {"data": {"features": {"keys": [0, wide - 1], "shape": [wide], "values": [1, 2]}}}
    job.channel("train", {"data": (json.dumps(record) + "\n").encode() * 200}, JSONLINES)
    limited = ["sh", "-c", 'ulimit -v 8000000 && exec "$@"', "-"]  # kB: some machines promise what they do not have
    assert refused(job, 3, *limited).startswith("PlatformError: the machine has not enough memory: Unable to allocate ")


def test_the_algorithm_must_be_known(algorithm: Algorithm, job: JobFolder) -> None:
    job.channel("train", {"data": data(algorithm)})
    job.environment["INBUILT_ALGORITHM"] = "magic"
    assert refused(job).startswith("ClientError: INBUILT_ALGORITHM must be one of ")


def test_the_model_folder_must_be_writable(algorithm: Algorithm, job: JobFolder) -> None:
    job.channel("train", {"data": data(algorithm)})
    job.model.write_bytes(b"a file where the folder should be")  # file modes do not stop root, who runs these tests
    assert refused(job, 3) == f"PlatformError: cannot write the model to {job.model}: Not a directory"


def test_a_full_disk_leaves_no_part_of_a_model(algorithm: Algorithm, job: JobFolder) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs a mount namespace, for a file system of its own that is full")
    job.channel("train", {"data": data(algorithm)})
    job.model.mkdir()
    mount = f'mount -t tmpfs -o size=4k tmpfs {job.model} && exec "$@"'
    ended = job.train(*unshare, "sh", "-c", mount, "-")
    assert ended.exit_code == 3, ended.log
    assert ended.failure == f"PlatformError: cannot write the model to {job.model}: No space left on device"
    assert os.listdir(job.model) == []
