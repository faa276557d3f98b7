"""`docs/README.md`: the index has every page exactly once, with a line about it."""

from __future__ import annotations

import re
from collections import Counter

from guards.repository import ROOT

DOCS = ROOT / "docs"
INDEX = (DOCS / "README.md").read_text("utf-8")
GROUPS = ["Start", "Bring your data", "Run it", "Analyse", "Understand it", "Extend it"]


def pages(text: str) -> Counter[str]:
    """How often the rows of the index's tables lead to each file."""
    return Counter(re.findall(r"^\| \[[^\]]+\]\(([^)#]+)\) \| \S.* \|$", text, re.MULTILINE))


def test_every_page_is_in_the_index_once():
    expected = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    listed = pages(INDEX)
    assert {page for page in listed if not page.startswith("../")} == expected | {"decisions/README.md"}
    assert max(listed.values()) == 1


def test_the_index_links_pages_in_its_tables_only():
    links = Counter(re.findall(r"\]\(([^)]+)\)", INDEX))
    assert links == pages(INDEX) + Counter(["../README.md"])


def test_pages_are_grouped_by_purpose():
    assert re.findall(r"^## (.+)$", INDEX, re.MULTILINE) == GROUPS
    for section in INDEX.split("\n## ")[1:]:
        assert 3 <= sum(pages(section).values()) <= 8, section.splitlines()[0]


def test_a_page_without_a_line_is_not_counted():
    assert pages("| [A](a.md) | about a |\n| [A](a.md) | again |\n| [B](b.md) |  |\n[C](c.md)\n") == {"a.md": 2}
