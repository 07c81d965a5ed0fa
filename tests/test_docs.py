# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Links in the documents, and citations of them in the code, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/**/README.md")]
CODE = [p for part in ("mmsemi", "tests", "configs", "tools") for p in (ROOT / part).rglob("*.py")]


def anchors(document: Path) -> set[str]:
    """The addresses of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_missing(target: Path, anchor: str) -> bool:
    return not target.exists() or bool(anchor and anchor not in anchors(target))


def test_links_lead_somewhere():
    broken = []
    for document in DOCUMENTS:
        text = document.read_text()
        named = dict(re.findall(r"^\[(\w+)\]: (\S+)$", text, re.MULTILINE))
        used = re.findall(r"\]\[(\w+)\]", text)
        links = [*re.findall(r"\]\(([^()\s]+)\)", text), *(named.get(name, name) for name in used)]
        assert set(named) == set(used), document
        for link in links:
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            if ":" not in path and is_missing(target, anchor):
                broken.append(f"{document.relative_to(ROOT)}: {link}")
    assert not broken


def test_cited_paths_exist():
    """Test files in backquotes, and pages of methods in the code."""
    broken = []
    for document in ROOT.glob("docs/methods/*.md"):
        for path in re.findall(r"`(tests/[\w/]+\.py)`", document.read_text()):
            if not (ROOT / path).is_file():
                broken.append(f"{document.name}: {path}")
    for path in CODE:
        for page, anchor in re.findall(r"(docs/methods/\w+\.md)(?:#([\w-]+))?", path.read_text()):
            if is_missing(ROOT / page, anchor):
                broken.append(f"{path.relative_to(ROOT)}: {page}#{anchor}")
    assert not broken
