"""The pages' links: each leads to a file of the tree, and to a heading that this file has."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    path for pattern in ("*.md", "docs/*.md", "algorithms/*/README.md", "*/README.md") for path in ROOT.glob(pattern)
]
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)")


def anchors(page: Path) -> set[str]:
    """The headings as links name them: small letters, `-` for a blank, nothing but letters, digits and these."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path} is no file of the tree"
        assert not anchor or anchor in anchors(target), f"{path} has no heading {anchor}"


def test_a_heading_is_named_as_in_links(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n\n## Exit codes of `train`\n")
    assert anchors(page) == {"one", "exit-codes-of-train"}
