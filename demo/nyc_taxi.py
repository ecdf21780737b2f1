"""Draws NYC taxi rides and their random cut forest scores: `python demo/nyc_taxi.py nyc_taxi.csv [windows.json]`.

The files are those of the Numenta Anomaly Benchmark (MIT licence): `timestamp,value` lines, one each half hour, and
`combined_windows.json`, whose intervals around the labelled anomalies are shaded. The picture goes beside the README.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np

from algorithms.random_cut_forest.forest import grow
from algorithms.random_cut_forest.metrics import anomalous
from algorithms.random_cut_forest.model import RandomCutForestModel, TrainingScores
from algorithms.random_cut_forest.sampling import partition
from formats import Batch

PICTURE = Path(__file__).parent.parent / "algorithms" / "random_cut_forest" / "nyc_taxi.svg"
SHINGLE = 48  # half hours: a row is the day up to a point
TREES, PER_TREE = 100, 256  # the defaults
WIDTH, HEIGHT, LEFT, GAP = 900, 120, 60, 45  # of a panel, in pixels; left of it, below it
FONT = 'font-family="sans-serif" font-size="12" fill="#444"'
HIGHER, LOWER = "#2166ac", "#b2182b"


def main() -> None:
    """Scores each day-long window and writes the picture."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with Path(sys.argv[1]).open(newline="") as file:
        lines = list(csv.DictReader(file))
    times = np.array([line["timestamp"] for line in lines], "datetime64[m]")
    values = np.array([line["value"] for line in lines], np.float32)
    rows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(values, SHINGLE))
    forest = grow(partition(rows, TREES, PER_TREE, seed=0), seed=0, threads=1)
    model = RandomCutForestModel(forest, TrainingScores.of(forest.scores(rows, 1)))
    scores = model.scores(Batch(rows))
    windows = labelled(Path(sys.argv[2])) if len(sys.argv) > 2 else []
    beyond = int(anomalous(scores, model.training.limit).sum())
    PICTURE.write_text(picture(times, values, scores, model.training.limit, windows))
    sys.stdout.write(f"{beyond} of {len(rows)} windows are beyond three sigma; {PICTURE} is drawn\n")


def labelled(path: Path) -> list[tuple[np.datetime64, np.datetime64]]:
    """The intervals around the labelled anomalies."""
    pairs = json.loads(path.read_text())["realKnownCause/nyc_taxi.csv"]
    return [(np.datetime64(first[:16], "m"), np.datetime64(last[:16], "m")) for first, last in pairs]


def picture(
    times: np.ndarray,
    values: np.ndarray,
    scores: np.ndarray,
    limit: float,
    windows: list[tuple[np.datetime64, np.datetime64]],
) -> str:
    """The SVG: rides above, scores below, labelled intervals shaded."""
    span = (times - times[0]) / (times[-1] - times[0])
    parts = []
    for first, last in windows:
        x, end = (LEFT + WIDTH * (each - times[0]) / (times[-1] - times[0]) for each in (first, last))
        parts.append(f'<rect x="{x:.1f}" y="20" width="{end - x:.1f}" height="{2 * HEIGHT + GAP}" fill="#fddbc7"/>')
    parts += panel(span, values, 20, HIGHER, "rides in half an hour")
    top = 20 + HEIGHT + GAP
    parts += panel(span[SHINGLE - 1 :], scores, top, LOWER, f"score of the last {SHINGLE} values", limit)
    for month in np.arange(times[0].astype("datetime64[M]"), times[-1].astype("datetime64[M]") + 1):
        x = LEFT + WIDTH * (month.astype("datetime64[m]") - times[0]) / (times[-1] - times[0])
        parts.append(f'<text x="{x + 4:.1f}" y="{top + HEIGHT + 18}" {FONT}>{month}</text>')
    size = f'width="{LEFT + WIDTH + 10}" height="{top + HEIGHT + 30}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', BACKGROUND, *parts, "</svg>\n"])


BACKGROUND = '<rect width="100%" height="100%" fill="white"/>'


def panel(
    span: np.ndarray, values: np.ndarray, top: int, color: str, title: str, line: float | None = None
) -> list[str]:
    """A frame with its title, the least and greatest value, the values at `span` in [0, 1], and a dashed line."""
    low, high = float(values.min()), float(values.max())

    def height(value: float) -> str:
        return f"{top + HEIGHT * (high - value) / (high - low):.1f}"

    digits = 0 if high > 100 else 2
    parts = [
        f'<text x="{LEFT}" y="{top - 6}" {FONT}>{title}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>',
    ]
    for value in (low, high) if line is None else (low, line, high):
        place = f'x="{LEFT - 6}" y="{float(height(value)) + 4:.1f}" text-anchor="end"'
        parts.append(f"<text {place} {FONT}>{value:,.{digits}f}</text>")
    if line is not None:
        parts.append(f'<path d="M{LEFT} {height(line)}h{WIDTH}" stroke="#444" stroke-dasharray="4 3"/>')
    points = []
    column = (span * WIDTH).astype(int)  # of pixels; its least and greatest value are all that can be seen
    for x in np.unique(column):
        inside = values[column == x]
        points += [f"{LEFT + x},{height(inside.min())}", f"{LEFT + x},{height(inside.max())}"]
    return [*parts, f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}"/>']


if __name__ == "__main__":
    main()
