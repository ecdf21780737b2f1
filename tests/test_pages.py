"""The pages' examples: every algorithm has a page that can be pasted into a shell, and what it shows is what comes."""

import re
from pathlib import Path

import pytest

import algorithms
from tests.fill_pages import filled
from tests.pages import Block, alike, blocks, clone_in, outputs, section

ROOT = Path(__file__).parents[1]
LAST = ["The artifact", "Measured"]


@pytest.fixture(params=algorithms.names())
def page(request: pytest.FixtureRequest) -> str:
    path = ROOT / "algorithms" / request.param / "README.md"
    assert path.exists(), f"{path} is missing: every algorithm has a page with an example"
    return path.read_text()


def test_a_page_is_ordered_as_the_others(page: str) -> None:
    titles = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert re.match(r"# \S.*\n\n\w", page), "a title and what the algorithm does"
    assert titles[0] == "Example"
    assert titles[-len(LAST) :] == LAST


def test_an_example_is_whole(page: str) -> None:
    """From rows to an artifact that is read."""
    found = blocks(section(page, "Example"))
    code = "\n".join(block.code for block in found)
    for step in ("hyperparameters.json", "\ntrain", "\nserve", "/invocations", "/model/"):
        assert step in code, f"the example has no {step.strip()}"
    assert {block.language for block in found if block.shown} == {"sh", "python"}, "it shows what both write"
    assert blocks(page) == found, "blocks for pasting are in the example only"


def test_an_example_shows_what_comes(page: str, tmp_path: Path) -> None:
    found = blocks(section(page, "Example"))
    for block, came in zip(found, outputs(found, clone_in(tmp_path), {}), strict=True):
        assert alike(block.shown, came), (
            f"{block.code}\n-- is shown to write\n{block.shown}\n-- but wrote\n{came}\n"
            "-- if that is right: .venv/bin/python -m tests.fill_pages"
        )


@pytest.mark.parametrize(
    ("shown", "came", "expected"),
    [
        ("a 0.97\n", "a  0.9651", True),
        ("a 0.97\n", "a 0.99", False),
        ("0.97", "0.97 more", False),
        ("[2.0]", "[3.0]", False),
        ("11 of 12", "12 of 12", False),
        ("1234.5678", "1235.5", True),
        ("1234.5678", "1236.5", False),
        ("1.2e-05", "1.31e-5", False),
        ("1.2e-05", "1.3e-5", True),
        ("-0.5", "0.5", False),
        ("0.5 0.5", "0.5", False),
        ("", "a warning", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, came: str, expected: bool) -> None:
    assert alike(shown, came) == expected


def test_blocks_share_a_shell_and_a_failing_one_is_named(tmp_path: Path) -> None:
    page = "```sh\nword=one\n```\nand\n```python\nprint(2.5)\n```\n```text\n2.5\n```\n```sh\necho $word $PORT\n```\n"
    found = blocks(page)
    assert [block.shown for block in found] == ["", "2.5\n", ""]
    assert outputs(found, tmp_path, {"PORT": "2"}) == ["", "2.5\n", "one 2\n"]
    broken = [found[0], Block("python", "print(1)\nraise SystemExit('it broke')\n", ""), found[2]]
    with pytest.raises(AssertionError, match="raise SystemExit") as raised:
        outputs(broken, tmp_path, {})
    assert "it broke" in str(raised.value)


def test_a_block_that_does_not_end_is_named_with_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pages.PATIENCE", 2)
    with pytest.raises(AssertionError, match=r"sleep 100\n\nwaits") as raised:
        outputs(blocks("```sh\necho one\n```\n```sh\necho waits; sleep 100\n```\n"), tmp_path, {})
    assert "one" not in str(raised.value)


def test_outputs_are_filled_in() -> None:
    old = "a\n\n```sh\necho 1\n```\n\n```text\n2\n```\n\nb\n\n```python\nx = 1\n```\n\n```sh\necho 3\n```\n"
    new = filled(old, ["1\n", "", "3\n"])
    assert [block.shown for block in blocks(new)] == ["1\n", "", "3\n"]
    assert "```\n\nb\n\n```python" in new
    assert filled(new, ["1\n", "", "3\n"]) == new
