"""The container engine as the tests of the images use it."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 120  # seconds for what a container does; a slow machine must not fail a test

# Runs inside the container, because with `--network none` nothing outside can reach it.
CLIENT = """
import sys, urllib.error, urllib.request
path, content_type, accept, body = sys.argv[1], sys.argv[2], sys.argv[3], sys.stdin.buffer.read()
headers = {"Content-Type": content_type, "Accept": accept}
request = urllib.request.Request("http://127.0.0.1:8080" + path, body or None, headers)
try:
    answer = urllib.request.urlopen(request, timeout=60)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    sys.exit(f"no answer: {error}")
sys.stdout.write(f"{answer.status}\\n{answer.read().decode()}")
"""


class Engine:
    """The `docker` of this machine, wherever DOCKER_HOST points."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs one `docker` command to its end; nothing is raised for its exit code."""
        return subprocess.run(
            ["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=10 * PATIENCE
        )

    def output(self, *arguments: str) -> str:
        """What a `docker` command that must not fail wrote."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`docker run` to its end. Not with --rm: under it podman's API answers 0 whatever the exit code was."""
        return self("run", "--name", self._name(), *arguments)

    def start(self, *arguments: str) -> str:
        """`docker run` in the background; the container's name."""
        self.output("run", "-d", "--name", self._name(), *arguments)
        return self.started[-1]

    def _name(self) -> str:
        self.started.append(f"inbuilt-test-{uuid.uuid4().hex[:12]}")
        return self.started[-1]

    def stop(self, name: str, seconds: int) -> int:
        """SIGTERM, after `seconds` SIGKILL; the exit code, 137 for a container that had to be killed."""
        self.output("stop", "-t", str(seconds), name)
        return int(self.output("inspect", "-f", "{{.State.ExitCode}}", name))

    def ended(self, name: str, seconds: float = PATIENCE) -> int:
        """The exit code of a container that ends by itself within so many seconds."""
        try:
            done = subprocess.run(["docker", "wait", name], capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} runs after {seconds} s:\n{self.logs(name)[-3000:]}") from None
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    @contextmanager
    def network(self) -> Iterator[str]:
        """A network that leads nowhere else; what was started on it goes with it."""
        before, name = len(self.started), f"inbuilt-test-{uuid.uuid4().hex[:12]}"
        self.output("network", "create", "--internal", name)
        try:
            yield name
        finally:
            self("rm", "-f", *self.started[before:])
            self("network", "rm", name)

    def port(self, name: str) -> int:
        """Where a container that was started with `-p 127.0.0.1::8080` answers on this machine."""
        return int(self.output("port", name, "8080").rpartition(":")[2])

    def logs(self, name: str) -> str:
        """What the container wrote so far."""
        done = self("logs", name)
        return done.stdout + done.stderr

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Returns once `ready`; fails with the container's log when it has ended or patience has."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            state = self.output("inspect", "-f", "{{.State.Status}}", name)
            assert state in ("running", "stopping"), self.logs(name)
            assert time.monotonic() < deadline, self.logs(name)
            time.sleep(0.1)

    def ask(self, name: str, path: str, body: str = "", accept: str = "*/*") -> tuple[int, str]:
        """Status and body of the answer of the server in the container; status 0 if nothing listens yet."""
        python = "/opt/inbuilt/bin/python"
        done = self("exec", "-i", name, python, "-c", CLIENT, path, "text/csv", accept, stdin=body)
        if done.returncode:
            return 0, done.stderr
        status, _, answer = done.stdout.partition("\n")
        return int(status), answer
