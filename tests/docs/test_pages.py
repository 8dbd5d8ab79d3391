"""The pages hang together: links lead somewhere, the index is whole, the rooms on the page are those of the house."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "CHANGELOG.md", ROOT / "README.md", *(ROOT / "deploy").glob("*.md")])
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_the_index_is_whole() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.glob("*.*"):
        assert page.name == "README.md" or f"({page.name})" in index, f"{page.name} is not in docs/README.md"
    records = (DOCS / "adr" / "README.md").read_text()
    for page in (DOCS / "adr").glob("0*.md"):
        assert f"[{page.name[:4]}]({page.name})" in records


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("0*.md")), ids=lambda page: page.name)
def test_a_decision_says_what_was_rejected(page: Path) -> None:
    text = page.read_text()
    parts = ["**Context.**", "**Decision.**", "**What follows.**", "**Rejected.**"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert text.startswith(f"# {page.name[:4]}: ")
    assert len(re.findall(r"^- \*", text.partition("**Rejected.**")[2], re.MULTILINE)) >= 2


def test_the_rooms_are_those_of_the_house() -> None:
    page = (DOCS / "architecture.md").read_text().partition("## The rooms")[2].partition("## ")[0]
    on_page = set(re.findall(r"\b([a-z]+)/", page)) | set(re.findall(r"\b([a-z]+\.py)\b", page))
    package = ROOT / "src" / "graven"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    files = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert on_page == rooms | files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_about_the_product(page: Path) -> None:
    """Pages speak of Graven, not of how it came to be."""
    assert not re.search(r"\.\./shared|\bissue \d|\bTODO\b|\bFIXME\b", page.read_text())
