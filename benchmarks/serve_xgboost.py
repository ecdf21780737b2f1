"""One-row CSV requests on one core: what the server adds to `Booster.inplace_predict` on the same row.

    python benchmarks/serve_xgboost.py

The server has one worker and one core; the client has another core and one connection that it keeps. The library, in a
process of its own on the server's core, predicts the same row, already an array, with one thread. The two take turns;
what is told is the difference of the medians of each round.
"""

from __future__ import annotations

import http.client
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # a peer's package `tests` would hide ours

import numpy as np
import xgboost
from job_folder import JobFolder, Served

ROUNDS = 9
CALLS = 1000  # of a round, each
FEATURES, TREES, DEPTH = 30, 100, 6
ROW = Path("row.npy")


def train(folder: Path) -> np.ndarray:
    """Writes the model; returns a row to ask."""
    random = np.random.default_rng(0)
    features = random.normal(size=(20_000, FEATURES)).astype(np.float32)
    labels = (features[:, 0] * features[:, 1] + features[:, 2] + random.normal(size=len(features)) > 0).astype(int)
    parameters = {"objective": "binary:logistic", "max_depth": DEPTH}
    booster = xgboost.train(parameters, xgboost.DMatrix(features, labels), TREES)
    (folder / "model").mkdir()
    booster.save_model(folder / "model" / "xgboost-model.ubj")
    np.save(folder / ROW, features[:1])
    return features[:1]


def predict(folder: Path) -> None:
    """The other side: for each line that it reads, median seconds of a round of predictions, and their result."""
    booster = xgboost.Booster({"nthread": 1}, model_file=folder / "model" / "xgboost-model.ubj")
    row = np.load(folder / ROW)
    for _ in sys.stdin:
        seconds = []
        for _ in range(CALLS):
            start = time.perf_counter()
            score = booster.inplace_predict(row)
            seconds.append(time.perf_counter() - start)
        print(statistics.median(seconds), score[0], flush=True)


def requests(served: Served, connection: http.client.HTTPConnection, path: str, body: str | None) -> tuple[float, str]:
    """Median seconds of a round of requests, and the last answer."""
    seconds = []
    headers = {"Content-Type": "text/csv"} if body else {}
    for _ in range(CALLS):
        start = time.perf_counter()
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        seconds.append(time.perf_counter() - start)
        assert answer.status == 200, text
    return statistics.median(seconds), text.decode()


def main() -> None:
    """Prints medians in milliseconds, and what the server adds."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row = ",".join(map(repr, train(folder)[0].tolist()))
        os.sched_setaffinity(0, {cores[0]})  # inherited by the server and by the library's process
        command = [sys.executable, __file__, "--predict", str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as library:
            with JobFolder(folder, "xgboost").serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as served:
                os.sched_setaffinity(0, {cores[-1]})
                connection = http.client.HTTPConnection("127.0.0.1", served.port)
                times = []
                for _ in range(ROUNDS + 1):
                    asked, answer = requests(served, connection, "/invocations", row)
                    pinged, _ = requests(served, connection, "/ping", None)
                    library.stdin.write("\n")
                    library.stdin.flush()
                    predicted, score = library.stdout.readline().split()
                    assert np.float32(answer) == np.float32(score), (answer, score)
                    times.append((asked, float(predicted), pinged, asked - float(predicted)))
                connection.close()
            library.stdin.close()
    print(
        f"xgboost {xgboost.__version__}, Python {platform.python_version()}; {TREES} trees of depth {DEPTH}, "
        f"{FEATURES} features; {ROUNDS} rounds of {CALLS} calls; "
        + ("server and client share the one core" if len(cores) == 1 else "a core for the server, one for the client")
    )
    titles = ("request, one row of CSV", "Booster.inplace_predict", "GET /ping, for comparison", "the server adds")
    for title, column in zip(titles, zip(*times[1:], strict=True), strict=True):  # the first round warms up
        low, middle, high = (1e3 * value for value in (min(column), statistics.median(column), max(column)))
        print(f"  {title:<28}{middle:6.3f} ms ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    predict(Path(sys.argv[2])) if sys.argv[1:2] == ["--predict"] else main()
