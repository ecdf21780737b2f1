"""A temporary /opt/ml in which the real `train` and `serve` programs run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(sys.executable).parent
PATIENCE = 60  # seconds after which a program that should have ended is a failed test


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    def request(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str | None = None
    ) -> Answer:
        """GET, or POST if there is a body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, dict(headers or {}), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, answer.read(), answer.headers["Content-Type"])
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), error.headers["Content-Type"])

    def invoke(self, body: bytes, content_type: str, accept: str | None = None, **headers: str) -> Answer:
        """POST /invocations."""
        every = {"Content-Type": content_type} | headers | ({"Accept": accept} if accept else {})
        return self.request("/invocations", body, every)

    def wait_until_ready(self) -> None:
        """Returns when /ping answers 200; fails if the program ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"serve ended with {self.process.returncode}"
            try:
                if self.request("/ping").status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"no /ping within {PATIENCE} s")


@dataclass(frozen=True)
class Trained:
    """An ended training job."""

    exit_code: int
    log: str
    failure: str | None


@dataclass
class JobFolder:
    """What the platform lays out for a job of `algorithm`; every file is written just before a program starts."""

    base: Path
    algorithm: str
    hyperparameters: dict[str, object] = field(default_factory=dict)
    channels: dict[str, dict[str, str]] = field(default_factory=dict)
    resources: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.base / "model"

    def channel(self, name: str, files: Mapping[str, bytes], content_type: str | None = None, **config: str) -> None:
        """A File channel with these files, by path."""
        folder = self.base / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        self.channels[name] = ({"ContentType": content_type} if content_type else {}) | config

    def pipe(self, name: str, content_type: str, epochs: int) -> list[Path]:
        """A Pipe channel; its FIFOs, one an epoch, which the caller writes to."""
        self.channels[name] = {"ContentType": content_type, "TrainingInputMode": "Pipe"}
        paths = [self.base / "input" / "data" / f"{name}_{epoch}" for epoch in range(epochs)]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            os.mkfifo(path)
        return paths

    def start(self, program: str, *wrapper: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts `train` or `serve`, its output in `<program>.log`."""
        config = self.base / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("hyperparameters", self.hyperparameters),
            ("inputdataconfig", self.channels),
            ("resourceconfig", self.resources),
        ):
            if content:
                (config / f"{name}.json").write_text(json.dumps(content))
        self.model.mkdir(exist_ok=True) if not self.model.exists() else None
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SAGEMAKER_", "INBUILT_"))}
        own = {
            "SAGEMAKER_BASE_DIR": str(self.base),
            "INBUILT_ALGORITHM": self.algorithm,
            "PYTHONPATH": str(Path(__file__).parent / "as_in_images"),
        }
        with (self.base / f"{program}.log").open("wb") as log:
            return subprocess.Popen(
                [*wrapper, str(PROGRAMS / program)],
                env=inherited | own | self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def wait_for_log(self, text: str) -> None:
        """Returns when the running training program has logged this."""
        deadline = time.monotonic() + PATIENCE
        while text not in (self.base / "train.log").read_text():
            assert time.monotonic() < deadline, f"'{text}' was not logged within {PATIENCE} s"
            time.sleep(0.02)

    def finish(self, process: subprocess.Popen[bytes]) -> Trained:
        """Waits for a training program to end."""
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
        failure = self.base / "output" / "failure"
        return Trained(
            process.returncode, (self.base / "train.log").read_text(), failure.read_text() if failure.exists() else None
        )

    def train(self, *wrapper: str) -> Trained:
        """Runs `train` to its end."""
        return self.finish(self.start("train", *wrapper))

    @contextmanager
    def serve(self, **environment: str) -> Iterator[Served]:
        """Runs `serve` on a free port while the block runs, ready when it begins."""
        port = free_port()
        process = self.start("serve", SAGEMAKER_BIND_TO_PORT=str(port), **environment)
        served = Served(port, process)
        try:
            served.wait_until_ready()
            yield served
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def artifact(self) -> dict[str, bytes]:
        """The files of the model folder."""
        return {path.name: path.read_bytes() for path in sorted(self.model.iterdir())}


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
