"""What the platform says in files, variables and control groups, read with the defaults of local mode."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from algorithms.environment import Environment
from algorithms.errors import UserError
from algorithms.job import ChannelConfig, JobConfig, Paths
from algorithms.machine import free_memory
from serving.settings import Settings, workers_for


def config(base: Path, **files: object) -> JobConfig:
    folder = base / "input" / "config"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return JobConfig.read(Paths(base))


def test_nothing_at_all(tmp_path: Path) -> None:
    assert config(tmp_path) == JobConfig(Paths(tmp_path), {}, {}, ("algo-1",), "algo-1")


def test_everything(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        hyperparameters={"k": "3", "epochs": 2},
        inputdataconfig={
            "train": {
                "ContentType": "text/csv;label_size=0",
                "TrainingInputMode": "Pipe",
                "S3DistributionType": "ShardedByS3Key",
                "RecordWrapperType": "None",
                "CompressionType": "None",
            },
            "test": {"TrainingInputMode": "FastFile"},
        },
        resourceconfig={
            "current_host": "algo-2",
            "hosts": ["algo-2", "algo-1"],
            "network_interface_name": "eth0",
            "current_instance_type": "local",
        },
    )
    assert found.hyperparameters == {"k": "3", "epochs": 2}
    assert (found.hosts, found.current_host) == (("algo-1", "algo-2"), "algo-2")
    assert found.channels == {
        "train": ChannelConfig("train", "text/csv;label_size=0", "Pipe", replicated=False),
        "test": ChannelConfig("test", None, "File", replicated=True),
    }


def test_channels_without_a_configuration_are_the_folders(tmp_path: Path) -> None:
    (tmp_path / "input" / "data" / "train").mkdir(parents=True)
    assert config(tmp_path).channels == {"train": ChannelConfig("train")}


def test_a_host_must_be_among_the_hosts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^resourceconfig.json: hosts must be a list that holds 'a', got \['b'\]$"):
        config(tmp_path, resourceconfig={"current_host": "a", "hosts": ["b"]})


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"resourceconfig": {"current_host": "a", "hosts": ["a", "a"]}},
            "resourceconfig.json: hosts must be different names",
        ),
        ({"inputdataconfig": {"train": {"ContentType": 5}}}, "channel 'train': ContentType must be text, got 5"),
        ({"inputdataconfig": {"train": 5}}, "inputdataconfig.json: channel 'train' must be a JSON object, got 5"),
    ],
)
def test_fields_of_the_wrong_kind(tmp_path: Path, files: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        config(tmp_path, **files)
    assert str(refused.value).startswith(sentence)


def test_environment() -> None:
    assert Environment.read({}) == Environment(Path("/opt/ml"), "", 20, "", 9099)
    with pytest.raises(
        UserError, match=r"^environment variable INBUILT_CLUSTER_PORT must be an integer in \[1, 65535\], got '0'$"
    ):
        Environment.read({"INBUILT_CLUSTER_PORT": "0"})


@pytest.mark.parametrize(("variables", "limit"), [
    ({}, 6 * 2**20),
    ({"MAX_CONTENT_LENGTH": "1000"}, 1000),
    ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "20", "MAX_CONTENT_LENGTH": "1000"}, 20 * 2**20),
    ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, None),
])  # fmt: skip
def test_body_limit(variables: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    assert Settings.read(variables, tmp_path).body_limit == limit


@pytest.mark.parametrize(("value", "batch"), [("true", True), ("True", True), ("false", False), ("", False)])
def test_batch(value: str, batch: bool, tmp_path: Path) -> None:
    assert Settings.read({"SAGEMAKER_BATCH": value}, tmp_path).batch is batch


def test_multi_model_endpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^this container serves one model; please do not set SAGEMAKER_MULTI_MODEL$"):
        Settings.read({"SAGEMAKER_MULTI_MODEL": "true"}, tmp_path)
    Settings.read({"SAGEMAKER_MULTI_MODEL": "false"}, tmp_path)


@pytest.mark.parametrize(
    ("files", "workers"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000", "memory.max": "max"}, 64),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "400000 100000", "memory.max": str(512 * 2**20)}, 2),
        ({"memory.max": str(64 * 2**20)}, 1),
        ({"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"memory/memory.limit_in_bytes": str(400 * 2**20)}, 2),
    ],
)
def test_workers_follow_the_control_group(
    files: dict[str, str], workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The machine's own number of CPUs is replaced, so that the test says the same on every machine.
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert workers_for(tmp_path) == workers


def test_training_has_the_threads_of_its_cpus() -> None:
    """BLAS reads the variable when it is loaded, so it must be set before; what the user has set stays."""
    script = """import os, sys
from algorithms.machine import cpu_count, limit_threads
limit_threads()
assert "numpy" not in sys.modules
print(os.environ["OPENBLAS_NUM_THREADS"] == str(cpu_count()), os.environ["OMP_NUM_THREADS"])"""
    variables = {**os.environ, "OMP_NUM_THREADS": "7"}
    variables.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "True 7\n"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8000 * 1024),  # what /proc/meminfo says
        ({"memory.max": "max", "memory.current": "100"}, 8000 * 1024),
        ({"memory.max": "1000", "memory.current": "400"}, 600),
        (
            {
                "memory.max": "1000",
                "memory.current": "900",
                "memory.stat": "anon 500\nactive_file 100\ninactive_file 200\n",
            },
            400,
        ),
        ({"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "1200"}, 0),
    ],
)
def test_free_memory(files: dict[str, str], free: float, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:  8000 kB\n")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert free_memory(tmp_path, tmp_path / "meminfo") == free
    assert free_memory(tmp_path / "nowhere", tmp_path / "nothing") == float("inf")


def test_checkpoints(tmp_path: Path) -> None:
    assert config(tmp_path).checkpoints is None
    (tmp_path / "checkpoints").mkdir()
    assert config(tmp_path).checkpoints == tmp_path / "checkpoints"
    assert config(tmp_path, checkpointconfig={"S3Uri": "s3://bucket"}).checkpoints == tmp_path / "checkpoints"
    assert config(tmp_path, checkpointconfig={"LocalPath": "/kept"}).checkpoints == Path("/kept")
    with pytest.raises(UserError, match=r"^checkpointconfig.json: LocalPath must be text, got 5$"):
        config(tmp_path, checkpointconfig={"LocalPath": 5})
