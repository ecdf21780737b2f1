"""Servers of one model, ours and those that a user would write: started, asked, weighed, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from algorithms.machine import cpu_count
from benchmarks.jobs import ours
from benchmarks.measure import Absent, Timed

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
MLSERVER = HERE.parent / ".venv-mlserver" / "bin"
PATIENCE = 90.0  # seconds for a server to be ready


@dataclass(frozen=True)
class Served:
    """A model to serve. counts: rows of a request; make: writes `model/` as ours and a file for the peers' handler.

    make returns rows to ask, (n, d), at least the greatest count.
    """

    counts: Sequence[int]
    make: Callable[[Path, int], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """How to start one: the words and variables for a port and a model's folder; where it says that it is ready."""

    command: Callable[[int, Path], Sequence[object]]
    variables: Callable[[int, Path, str], Mapping[str, str]]
    ready: str = "/ping"
    ask: str = "/invocations"


def _ours(port: int, folder: Path, name: str) -> Mapping[str, str]:
    return {
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_MODEL_SERVER_WORKERS": str(cpu_count()),
        "INBUILT_ALGORITHM": name,
        "MAX_CONTENT_LENGTH": str(2**26),
    }


def _plain(port: int, folder: Path, name: str) -> Mapping[str, str]:
    return {"MODEL_FOLDER": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _gunicorn(*words: str) -> Kind:
    """Plain Flask under gunicorn."""
    return Kind(
        lambda port, _: [
            *(BIN / "gunicorn", "-w", cpu_count(), "-b", f"127.0.0.1:{port}", "--log-level", "error", *words),
            "benchmarks.peers.flask_app:app",
        ],
        _plain,
    )


def _mlserver(port: int, folder: Path) -> Sequence[object]:
    """Writes its settings, and the model by its own libraries."""
    if not MLSERVER.is_dir():
        raise Absent(
            "its libraries exclude ours: it needs .venv-mlserver, with mlserver and its runtimes, from make bench"
        )
    home = folder / "mlserver"
    if not home.is_dir():
        subprocess.run([MLSERVER / "python", "-P", HERE / "peers" / "mlserver_model.py", folder, home], check=True)
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {
        **ports,
        "host": "127.0.0.1",
        "parallel_workers": cpu_count(),
        "debug": False,
        "use_structured_logging": True,
        "metrics_dir": str(home / "metrics"),
    }
    (home / "settings.json").write_text(json.dumps(settings))
    return [MLSERVER / "mlserver", "start", home]


KINDS = {
    "inbuilt": Kind(lambda _port, _folder: [ours("serve")], _ours),
    "Flask, gunicorn sync": _gunicorn("-k", "sync"),
    "Flask, gunicorn gthread": _gunicorn("-k", "gthread", "--threads", "2"),
    "FastAPI, uvicorn": Kind(
        lambda port, _: [
            *(BIN / "uvicorn", "--workers", cpu_count(), "--port", port, "--log-level", "error", "--no-access-log"),
            "benchmarks.peers.fastapi_app:app",
        ],
        _plain,
    ),
    "MLServer": Kind(_mlserver, _plain, "/v2/models/model/ready", "/v2/models/model/infer"),
}


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running one, in a session of its own, so that all its processes are known."""

    def __init__(self, kind: Kind, name: str, folder: Path) -> None:
        self.kind, self.port = kind, free_port()
        command = list(map(str, kind.command(self.port, folder)))
        environment = os.environ | kind.variables(self.port, folder, name)
        self._log = (folder / f"server-{self.port}.log").open("w+")
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command, env=environment, cwd=HERE.parent, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self._await(command)
        self.startup = time.perf_counter() - started

    def _await(self, command: Sequence[str]) -> None:
        """Returns once it says that it is ready."""
        limit = time.perf_counter() + PATIENCE
        while time.perf_counter() < limit and self._process.poll() is None:
            url = f"http://127.0.0.1:{self.port}{self.kind.ready}"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=PATIENCE):
                return
            time.sleep(0.02)
        self._log.seek(0)
        text = self._log.read()[-3000:]
        self.stop()
        raise Absent(f"{' '.join(command)} did not become ready: {text.strip().splitlines()[-1:]}")

    def asked(self, body: bytes, content_type: str, accept: str, connections: int, seconds: float) -> Timed:
        """Seconds a request; latencies and memory besides."""
        head = (
            f"POST {self.kind.ask} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: {content_type}\r\n"
            f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        command = [sys.executable, "-I", "-S", HERE / "load.py", self.port, connections, seconds]
        done = subprocess.run(list(map(str, command)), input=head.encode() + body, capture_output=True, check=False)
        if done.returncode:
            raise Absent(f"{content_type}: {done.stderr.decode().strip()[-500:]}")
        found = json.loads(done.stdout)
        seconds = found.pop("seconds")
        return Timed(seconds, found | {"PSS MB": self.memory()})

    def memory(self) -> float:
        """MB of all its processes, pages that they share counted once."""
        total = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):  # it may just have ended
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def _processes(self) -> Iterator[int]:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getsid(int(folder.name)) == self._process.pid:
                        yield int(folder.name)

    def stop(self) -> None:
        """And all its processes with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
