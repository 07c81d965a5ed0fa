# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The code of a run: the files of this repository that its process has imported, by hash.

Decisions:

- A file's hash is the beginning of git's (``git hash-object FILE``): ``git cat-file -p HASH`` shows what ran.
- ``import mmsemi`` imports every method. A method's page counts only if the run's model is made from
  it, and an ``__init__.py`` that does nothing but import never counts: a further method leaves the
  results of the others as they are.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("mmsemi", "runs")
#: Packages whose modules are the pages of methods.
METHODS = ("mmsemi.models.segmentors", "mmsemi.models.classifiers")
#: Files that a release changes and on which no number depends.
UNCOUNTED = ("mmsemi/version.py",)


def file_hash(path: Path) -> str | None:
    """The first 12 digits of git's id of a file's content; None without the file."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()[:12]


def snapshot(root: Path = ROOT) -> dict[str, str]:
    """The hash of every Python file of mmsemi and runs, by its path in the repository."""
    paths = sorted(path for part in PARTS for path in (root / part).rglob("*.py"))
    return {path.relative_to(root).as_posix(): file_hash(path) for path in paths}


def code_hash(files: Mapping[str, str]) -> str:
    """One hash of several files' names and hashes."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()[:16]


def counted(files: Mapping[str, str]) -> dict[str, str]:
    """The files that a number may depend on."""
    return {name: hash for name, hash in files.items() if name not in UNCOUNTED}


def is_unchanged(files: Mapping[str, str], root: Path = ROOT) -> bool:
    """Whether all files are as they were."""
    return all(file_hash(root / name) == hash for name, hash in files.items())


def imported_files(model: type, root: Path = ROOT) -> set[str]:
    """Paths in the repository of the modules that this process has imported and that count.

    Args:
        model: The class that was trained.
    """
    pages = method_pages(model)
    found = set()
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "/").resolve()
        is_ours = any(path.is_relative_to(root / part) for part in PARTS) and path.suffix == ".py"
        is_other_method = name.rpartition(".")[0] in METHODS and name not in pages
        if is_ours and not is_other_method and not only_imports(path):
            found.add(path.relative_to(root).as_posix())
    return found


def countable_files(models: Iterable[type], commands: Iterable[str], root: Path = ROOT) -> set[str]:
    """Paths in the repository of all that counts if commands of mmsemi run in processes of their own.

    Args:
        models: The classes that are trained.
        commands: Modules of ``mmsemi.cli``.
    """
    pages = set().union(*map(method_pages, models))
    waiting, seen = ["mmsemi", *(f"mmsemi.cli.{command}" for command in commands)], set()
    found = set()
    while waiting:
        name = waiting.pop()
        base = root / name.replace(".", "/")
        path = base.with_suffix(".py") if not base.is_dir() else base / "__init__.py"
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        package = name if base.is_dir() else parent
        waiting += [parent, *_imported(ast.parse(path.read_text()), package)]
        is_other_method = parent in METHODS and name not in pages
        if not is_other_method and not only_imports(path):
            found.add(path.relative_to(root).as_posix())
    return found


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """What a file of a package may import, at its top or later: modules, and names that may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from [module, *(f"{module}.{alias.name}" for alias in node.names)]


def method_pages(model: type) -> set[str]:
    """The modules of :data:`METHODS` that a model's class is made from.

    Its own, those of the classes that it derives from, and what these import from their package.
    """
    waiting = [base.__module__ for base in model.__mro__]
    pages: set[str] = set()
    while waiting:
        name = waiting.pop()
        package = name.rpartition(".")[0]
        if package in METHODS and name in sys.modules and name not in pages:
            pages.add(name)
            tree = ast.parse(Path(sys.modules[name].__file__).read_text())
            waiting += _imported(tree, package)
    return pages


def only_imports(path: Path) -> bool:
    """Whether a file is an ``__init__.py`` of imports, ``__all__`` and a docstring."""
    if path.name != "__init__.py":
        return False

    def is_plain(node: ast.stmt) -> bool:
        if isinstance(node, ast.Assign):
            return [getattr(target, "id", "") for target in node.targets] == ["__all__"]
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return is_text or isinstance(node, (ast.Import, ast.ImportFrom))

    return all(map(is_plain, ast.parse(path.read_text()).body))
