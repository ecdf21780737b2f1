"""`make demo`: k-means on handwritten digits, from a channel of RecordIO to answers in every format and a picture."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import matplotlib as mpl
import numpy as np

from formats import jsonlines, ndarray, recordio

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend must be chosen first

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "demo-output"
PROGRAMS = Path(sys.executable).parent
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    PORT = probe.getsockname()[1]  # free when the demo began
NEAREST = 8  # digits drawn beside each center


def main() -> None:
    """Trains, serves, asks and draws; everything it makes is in `demo-output/`."""
    digits = read_digits(ROOT / "data" / "mnist" / "t10k-images-idx3-ubyte.gz")
    shutil.rmtree(OUTPUT, ignore_errors=True)
    lay_out(OUTPUT / "ml", digits[:9000], digits[9000:])
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(OUTPUT / "ml"), "INBUILT_ALGORITHM": "kmeans"}

    say("train: 9,000 digits of 28 x 28 pixels in 10 clusters, 1,000 digits to test")
    subprocess.run([PROGRAMS / "train"], env=environment, check=True)

    say(f"serve: http://127.0.0.1:{PORT}")
    server = subprocess.Popen([PROGRAMS / "serve"], env=environment | {"SAGEMAKER_BIND_TO_PORT": str(PORT)})
    try:
        wait_until_ready()
        ask_in_every_format(digits[9000:9003])
        answers = [json.loads(line) for part in np.array_split(digits, 10) for line in clusters_of(part)]
    finally:
        server.terminate()
        server.wait()
    picture = draw(digits, answers)
    say(f"the ten centers and the {NEAREST} digits nearest to each: {picture.relative_to(Path.cwd())}")


def read_digits(path: Path) -> np.ndarray:
    """MNIST images from an idx3 file as (n, 784) float32 in [0, 1]."""
    return np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 784).astype(np.float32) / 255


def lay_out(base: Path, train: np.ndarray, test: np.ndarray) -> None:
    """The files that the platform gives a training job."""
    for channel, rows in (("train", train), ("test", test)):
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True)
        (folder / "digits.pbr").write_bytes(recordio.encode_features(rows))
    config = base / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps({"k": "10", "feature_dim": "784"}))
    (base / "model").mkdir()


def post(body: bytes, content_type: str, accept: str) -> bytes:
    """The body of the server's answer."""
    headers = {"Content-Type": content_type, "Accept": accept}
    with urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{PORT}/invocations", body, headers)
    ) as answer:
        return bytes(answer.read())


def wait_until_ready() -> None:
    """Returns when /ping answers 200."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ping"):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not answer /ping within 30 s")


def ask_in_every_format(rows: np.ndarray) -> None:
    """The same three digits in each request format, answered in the same."""
    records = [{"features": row.tolist()} for row in rows]
    requests = {
        "text/csv": "\n".join(",".join(map(str, row.tolist())) for row in rows).encode(),
        "application/json": json.dumps({"instances": records}).encode(),
        "application/jsonlines": "\n".join(map(json.dumps, records)).encode(),
        "application/x-recordio-protobuf": recordio.encode_features(rows),
    }
    for content_type, body in requests.items():
        say(f"three digits as {content_type}, {len(body):,} bytes, are answered")
        answer = post(body, content_type, content_type)
        sys.stdout.write(repr(answer) if content_type.endswith("protobuf") else answer.decode())
        sys.stdout.write("\n")


def clusters_of(rows: np.ndarray) -> list[bytes]:
    """An answer as a JSON line for each row."""
    body = recordio.encode_features(np.ascontiguousarray(rows))
    return post(body, "application/x-recordio-protobuf", jsonlines.MEDIA_TYPES[0]).split(b"\n")


def draw(digits: np.ndarray, answers: list[dict[str, float]]) -> Path:
    """A row for each cluster: the center, read from the artifact, then the digits nearest to it."""
    [centers] = ndarray.load(OUTPUT / "ml" / "model" / "model_algo-1")
    cluster = np.array([answer["closest_cluster"] for answer in answers])
    distance = np.array([answer["distance_to_cluster"] for answer in answers])
    figure, axes = plt.subplots(10, NEAREST + 1, figsize=(NEAREST + 1, 10.5))
    for k, row in enumerate(axes):
        members = np.flatnonzero(cluster == k)
        nearest = members[np.argsort(distance[members])][:NEAREST]
        images = [centers[k], *digits[nearest]]
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image.reshape(28, 28), cmap="gray_r")
        row[0].set_title(f"{len(members):,}", fontsize=8)
        for axis in row:
            axis.set_axis_off()
    figure.suptitle("k-means on MNIST: each center, its number of digits, and the digits nearest to it", y=0.92)
    path = OUTPUT / "kmeans-mnist.png"
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return path


def say(text: str) -> None:
    """A line of the demo's own, set off from the programs' logs."""
    sys.stdout.write(f"\n== {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
