# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A rule, where it applies, and what is said of that: the same for log, table, JSON and exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .survey import Survey

SEVERITIES = ("error", "warning", "info")
#: Files that a finding names.
MAX_EXAMPLES = 5


@dataclass
class Finding:
    """A rule that applies to one place.

    Attributes:
        severity: 'error' (training stops, or learns or measures something wrong), 'warning' (most
            likely not meant) or 'info'.
        code: The rule, e.g. 'mask-value-outside'.
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

    @property
    def line(self) -> str:
        """All of it in one line."""
        number = f"{self.count}x, " if self.count > 1 else ""
        first = f", the first is '{self.examples[0]}'" if self.examples else ""
        return f"{self.source}: {self.text} ({number}{self.code}){first}: {self.fix}"


@dataclass
class Hit:
    """Where a rule applies; nowhere if there are neither examples nor a count.

    Attributes:
        source: As in :class:`Finding`.
        examples: All files, lines or classes that have it.
        values: What the rule's text and fix name in braces.
        severity: Another one than the rule's.
        count: Another number than that of the examples.
    """

    source: str
    examples: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    severity: str | None = None
    count: int | None = None


Find = Callable[[Survey], Iterable[Hit]]


@dataclass(frozen=True)
class Rule:
    """One kind of fault.

    Attributes:
        code, severity: As in :class:`Finding`.
        reads: 'names' of files, the content of a 'few', or of 'all'. A training starts with the
            first two.
        text, fix: As in :class:`Finding`, with ``{names}`` of a hit's values.
        find: Where it applies; None for what shows itself while a data set is built or loaded.
    """

    code: str
    severity: str
    reads: str
    text: str
    fix: str
    find: Find | None = None

    def finding(self, hit: Hit) -> Finding:
        """What a hit means."""
        return Finding(
            hit.severity or self.severity,
            self.code,
            hit.source,
            len(hit.examples) if hit.count is None else hit.count,
            self.text.format_map(hit.values),
            self.fix.format_map(hit.values),
            list(hit.examples[:MAX_EXAMPLES]),
        )

    def judge(self, survey: Survey) -> list[Finding]:
        """What the rule finds; of files that several sources have, it speaks once."""
        hits = self.find(survey) if self.find else ()
        hits = [hit for hit in hits if hit.examples or hit.count]
        again = {source.name for source in survey.sources if source.pool == "labeled"}
        if any(hit.source == "labeled" for hit in hits):
            # A source that draws the labelled files once more adds what its own pipeline causes.
            hits = [hit for hit in hits if hit.source not in again]
        return [self.finding(hit) for hit in hits]


def is_failure(findings: Sequence[Finding], strict: bool) -> bool:
    """Whether a check with these findings failed: an error, or with ``strict`` a warning."""
    bad = ("error", "warning") if strict else ("error",)
    return any(finding.severity in bad for finding in findings)
