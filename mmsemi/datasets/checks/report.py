# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The findings and statistics as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .config import Check
from .findings import MAX_EXAMPLES, SEVERITIES, Finding
from .survey import Survey


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width; the first is left, the others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _sizes(sizes: Counter) -> tuple[str, str, str]:
    """Smallest, middle and largest image by pixels, as 'WxH'."""
    if not sizes:
        return "-", "-", "-"
    ordered = sorted(sizes.elements(), key=lambda size: (size[0] * size[1], size))
    return tuple(f"{w}x{h}" for w, h in (ordered[0], ordered[len(ordered) // 2], ordered[-1]))


def _counts(counter: Counter) -> str:
    return ", ".join(f"{count} {name or '?'}" for name, count in counter.most_common(3))


def source_table(survey: Survey) -> list[str]:
    """A line a source: images, masks, sizes and void share."""
    rows = [["source", "images", "masks", "smallest", "median", "largest", "void", "format"]]
    for source in survey.sources:
        s = survey.stats[source.name]
        void = f"{s.void_share:.1%}" if s.masks else "-"
        formats = _counts(s.modes) + (f"; masks {_counts(s.mask_modes)}" if s.masks else "")
        masks = str(len(s.masks)) if source.masks else "-"
        rows.append([source.name, str(len(source)), masks, *_sizes(s.sizes), void, formats])
    return _table(rows)


def class_table(survey: Survey) -> list[str]:
    """A line a class: its share of the labelled pixels, and the masks that have it, by source."""
    stats = survey.stats
    shown = [source for source in survey.sources if stats[source.name].masks]
    if not shown:
        return []
    rows = [["class", *(f"{source.name} pixels (masks)" for source in shown)]]
    classes = list(dict.fromkeys(name for source in shown for name in source.classes))
    for number, name in enumerate(classes):
        cells = []
        for source in shown:
            s = stats[source.name]
            if name not in source.classes:
                cells.append("-")
                continue
            position = source.classes.index(name)
            share = s.pixels[position] / max(1, s.pixels.sum())
            cells.append(f"{share:.2%} ({s.occurs[position]})")
        rows.append([f"{number} {name}", *cells])
    for source in shown:
        for value, pixels in sorted(stats[source.name].outside.items())[:8]:
            cells = [f"{pixels} px" if other is source else "-" for other in shown]
            rows.append([f"value {value} (no class)", *cells])
    return _table(rows)


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """A paragraph a finding, errors first."""
    lines = []
    for finding in sorted(findings, key=lambda f: SEVERITIES.index(f.severity)):
        number = f", {finding.count}x" if finding.examples and finding.count > 1 else ""
        where = f"[{finding.source}{number}]"
        lines.append(f"{finding.severity:<8}{finding.code} {where} {finding.text}")
        examples = [e for e in finding.examples if e != finding.source]
        lines += [f"          {example}" for example in examples]
        if examples and finding.count > MAX_EXAMPLES:
            lines.append(f"          ... and {finding.count - MAX_EXAMPLES} more")
        lines.append(f"        fix: {finding.fix}")
    return lines


def summary(findings: Sequence[Finding]) -> str:
    """'2 errors, 1 warning, 0 notes'."""
    parts = []
    for severity, word in zip(SEVERITIES, ("error", "warning", "note")):
        number = sum(finding.severity == severity for finding in findings)
        parts.append(f"{number} {word}{'' if number == 1 else 's'}")
    return ", ".join(parts)


def as_text(result: Check) -> str:
    """Tables and findings, divided by empty lines."""
    blocks = [source_table(result.survey), class_table(result.survey)]
    if not result.survey.sources:
        blocks = []
    blocks.append(finding_lines(result.findings))
    return "\n\n".join("\n".join(block) for block in blocks if block)


def as_json(config: str, result: Check) -> dict:
    """Everything as plain values for ``json.dumps``."""
    described = {}
    for source in result.survey.sources:
        s = result.survey.stats[source.name]
        described[source.name] = dict(
            role=source.role,
            images=len(source),
            readable_images=s.images,
            readable_masks=len(s.masks),
            sizes={f"{w}x{h}": count for (w, h), count in s.sizes.most_common()},
            image_modes=dict(s.modes),
            mask_modes=dict(s.mask_modes),
            pixels=dict(zip(source.classes, map(int, s.pixels))),
            masks_with_class=dict(zip(source.classes, map(int, s.occurs))),
            void_pixels=s.void,
            void_share=round(float(s.void_share), 6),
            values_outside={str(int(v)): int(n) for v, n in s.outside.items()},
        )
    return dict(
        config=config,
        sources=described,
        findings=[vars(finding) for finding in result.findings],
        counts={s: sum(f.severity == s for f in result.findings) for s in SEVERITIES},
    )
