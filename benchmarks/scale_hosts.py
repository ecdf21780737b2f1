"""Training on one, two and four hosts, each a container: rows a second, bytes, waiting, and what it says of many.

    python -m benchmarks.scale_hosts [--only NAME ...] [--rows FACTOR] [--repeats 1] [--cpus 0.5] [--hop 50]
                                     [--tag latest] [--json FILE] [--page] [--again FILE]

For each algorithm that several hosts can train: jobs of the same rows for each host, and of the same rows in all, in
the images that `make images` builds. Prints tables in Markdown; --page writes them into docs/hosts.md too, and --json
keeps what was measured, from which --again makes the tables without measuring.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import algorithms
from algorithms.algorithm import Algorithm
from algorithms.description import image_repository
from benchmarks.scaling.containers import Cluster, EngineError, docker, network, require_image
from benchmarks.scaling.jobs import JOBS, Work
from benchmarks.scaling.runs import Run
from benchmarks.scaling.tables import tables
from formats import recordio

PAGE = Path(__file__).parents[1] / "docs" / "hosts.md"
BEGIN = "<!-- from here on `python -m benchmarks.scale_hosts --page` writes, from a run -->"
END = "<!-- up to here -->"
SHARDS = 4
# hosts, and shards of each: the same for each host is 1, 1, 1 of them, the same in all 4, 2, 1
SHAPES = ((1, 1), (2, 1), (4, 1), (2, 2), (1, 4))


def main() -> int:
    """Exit code 1: a job failed, or the page has no place for the tables. Without an engine nothing is measured."""
    options = _options()
    try:
        kept = json.loads(options.again.read_text()) if options.again else measured(options)
    except EngineError as error:
        sys.stderr.write(f"not measured: {error}\n")
        return 0 if not _engine_answers() else 1
    text = tables(kept, options.hop * 1e-6)
    print(text)
    return _write(text) if options.page else 0


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """All runs, as --json keeps them after each algorithm."""
    docker("version")
    runs: dict[str, Any] = {}
    repeats = range(options.repeats)
    works: dict[str, Any] = {}
    kept = {"cpus": options.cpus, "rows": options.rows, "repeats": options.repeats, "works": works, "runs": runs}
    chosen = {f"{image_repository(algorithm)}:{options.tag}": algorithm for algorithm in _chosen(options.only)}
    for image in chosen:
        require_image(image)
    with tempfile.TemporaryDirectory(prefix="inbuilt-scale-") as folder, network() as name:
        for image, algorithm in chosen.items():
            work = JOBS[algorithm.name].scaled(options.rows)
            base = Path(folder) / algorithm.name
            shards = _shards(base, work)
            cluster = Cluster(image, name, options.cpus, base, work.hyperparameters)
            found = [[_run(algorithm.name, cluster, work, shards, *shape) for shape in SHAPES] for _ in repeats]
            middle = (sorted(same, key=lambda run: run.seconds)[len(same) // 2] for same in zip(*found, strict=True))
            runs[algorithm.name] = [asdict(run) for run in middle]
            works[algorithm.name] = {key: value for key, value in vars(work).items() if key != "make"}
            if options.json:  # what a later failure must not lose
                options.json.write_text(json.dumps(kept, indent=1) + "\n")
    return kept


def _chosen(only: Sequence[str]) -> list[Algorithm]:
    """The algorithms that several hosts can train, of those asked for, if any are."""
    found = [algorithms.find(name) for name in only or algorithms.names()]
    several = [algorithm for algorithm in found if algorithm.max_hosts is None or algorithm.max_hosts >= SHARDS]
    for algorithm in several:
        if algorithm.name not in JOBS:
            sys.stderr.write(f"{algorithm.name} is left out: benchmarks/scaling/jobs.py has no job of it\n")
    return [algorithm for algorithm in several if algorithm.name in JOBS]


def _shards(folder: Path, work: Work) -> list[list[Path]]:
    """The files of each shard: one file of different rows, several times."""
    folder.mkdir()
    shards = []
    for i in range(SHARDS):
        file = folder / f"shard-{i}"
        file.write_bytes(recordio.encode_features(*work.make(np.random.default_rng(i), work.rows)))
        shards.append([file] * work.files)
    return shards


def _run(name: str, cluster: Cluster, work: Work, shards: Sequence[Sequence[Path]], hosts: int, of_each: int) -> Run:
    """One job on so many hosts, with so many shards each."""
    parts = [list(chain.from_iterable(shards[i::hosts][:of_each])) for i in range(hosts)]
    told, wall = cluster.train(parts)
    run = Run.of(told, work.rows * work.files * of_each, wall)
    sys.stderr.write(
        f"{name:24} {hosts} hosts of {run.rows:9,} rows: {run.seconds:6.2f} s of {wall:6.2f}, computes "
        f"{run.computes:6.2f}, waits {run.waits:6.2f}, exchanges {run.exchanges:6.2f} in {run.count:6,.0f} sums\n"
    )
    return run


def _engine_answers() -> bool:
    try:
        docker("version")
    except EngineError:
        return False
    return True


def _write(text: str) -> int:
    page = PAGE.read_text() if PAGE.exists() else ""
    if BEGIN not in page or END not in page:
        sys.stderr.write(f"{PAGE} must have the lines '{BEGIN}' and '{END}'\n")
        return 1
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="these algorithms alone")
    parser.add_argument("--rows", type=float, default=1.0, metavar="FACTOR", help="times the rows of each job")
    parser.add_argument("--repeats", type=int, default=1, help="of each job; the one of median seconds is kept")
    parser.add_argument("--cpus", type=float, default=0.5, help="of a host")
    parser.add_argument("--hop", type=float, default=50.0, help="microseconds that a network adds to a message")
    parser.add_argument("--tag", default="latest", help="of the images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep what was measured")
    parser.add_argument("--again", type=Path, metavar="FILE", help="a file of --json: tables without measuring")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/hosts.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
