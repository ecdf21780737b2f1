"""Training jobs in containers, each host on its own address in a network of the engine."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("probe.py")
PYTHON = "/opt/inbuilt/bin/python"
TIMEOUT = 600  # seconds for one job
RECORDIO = "application/x-recordio-protobuf"


class EngineError(Exception):
    """The container engine did not do what was asked."""


def docker(*arguments: str) -> str:
    """What a `docker` command wrote. Raises EngineError when it fails."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError:
        raise EngineError("there is no program `docker`") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"`docker {arguments[0]}` did not end within {TIMEOUT} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise EngineError(f"`docker {arguments[0]}` failed: {lines[0]}")
    return done.stdout.strip()


def require_image(image: str) -> None:
    """Raises EngineError unless the engine has it."""
    try:
        docker("image", "inspect", image)
    except EngineError:
        raise EngineError(f"there is no image {image}; please run `make images`") from None


@contextmanager
def network() -> Iterator[str]:
    """A network of the engine, in which containers find each other by name."""
    name = f"inbuilt-scale-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name)


@dataclass(frozen=True)
class Cluster:
    """Where jobs run: an image in a network, each host with so many CPUs, and a folder for what they read and write."""

    image: str
    network: str
    cpus: float
    folder: Path
    hyperparameters: dict[str, str] = field(default_factory=dict)

    def train(self, shards: Sequence[Sequence[Path]]) -> tuple[list[dict[str, Any]], float]:
        """What the probe saw on each host, each of which reads its files of `shards`; the seconds of the whole job.

        Raises EngineError with the end of the log of a host that failed.
        """
        hosts = [f"algo-{i + 1}" for i in range(len(shards))]
        base = self.folder / f"job-{uuid.uuid4().hex[:8]}"
        for host, files in zip(hosts, shards, strict=True):
            self._describe(base / host, host, hosts, files)
        started, running = time.monotonic(), [f"{self.network}-{uuid.uuid4().hex[:6]}" for _ in hosts]
        try:
            for name, host in zip(running, hosts, strict=True):
                self._start(name, base / host, host)
            codes = docker("wait", *running).split()
            wall = time.monotonic() - started
            for name, code in zip(running, codes, strict=True):
                if code != "0":
                    raise EngineError(f"{self.image} ended with code {code}: {docker('logs', '--tail', '3', name)}")
        finally:
            for name in running:
                docker("rm", "-f", name)
        return [_told(base / host) for host in hosts], wall

    def _describe(self, base: Path, host: str, hosts: Sequence[str], files: Sequence[Path]) -> None:
        """The folder that becomes /opt/ml of a host; its files are links, not copies."""
        for name in ("input/config", "input/data/train", "model", "output/data"):
            (base / name).mkdir(parents=True)
        for name in ("model", "output", "output/data"):
            (base / name).chmod(0o777)  # the container's user may not be ours
        for i, file in enumerate(files):
            os.link(file, base / "input/data/train" / f"rows-{i:03}.pbr")
        channel = {"ContentType": RECORDIO, "TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}
        for name, content in (
            ("hyperparameters", self.hyperparameters),
            ("inputdataconfig", {"train": channel}),
            ("resourceconfig", {"current_host": host, "hosts": list(hosts), "network_interface_name": "eth0"}),
        ):
            (base / "input/config" / f"{name}.json").write_text(json.dumps(content))

    def _start(self, name: str, base: Path, host: str) -> None:
        options = ("-d", "--name", name, "--network", self.network, "--network-alias", host, "--cpus", str(self.cpus))
        mounts = ("-v", f"{base}:/opt/ml", "-v", f"{PROBE}:/probe.py:ro")
        docker("run", *options, *mounts, "--entrypoint", PYTHON, self.image, "/probe.py")


def _told(base: Path) -> dict[str, Any]:
    """What the probe and the job's own metrics say of a host."""
    told: dict[str, Any] = json.loads((base / "output/data/probe.json").read_text())
    for line in (base / "output/data/metrics.jsonl").read_text().splitlines():
        metric = json.loads(line)
        if metric["metric"] == "train:throughput":
            told["throughput"] = metric["value"]
    return told
