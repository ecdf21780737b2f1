"""Decoding a JSON request: `formats.json.decode` beside what a user would write, alternately, median of five.

Run from the repository: `PYTHONPATH=. python benchmarks/decode_json.py`. Rows of 784 features: float32 in their
shortest text, and whole numbers 0..255. The two others take text like "1.5" for a number; ours refuses it.
"""

import json
import statistics
import time

import numpy as np
import orjson

import formats
from formats import Expected

FEATURES = 784
CONTENDERS = {
    "inbuilt": lambda body: formats.json.decode(body, Expected(FEATURES)).features,
    "orjson + np.array": lambda body: np.array(
        [row["features"] for row in orjson.loads(body)["instances"]], np.float32
    ),
    "json + np.array": lambda body: np.array([row["features"] for row in json.loads(body)["instances"]], np.float32),
}


def bodies(rows):
    """A request of random floats and one of random pixels, as (name, bytes)."""
    random = np.random.default_rng(1)
    floats = random.random((rows, FEATURES), np.float32)
    pixels = random.integers(0, 256, (rows, FEATURES))
    for name, values in (("float", floats), ("pixel", pixels)):
        instances = [{"features": row} for row in values]
        yield name, orjson.dumps({"instances": instances}, option=orjson.OPT_SERIALIZE_NUMPY)


def seconds(decode, body, repeats):
    """Mean seconds of one decoding."""
    start = time.perf_counter()
    for _ in range(repeats):
        decode(body)
    return (time.perf_counter() - start) / repeats


def main():
    """Print microseconds a row, and how many times as long the others take."""
    print(f"{'rows':>5} {'values':>6}  " + "  ".join(f"{name:>18}" for name in CONTENDERS) + "   (us/row)")
    for rows in (1, 100, 1000):
        for kind, body in bodies(rows):
            wanted = CONTENDERS["json + np.array"](body)
            assert all((decode(body) == wanted).all() for decode in CONTENDERS.values())
            rounds = [[seconds(decode, body, max(1, 500 // rows)) for decode in CONTENDERS.values()] for _ in range(5)]
            medians = [statistics.median(times) / rows * 1e6 for times in zip(*rounds, strict=True)]
            print(f"{rows:>5} {kind:>6}  " + "  ".join(f"{us:>10.1f} ({us / medians[0]:4.1f}x)" for us in medians))


if __name__ == "__main__":
    main()
