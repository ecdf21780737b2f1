"""What the tests of the images end with: a table of every check with every algorithm, and how long it took."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ORDER = ("passed", "skipped", "failed")  # of several runs of a check the last of these counts


def table(reports: Iterable[tuple[str, str, float]], names: Sequence[str]) -> list[str]:
    """Lines of Markdown, a row for each check and a column for each of these algorithms.

    reports: (pytest's node, its outcome, seconds) of each phase of each test; an error counts as failed. Nodes without
    an algorithm's name among their parameters are in the column "all".
    """
    columns = [*names, "all"]
    found: dict[str, dict[str, set[str]]] = {}
    seconds = dict.fromkeys(columns, 0.0)
    for node, outcome, duration in reports:
        check, _, parameters = node.rpartition("::")[2].partition("[")
        words = re.split(r"[-\]]", parameters)
        column = next((name for name in names if name in words), "all")
        seconds[column] += duration
        if outcome:
            cells = found.setdefault(check.removeprefix("test_").replace("_", " "), {})
            cells.setdefault(column, set()).add("failed" if outcome == "error" else outcome)
    rows = [[check, *(_cell(cells.get(name, set())) for name in columns)] for check, cells in found.items()]
    rows.append(["seconds", *(f"{seconds[name]:.0f}" for name in columns)])
    lines = [["check", *columns], ["---"] * (len(columns) + 1), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(outcomes: set[str]) -> str:
    """Skipped cases beside passed ones are those that this algorithm does not have."""
    if outcomes == {"passed", "skipped"}:
        return "passed"
    return max(outcomes, key=ORDER.index, default="")
