# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the docs site is made of: the repository's documents, in the folders where they lie.

Every Markdown file becomes a page under its own path, so the links between documents are those that
work in the repository. Files that are not documents are reached by links: a module of mmsemi is a page
of its API, another text file a page of its source, a folder its README or a page that lists it, a
picture is copied. A link to nothing stops the build.
"""

from __future__ import annotations

import ast
import html
import os
import posixpath
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
API = "mmsemi.md"
LINK = re.compile(r"(?:(?<=\]\()|(?<=\]: ))(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=[)\n])")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
PICTURES = (".png", ".jpg", ".svg")


def repository_files() -> list[str]:
    """Paths from the root: those that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in listed.splitlines() if (ROOT / path).is_file())


def links(text: str) -> Iterator[str]:
    """Targets of the relative links of a document, without anchors."""
    for match in LINK.finditer(FENCE.sub("", text)):
        yield match[1]


def page_of(path: str) -> str:
    """The page, or the file that is copied, to which a link to a path of the repository leads."""
    if (ROOT / path).is_dir():
        readme = posixpath.join(path, "README.md")
        return readme if (ROOT / readme).is_file() else f"{path}/index.md"
    return path if path.endswith((".md", *PICTURES)) else f"{path}.md"


def source_page(path: str) -> str:
    """A page of a file or folder that is no document."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(
            child.name for child in file.iterdir() if not child.name.startswith(("_", "."))
        )
        return f"# {path}\n\n" + "".join(f"- `{name}`\n" for name in names)
    if path.startswith("mmsemi/") and path.endswith(".py"):
        return api_page(path)
    kind = {".py": "python", ".sh": "bash"}.get(file.suffix, "text")
    return f"# {path}\n\n```{kind}\n{file.read_text(encoding='utf-8')}\n```\n"


def module_of(path: str) -> str:
    """``mmsemi/a/b.py`` as ``mmsemi.a.b``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def api_page(path: str) -> str:
    """The documented names of a module."""
    return f"# {module_of(path)}\n\n::: {module_of(path)}\n"


def api_index(modules: list[str]) -> str:
    """A page that lists all modules with the first line of their docstrings."""
    lines = [
        "# API",
        "",
        "Every public module. `mmsemi.load` is the entry for predicting in Python.",
        "",
    ]
    folder = None
    for path in modules:
        if folder != (folder := os.path.dirname(path)):
            lines += ["", f"## {folder.replace('/', '.')}", "", "| module | |", "|---|---|"]
        doc = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""
        first = doc.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        lines.append(f"| [{module_of(path)}]({path}) | {first} |")
    return "\n".join(lines) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents and whatever they link to."""
    known = repository_files()
    documents = {
        path: (ROOT / path).read_text(encoding="utf-8")
        for path in known
        if path.endswith(".md") and not path.startswith(("tests/", "."))
    }
    modules = [
        path
        for path in known
        if re.fullmatch(r"mmsemi/(?!compat)(\w+/)*[a-z]\w*\.py", path)
        and (ROOT / path).stat().st_size
    ]
    documents[API] = api_index(modules)
    pages = dict(documents)
    for document, text in documents.items():
        for target in links(text):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(document), target))
            if path.endswith(".md") or not (ROOT / path).exists() or path.startswith(".."):
                continue  # a link to nothing is left for mkdocs to report
            page = page_of(path)
            if page.endswith(PICTURES):
                files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
            elif page not in pages:
                pages[page] = source_page(path)
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:
    """Refuse a document of docs/ that no menu leads to.

    Raises:
        PluginError: There is one.
    """
    shown = {page.file.src_uri for page in nav.pages}
    missing = [
        file.src_uri
        for file in files.documentation_pages()
        if re.fullmatch(r"docs/(?!README).*\.md", file.src_uri) and file.src_uri not in shown
    ]
    if missing:
        raise PluginError(f"docs/site/mkdocs.yml: nav leaves out {', '.join(missing)}")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the pages of what they name."""
    here = posixpath.dirname(page.file.src_uri)

    def lead(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(here, match[1]))
        if not (ROOT / path).exists() or path.endswith(".md"):
            return match[0]
        return posixpath.relpath(page_of(path), here or ".") + (match[2] or "")

    return LINK.sub(lead, markdown)


def mathml(match: re.Match) -> str:
    """A formula, which browsers show without a script."""
    is_block = match[1].startswith(r"\[")
    latex = html.unescape(match[1][2:-2]).replace("\n", " ").replace(r"\arg", r"\operatorname{arg}")
    return convert(latex, display="block" if is_block else "inline")


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show formulas, and names that docstrings refer to (``:class:`~a.B``` ) as code alone."""
    content = re.sub(r'<(?:span|div) class="arithmatex">(.*?)</(?:span|div)>', mathml, content,
                     flags=re.DOTALL)  # fmt: skip
    return re.sub(r":(?:py:)?(?:class|func|meth|mod|data|attr|exc):<code>[~.]*", "<code>", content)
