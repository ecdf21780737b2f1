"""The results as Markdown: a table for each part, one line a side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Found = Mapping[str, Any]
HEADINGS = (
    "row",
    "side",
    "seconds (least to most)",
    "rate",
    "takes, of our time (least to most)",
    "of its floor",
    "besides",
)
GROWTH = ("algorithm", "growing", "from", "seconds at 1, 4, 16 times", "exponent", "MB at 1, 4, 16 times", "exponent")


def markdown(results: Found) -> str:
    """All of it."""
    parts = [_about(results)]
    for name, rows in results["rows"].items():
        lines = [line for row in rows for line in _lines(row)]
        parts.append(f"## {name}\n\n{_table(HEADINGS, lines)}")
    if results["growth"]:
        parts.append(f"## growth\n\n{_table(GROWTH, [line for each in results['growth'] for line in _growth(each)])}")
    return "\n\n".join(parts) + "\n"


def _about(results: Found) -> str:
    """What was measured where, and how to read it."""
    m = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    quick = " --quick, sizes too small to mean anything" if results["quick"] else ""
    where = f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}, load {m['load_before']:.2f} before"
    text = (
        f"# Side by side\n\nWritten by `make bench`{quick}, {m['date']}, commit {m['commit']}. {where}. "
        f"Python {m['python']}, {versions}.\n\nThe sides of a row take turns, after a round that does not count; "
        f"medians of {results['repeats']} rounds. Of our time: the median of the rounds' ratios, above 1 where we are "
        "ahead. Of its floor: how many times as long we take as the machine would for the arithmetic or the bytes "
        "alone, at the rates measured beside the row. Our programs run with the packages of an image only."
    )
    if r := results["rates"]:
        text += (
            f" They were {_range(r, 'flops', 1e9)} Gflop/s in a product of float32 matrices and "
            f"{_range(r, 'bytes', 1e9)} GB/s, read and written, in a copy."
        )
    return text


def _range(rates: list[Found], key: str, unit: float) -> str:
    values = [rate[key] / unit for rate in rates]
    return f"{min(values):.1f} to {max(values):.1f}"


def _lines(row: Found) -> Iterable[tuple[str, ...]]:
    for i, side in enumerate(row["sides"]):
        ratio = side.get("times_ours")
        floor = row.get("floor") if i == 0 else None
        yield (
            row["row"] if i == 0 else "",
            f"**{side['side']}**" if i == 0 else side["side"],
            _spread(side["seconds"]),
            f"{_number(side['rate'])} {row['unit']}/s",
            f"{_spread(ratio)}" if ratio else "",
            f"{_number(floor['times'])}x ({floor['of']})" if floor else "",
            ", ".join(f"{name} {_number(value)}" for name, value in side["besides"].items()),
        )
    for name, reason in row["absent"].items():
        yield "" if row["sides"] else row["row"], name, "not measured", "", "", "", reason


def _growth(found: Found) -> Iterable[tuple[str, ...]]:
    for of in ("rows", "features"):
        each = found[f"by_{of}"]
        yield (
            found["algorithm"],
            of,
            f"{found['rows']:,} x {found['features']:,}",
            ", ".join(_number(point["median"]) for point in each["seconds"]),
            f"{each['exponent_of_seconds']:.2f}",
            ", ".join(_number(point["median"]) for point in each["mb"]),
            f"{each['exponent_of_mb']:.2f}",
        )


def _spread(values: Found) -> str:
    return f"{_number(values['median'])} ({_number(values['least'])} to {_number(values['greatest'])})"


def _number(value: float) -> str:
    """Three digits that mean something, never an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):.10f}".rstrip("0").rstrip(".")


def _table(headings: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    every = [headings, ("---",) * len(headings), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in every)
