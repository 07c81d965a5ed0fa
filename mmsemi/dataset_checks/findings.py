# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A fault that was found, in one form for table, JSON and exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SEVERITIES = ("error", "warning", "info")
#: Files that a finding names.
MAX_EXAMPLES = 5


@dataclass
class Finding:
    """One kind of fault in one place.

    Attributes:
        severity: 'error' (training stops, or learns or measures something wrong), 'warning' (most
            likely not meant) or 'info'.
        code: The fault in words, e.g. 'mask-value-outside'.
        source: Name of the source, list file or config key.
        count: How many files, lines or classes have it.
        text: What is wrong, with values.
        fix: What to do, in one line.
        examples: The first files.
    """

    severity: str
    code: str
    source: str
    count: int
    text: str
    fix: str
    examples: list[str] = field(default_factory=list)


def group(
    severity: str, code: str, source: str, examples: Sequence[str], text: str, fix: str
) -> list[Finding]:
    """A finding about some files; none if there are no files."""
    if not examples:
        return []
    first = list(examples[:MAX_EXAMPLES])
    return [Finding(severity, code, source, len(examples), text, fix, first)]


def is_failure(findings: Sequence[Finding], strict: bool) -> bool:
    """Whether a check with these findings failed: an error, or with ``strict`` a warning."""
    bad = ("error", "warning") if strict else ("error",)
    return any(finding.severity in bad for finding in findings)
