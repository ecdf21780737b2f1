"""Writes into the algorithms' pages what their examples write now: `python -m tests.fill_pages [NAME...]`."""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import algorithms
from tests.pages import blocks, clone_in, outputs, section

SHOWN = re.compile(r"\n*^```text\n.*?^```$", re.MULTILINE | re.DOTALL)
PASTED = re.compile(r"^```(?:sh|python)\n.*?^```$", re.MULTILINE | re.DOTALL)


def filled(example: str, came: Sequence[str]) -> str:
    """The example with these outputs behind its blocks, in place of those that are there."""
    written = iter(came)

    def with_output(block: re.Match[str]) -> str:
        output = next(written)
        return f"{block[0]}\n\n```text\n{output.rstrip()}\n```" if output.strip() else block[0]

    return PASTED.sub(with_output, SHOWN.sub("", example))


def main(names: Sequence[str]) -> None:
    """Of all algorithms, or of these."""
    for name in names or algorithms.names():
        path = Path(__file__).parents[1] / "algorithms" / name / "README.md"
        page = path.read_text()
        example = section(page, "Example")
        with tempfile.TemporaryDirectory() as folder:
            came = outputs(blocks(example), clone_in(Path(folder)), {})
        path.write_text(page.replace(example, filled(example, came)))


if __name__ == "__main__":
    main(sys.argv[1:])
