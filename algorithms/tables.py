"""The README's tables of the algorithms, written from their declarations by `python -m algorithms.tables`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import algorithms
import formats
from algorithms.algorithm import Algorithm, Metric
from algorithms.description import MOST_METRICS, image_repository, metric_definitions, summary

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- from here on `python -m algorithms.tables` writes, from the algorithms' declarations -->"
END = "<!-- up to here -->"


def main() -> int:
    """Writes the tables into the README. Exit code 1: it has no place for them."""
    text = README.read_text()
    if BEGIN not in text or END not in text:
        sys.stderr.write(f"README.md must have the lines '{BEGIN}' and '{END}'\n")
        return 1
    before, _, rest = text.partition(BEGIN)
    README.write_text(f"{before}{BEGIN}{tables()}{END}{rest.partition(END)[2]}")
    return 0


def tables() -> str:
    """What stands between BEGIN and END."""
    found = [algorithms.find(name) for name in algorithms.names()]
    parts = (
        _table(("folder", "image", "what it does", "devices", "hosts"), map(_what, found)),
        "Channels in bold are required. Of the formats the first is the default.",
        _table(("folder", "channels", "training data", "requests", "answers"), map(_in_and_out, found)),
        "Metrics, by the channels that they are reported of:",
        _table(("folder", "smaller is better", "greater is better"), map(_metrics, found)),
        _left_out(found),
    )
    return "\n\n" + "\n\n".join(part for part in parts if part) + "\n\n"


def _what(algorithm: Algorithm) -> tuple[str, ...]:
    page = f"algorithms/{algorithm.name}/README.md"
    more = f" ([more]({page}))" if (README.parent / page).exists() else ""
    hosts = "any number" if algorithm.max_hosts is None else str(algorithm.max_hosts)
    what = summary(algorithm).partition(": ")[2].rstrip(".").replace("`", "")
    devices = ", ".join(map(str.upper, algorithm.devices))
    return f"`{algorithm.name}`", f"`{image_repository(algorithm)}`", what + more, devices, hosts


def _in_and_out(algorithm: Algorithm) -> tuple[str, ...]:
    channels = (f"**{channel.name}**" if channel.required else channel.name for channel in algorithm.channels)
    types = algorithm.content_types, algorithm.request_types, algorithm.response_types
    return f"`{algorithm.name}`", ", ".join(channels), *map(_formats, types)


def _formats(names: Sequence[str]) -> str:
    """The formats by the names of their modules: `recordio, csv`."""
    modules = (str(getattr(formats.find(name), "__name__", name)) for name in names)
    return ", ".join(module.rpartition(".")[2] for module in modules)


def _metrics(algorithm: Algorithm) -> tuple[str, ...]:
    return f"`{algorithm.name}`", *(_by_channels(algorithm.metrics, way) for way in ("minimize", "maximize"))


def _by_channels(metrics: Iterable[Metric], direction: str) -> str:
    """`train, test: msd; test: ssd`."""
    channels: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.direction == direction:
            channels.setdefault(metric.name, []).append(metric.channel)
    groups = groupby(channels.items(), lambda each: each[1])
    return "; ".join(f"{', '.join(of)}: {', '.join(name for name, _ in names)}" for of, names in groups)


def _left_out(found: Iterable[Algorithm]) -> str:
    """Which metrics `describe` has no room for."""
    sentences = []
    for algorithm in found:
        names = [definition["Name"] for definition in metric_definitions(algorithm)]
        kept = [name for name in names[:MOST_METRICS] if name in {f"{m.channel}:{m.name}" for m in algorithm.metrics}]
        last = [f"`{name}`" for name in kept if name.startswith("train:")]
        if names[MOST_METRICS:]:
            sentences.append(f"of `{algorithm.name}` all of `train` but {', '.join(last)}")
    if not sentences:
        return ""
    return (
        f"The platform takes {MOST_METRICS} metrics of an algorithm. `describe` leaves out {', and '.join(sentences)}."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *rest = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join((first, "|---" * len(head) + "|", *rest))


if __name__ == "__main__":
    sys.exit(main())
