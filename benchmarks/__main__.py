"""The command line: runs the rows that are asked for, and writes or prints what was found."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import algorithms
from benchmarks import floors, growth, machine, table
from benchmarks.measure import Size, measured

HERE = Path(__file__).parent


def main() -> int:
    """A run of everything writes the results into the tree; any other one only where it is told to. 1: we failed."""
    chosen = arguments()
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    os.chdir(HERE.parent)
    started = time.perf_counter()
    results: dict[str, Any] = {
        "machine": machine.description(),
        "quick": chosen.quick,
        "repeats": chosen.repeats,
        "rates": [],
        "rows": {},
        "growth": [],
    }
    parts = [chosen.algorithm] if chosen.algorithm else ["ingest", *algorithms.names(), "serving"]
    whole = not (chosen.algorithm or chosen.row or chosen.quick)
    folder = chosen.out or (HERE if whole else None)
    for part in parts:
        run(part, chosen, results)
        results["seconds"] = round(time.perf_counter() - started)
        if folder:  # after each part: what comes later may fail
            write(folder, results)
    print(table.markdown(results))
    return int(any(not row["sides"] for rows in results["rows"].values() for row in rows))


def write(folder: Path, results: dict[str, Any]) -> None:
    """Both files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(table.markdown(results))


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Inbuilt beside its peers.")
    parser.add_argument("--algorithm", choices=[*algorithms.names(), "ingest", "serving"], help="one part only")
    parser.add_argument(
        "--row", help="only rows whose part and name have these words: 'core', 'pca: scoring', 'growth'"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--quick", action="store_true", help="little data: shows that the rows work, measures nothing")
    parser.add_argument("--out", type=Path, help="folder for results.md and results.json")
    found = parser.parse_args()
    if not found.repeats >= 1:
        parser.error(f"--repeats must be at least 1, got {found.repeats}")
    return found


def run(part: str, chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    """Adds the results of a part. A new algorithm may have no rows yet."""
    try:
        module = importlib.import_module(f"benchmarks.{part}")
    except ModuleNotFoundError as error:
        if error.name != f"benchmarks.{part}":
            raise
        print(f"{part}: there is no benchmarks/{part}.py, nothing is measured", file=sys.stderr)
        return

    def wanted(name: str) -> bool:
        return not chosen.row or chosen.row in f"{part}: {name}"

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for row in module.rows(Size(chosen.repeats, chosen.quick), Path(folder)):
            if wanted(row.name):
                rates = floors.rates() if row.floor else None
                results["rates"] += [dataclasses.asdict(rates)] if rates else []
                found.append(measured(row, chosen.repeats, rates))
                tell(part, found[-1])
    if found:
        results["rows"][part] = found
    grow(part, module, wanted("growth"), chosen, results)


def grow(part: str, module: ModuleType, wanted: bool, chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    """The growth of an algorithm's jobs."""
    if wanted and hasattr(module, "GROWTH"):
        results["growth"].append(growth.measured(part, module.GROWTH, chosen.repeats, chosen.quick))
        print(f"{part}: growth", file=sys.stderr, flush=True)


def tell(part: str, found: dict[str, Any]) -> None:
    """That a row is done, to whoever waits."""
    sides = ", ".join(f"{side['side']} {side['seconds']['median']:.3g} s" for side in found["sides"])
    absent = "".join(f"; {name}: {reason}" for name, reason in found["absent"].items())
    print(f"{part}: {found['row']}: {sides}{absent}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
