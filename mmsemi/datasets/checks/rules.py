# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a rule is, and the list of all rules, which the modules ``*_rules`` fill."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .survey import Survey

SEVERITIES = ("error", "warning", "info")
#: Files that a finding names.
MAX_EXAMPLES = 5
#: What a rule reads: names of files, the content of a few, of all. A training starts with the first two.
NAMES, FEW, CONTENT = "names", "few", "content"


@dataclass
class Finding:
    """A rule that applies to one place, in one form for log, table, JSON and exit code.

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
    """Where a rule applies.

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


@dataclass(frozen=True)
class Rule:
    """One kind of fault.

    Attributes:
        severity, code: As in :class:`Finding`.
        text, fix: The same, with ``{names}`` of a hit's values.
        cost: :data:`NAMES`, :data:`FEW` or :data:`CONTENT`.
        find: Where it applies; None for what shows itself while a data set is built or read.
    """

    severity: str
    code: str
    text: str
    fix: str
    cost: str = CONTENT
    find: Callable[[Survey], Iterable[Hit]] | None = None

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


#: All rules by their code.
RULES: dict[str, Rule] = {}


def rule(
    severity: str, code: str, text: str, fix: str, cost: str = CONTENT
) -> Callable[[Callable], Callable]:
    """Enter a function into :data:`RULES`; it gets the survey and yields hits, also empty ones."""

    def register(find: Callable[[Survey], Iterable[Hit]]) -> Callable:
        RULES[code] = Rule(severity, code, text, fix, cost, find)
        return find

    return register


RULES["dataset-cannot-be-built"] = Rule(
    "error",
    "dataset-cannot-be-built",
    "{reason}",
    "correct {key}; its paths are relative to '{folder}'",
    NAMES,
)
RULES["batch-cannot-be-made"] = Rule("error", "batch-cannot-be-made", "{reason}", "{advice}")


def judge(survey: Survey, costs: Collection[str] = (NAMES, FEW, CONTENT)) -> list[Finding]:
    """Apply all rules of some costs."""
    return [
        one.finding(hit)
        for one in RULES.values()
        if one.find is not None and one.cost in costs
        for hit in _without_repeats(one.find(survey), survey)
    ]


def _without_repeats(hits: Iterable[Hit], survey: Survey) -> Iterator[Hit]:
    """A source that draws the labelled files once more only adds what its pipeline makes of them."""
    hits = [hit for hit in hits if hit.examples or hit.count]
    again = {source.name for source in survey.sources if source.pool == "labeled"}
    labeled = any(hit.source == "labeled" for hit in hits)
    yield from (hit for hit in hits if not (labeled and hit.source in again))


def is_failure(findings: Sequence[Finding], strict: bool) -> bool:
    """Whether a check with these findings failed: an error, or with ``strict`` a warning."""
    bad = ("error", "warning") if strict else ("error",)
    return any(finding.severity in bad for finding in findings)
