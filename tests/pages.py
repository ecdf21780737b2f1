"""Pages with examples: their blocks, run as a reader pastes them, and what they show compared with what comes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.job_folder import free_port

PATIENCE = 300  # seconds for all blocks of a page; a slow machine must not fail a test
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOTHING: Mapping[str, str] = MappingProxyType({})
BETWEEN = "\x1e"  # in the output, between what two blocks wrote
DECIMAL = re.compile(r"-?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of `sh` or `python`, and what the block of `text` behind it shows, nothing if there is none."""

    language: str
    code: str
    shown: str


def clone_in(folder: Path) -> Path:
    """Makes of a folder what a clone is to the examples after `make dev`, without the sources."""
    (folder / "data").symlink_to(Path(__file__).parents[1] / "data")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def section(page: str, title: str) -> str:
    """What stands under a heading of the second level, up to the next one."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str) -> list[Block]:
    """The blocks of a page in their order. Those that are only indented are not for pasting."""
    found: list[Block] = []
    for language, content in FENCED.findall(text):
        if language == "text":
            assert found, f"nothing is run before this is shown: {content}"
            assert not found[-1].shown, f"shown behind what was shown: {content}"
            found[-1] = Block(found[-1].language, found[-1].code, content)
            continue
        assert language in ("sh", "python"), f"a block must be sh, python or text, got {language}"
        found.append(Block(language, content, ""))
    return found


def outputs(
    found: Sequence[Block], folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str] = NOTHING
) -> list[str]:
    """What each block wrote, run in `folder` one after the other in one shell; `python` blocks as a program each.

    Port 8080 of this machine becomes a free one. replaced: other words of the pages -> what stands for them here.
    """
    script = f"printf '{BETWEEN}'\n".join(map(_pasted, found))
    port = free_port()
    ports = {form.format(8080): form.format(port) for form in ("localhost:{}", "-p {}:", '"serving_port": {}')}
    for word, here in (ports | dict(replaced)).items():
        script = script.replace(word, here)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SAGEMAKER_", "INBUILT_"))}
    process = subprocess.Popen(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=inherited | {"SAGEMAKER_BIND_TO_PORT": str(port)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        written, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        _end(process)
        written, _ = process.communicate()  # what it wrote until then says where it stood
    finally:
        _end(process)  # the server of a page, if it is still there
    came = written.split(BETWEEN)
    assert process.returncode == 0, f"this ended with {process.returncode}:\n{found[len(came) - 1].code}\n{came[-1]}"
    return came


def _pasted(block: Block) -> str:
    return block.code if block.language == "sh" else f"python - <<'END-OF-BLOCK'\n{block.code}END-OF-BLOCK\n"


def _end(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def alike(shown: str, came: str) -> bool:
    """Whether a page tells the truth: words and whole numbers are the same, whatever blanks are between them.

    A decimal may be another by one unit of the last digit that is shown, or by a thousandth of itself.
    """
    texts = [" ".join(DECIMAL.sub("#", text).split()) for text in (shown, came)]
    pairs = zip(DECIMAL.findall(shown), DECIMAL.findall(came), strict=False)
    return texts[0] == texts[1] and all(_near(*pair) for pair in pairs)


def _near(shown: str, came: str) -> bool:
    mantissa, _, exponent = shown.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(float(shown) - float(came)) <= max(1.001 * unit, abs(float(shown)) / 1000)
