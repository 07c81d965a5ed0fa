# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The protocols as a table for people; ``splits/README.md`` holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...utils.markdown import format_table
from .protocols import PROTOCOLS, SplitProtocol

HEAD = ("name", "folds", "labelled", "unlabelled", "fine", "how", "published as")
DATASETS = {
    "voc": "PASCAL VOC 2012 (train_aug)",
    "cityscapes": "Cityscapes",
    "coco": "COCO (train2017)",
    "ade": "ADE20K",
}


def _families(dataset: str) -> Iterator[tuple[str, list[SplitProtocol]]]:
    families: dict[str, list[SplitProtocol]] = {}
    for name, protocol in PROTOCOLS.items():
        if protocol.dataset == dataset:
            families.setdefault(re.sub(r"_[fd]\d$", "", name), []).append(protocol)
    yield from families.items()


def _how(protocol: SplitProtocol) -> str:
    if protocol.is_regenerable:
        return "computed"
    if protocol.imported_master:
        return f"import, or import {protocol.imported_master} once"
    return "import"


def _row(name: str, folds: list[SplitProtocol]) -> tuple[str, ...]:
    first = folds[0]
    has_folds = first.name != name
    ways = [_how(protocol) for protocol in folds]
    how = ways[0]
    if len(set(ways)) > 1:
        how = ", ".join(f"{p.name[-1]}: {way}" for p, way in zip(folds, ways))
    places = {file.source: file.labeled for file in reversed(first.files)}
    places = dict(reversed(places.items()))  # the first file of each source
    fine = [str(p.fine_masks) for p in folds if p.fine_masks is not None]
    return (
        f"`{name}`",
        " ".join(p.name[-1] for p in folds) if has_folds else "",
        f"{first.labeled.count:,}",
        f"{first.unlabeled.count:,}" if first.unlabeled else "-",
        " / ".join(fine),
        how,
        ", ".join(f"{source} `{file}`" for source, file in places.items()) or "not published",
    )


def protocol_tables(dataset: str | None = None) -> str:
    """Markdown tables of all protocols, or of one data set's."""
    blocks = []
    for key, title in DATASETS.items():
        if dataset not in (None, key):
            continue
        rows = [_row(name, folds) for name, folds in _families(key)]
        keep = [i for i, head in enumerate(HEAD) if head == "name" or any(row[i] for row in rows)]
        text = format_table([HEAD[i] for i in keep], [[row[i] for i in keep] for row in rows])
        blocks.append(f"### {title}\n\n{text}")
    return "\n".join(blocks)


def describe_protocol(protocol: SplitProtocol) -> str:
    """Everything that is known about one protocol, as lines."""
    lines = [f"{protocol.name} ({DATASETS[protocol.dataset]}), {_how(protocol)}"]
    for half in ("labeled", "unlabeled"):
        part = getattr(protocol, half)
        if part is not None:
            lines.append(f"  {half}: {part.count} images, sha256 {part.sha256 or 'not known'}")
    for file in protocol.files:
        lines.append(f"  published: {file.labeled} of {file.where}")
    lines += [f"  note: {note}" for note in protocol.notes]
    return "\n".join(lines)
