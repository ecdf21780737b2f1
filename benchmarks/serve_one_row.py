"""One-row CSV requests a second, beside a Flask app that returns a constant under the same gunicorn settings.

    python benchmarks/serve_one_row.py         needs the load generator `wrk`

One worker each, eight connections, rows of 784 pixels, k-means with ten centers; in turn, median of five rounds.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from flask import Flask, Response, request

from algorithms.kmeans import KMeansModel
from serving.server import server
from serving.settings import Settings

ROUNDS = 5
SECONDS = 3
SCRIPT = 'wrk.method="POST" wrk.headers["Content-Type"]="text/csv" wrk.headers["Accept"]="text/csv" wrk.body=[[{}]]'


def serve_constant() -> None:
    """The other side: reads the body and answers always the same."""
    app = Flask("constant")

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=200)

    @app.post("/invocations")
    def invocations() -> Response:
        request.get_data(cache=False)
        return Response(b"1.0,3.0", content_type="text/csv")

    server(app, Settings.read(os.environ), "constant", lambda: None).run()


def start(command: list[str], folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server on a free port, ready, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    own |= {"SAGEMAKER_BASE_DIR": str(folder), "INBUILT_ALGORITHM": "kmeans"}
    process = subprocess.Popen(command, env=os.environ | own, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{address}/ping"):
                return process, address
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{command} did not answer")


def rate(script: Path, address: str) -> float:
    """Requests a second."""
    command = ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "-s", str(script), f"{address}/invocations"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in report, report
    return float(re.findall(r"Requests/sec:\s*(\S+)", report)[0])


def main() -> None:
    """Prints both rates and the median of the rounds' ratios."""
    if not shutil.which("wrk"):
        raise SystemExit("this benchmark needs the load generator `wrk` (Debian's package of that name)")
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        KMeansModel(random.random((10, 784), np.float32)).save(folder / "model")
        pixels = random.integers(0, 256, 784) / np.float32(255) * (random.random(784) < 0.2)
        (folder / "post.lua").write_text(SCRIPT.format(",".join(map(str, pixels.astype(np.float32).tolist()))))
        ours, here = start([str(Path(sys.executable).parent / "serve")], folder)
        theirs, there = start([sys.executable, __file__, "--constant"], folder)
        try:
            rates = [(rate(folder / "post.lua", here), rate(folder / "post.lua", there)) for _ in range(ROUNDS + 1)][1:]
        finally:
            ours.terminate()
            theirs.terminate()
    print(f"inbuilt   {statistics.median(a for a, _ in rates):6.0f} requests a second")
    print(f"constant  {statistics.median(b for _, b in rates):6.0f} requests a second")
    shares = sorted(a / b for a, b in rates)
    print(f"share     {statistics.median(shares):6.2f} ({shares[0]:.2f} to {shares[-1]:.2f})")


if __name__ == "__main__":
    serve_constant() if sys.argv[1:] == ["--constant"] else main()
