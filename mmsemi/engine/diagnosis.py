# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What goes wrong in a semi-supervised training: rules on numbers of its log, and which were found.

Each rule is a pure function that returns a :class:`Finding` or None; the thresholds are its arguments.
:class:`~mmsemi.engine.hooks.DiagnosisHook` feeds them. docs/diagnosis.md says what each one means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

GUIDE = "docs/diagnosis.md"
#: Fewer validation images than this give a rough score.
FEW_FOR_VALIDATION = 10


class Finding(NamedTuple):
    """Something that is wrong with a run.

    Attributes:
        name: Of the rule, and of its section in the guide.
        text: What was measured.
        setting: What to change.
        subjects: What it is about, such as classes; the finding is new if one of them is.
    """

    name: str
    text: str
    setting: str
    subjects: tuple[str, ...] = ("run",)

    @property
    def guide(self) -> str:
        """Where to read more."""
        return f"{GUIDE}#{self.name}"

    def __str__(self) -> str:
        return f"{self.text}: {self.setting} (see {self.guide})"


# --- Counts ---------------------------------------------------------------------------------------


@dataclass
class Shares:
    """Counted pixels of a run: labelled ones since its start, pseudo-labels of the last iterations.

    Attributes:
        patience: Iterations that the pseudo-labels are counted over.
        labeled: Pixels of each class in the masks of labelled images; then those of no class.
        blocks: Of pseudo-labels, oldest first: iterations, and pixels of each class; then those that
            are not kept.
    """

    patience: int
    labeled: list[float] = field(default_factory=list)
    blocks: list[tuple[int, list[float]]] = field(default_factory=list)

    def add(self, labeled: Sequence[float], kept: Sequence[float], iterations: int) -> None:
        """Add the counts of some iterations.

        Args:
            labeled: (C + 1,) of labelled images.
            kept: (C + 1,) of pseudo-labels.
            iterations: In ``kept``; 0 where the method had no pseudo-labels.
        """
        self.labeled = _sum([self.labeled, labeled] if self.labeled else [labeled])
        if not iterations:
            return
        self.blocks.append((iterations, list(kept)))
        while self.iterations - self.blocks[0][0] >= self.patience:
            self.blocks.pop(0)

    @property
    def iterations(self) -> int:
        """In the blocks: at least ``patience`` once the run is long enough."""
        return sum(iterations for iterations, _ in self.blocks)

    @property
    def is_full(self) -> bool:
        """Whether enough iterations were counted."""
        return self.iterations >= self.patience

    @property
    def kept(self) -> list[float]:
        """(C + 1,) pixels of all blocks."""
        return _sum([counts for _, counts in self.blocks])

    def kept_share(self) -> float:
        """Share of the pixels that have a pseudo-label."""
        *classes, rest = self.kept
        return sum(classes) / max(1.0, sum(classes) + rest)

    def class_shares(self) -> tuple[list[float], list[float]]:
        """Share of each class, among labelled pixels and among pseudo-labels."""
        return _shares(self.labeled[:-1]), _shares(self.kept[:-1])

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(labeled=self.labeled, blocks=[list(block) for block in self.blocks])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.labeled = list(state["labeled"])
        self.blocks = [(int(iterations), list(counts)) for iterations, counts in state["blocks"]]


def _sum(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _shares(counts: Sequence[float]) -> list[float]:
    total = max(1.0, sum(counts))
    return [count / total for count in counts]


# --- Rules ----------------------------------------------------------------------------------------


def missing_classes(
    shares: Shares, classes: Sequence[str], ratio: float, setting: str
) -> Finding | None:
    """Classes with labelled pixels whose share of the pseudo-labels is below ``ratio`` times that."""
    if not shares.is_full or not sum(shares.kept[:-1]):
        return None
    labeled, kept = shares.class_shares()
    missing = [i for i, share in enumerate(labeled) if share and kept[i] < ratio * share]
    if not missing:
        return None
    named = ", ".join(f"'{classes[i]}' ({labeled[i]:.2%} of the labelled pixels)" for i in missing)
    return Finding(
        "class-never-labelled",
        f"no pseudo-label, or hardly one, for {named} in the last {shares.iterations} iterations",
        setting,
        tuple(classes[i] for i in missing),
    )


def dominating_class(
    shares: Shares, classes: Sequence[str], dominance: float, rest_ratio: float, setting: str
) -> Finding | None:
    """A class with more than ``dominance`` of the pseudo-labels, though the labels hold more of others.

    That is where the other classes' share of the pseudo-labels is below ``rest_ratio`` times their share
    of the labelled pixels.
    """
    if not shares.is_full or not sum(shares.kept[:-1]):
        return None
    labeled, kept = shares.class_shares()
    top = max(range(len(kept)), key=kept.__getitem__)
    if kept[top] <= dominance or 1 - kept[top] >= rest_ratio * (1 - labeled[top]):
        return None
    return Finding(
        "one-class",
        f"'{classes[top]}' is {kept[top]:.1%} of the pseudo-labels of the last {shares.iterations} "
        f"iterations, and {labeled[top]:.1%} of the labelled pixels",
        setting,
        (classes[top],),
    )


def nothing_kept(shares: Shares, low: float, setting: str) -> Finding | None:
    """At most ``low`` of the pixels of unlabelled images have a pseudo-label."""
    if not shares.is_full or shares.kept_share() > low:
        return None
    return Finding(
        "nothing-kept",
        f"{shares.kept_share():.2%} of the pixels of unlabelled images had a pseudo-label in the last "
        f"{shares.iterations} iterations: they teach nothing",
        setting,
    )


def everything_kept(shares: Shares, high: float, setting: str) -> Finding | None:
    """At least ``high`` of them have one, although there is a threshold."""
    if not shares.is_full or shares.kept_share() < high:
        return None
    return Finding(
        "everything-kept",
        f"{shares.kept_share():.2%} of the pixels of unlabelled images passed the threshold in the last "
        f"{shares.iterations} iterations: it leaves no mistake out",
        setting,
    )


def equal_teacher(is_equal: bool, setting: str) -> Finding | None:
    """Every weight of the teacher is the student's."""
    if not is_equal:
        return None
    return Finding(
        "teacher-equals-student", "the teacher has exactly the student's weights", setting
    )


def no_learning_rate(rates: Mapping[str, Sequence[float]]) -> Finding | None:
    """All learning rates of an optimiser are 0.

    Args:
        rates: Those of the parameter groups of each optimiser by its name, '' of the only one.
    """
    still = [name for name, values in rates.items() if values and not any(values)]
    if not still:
        return None
    of = ", ".join(f" of '{name}'" for name in still if name)
    return Finding(
        "learning-rate-zero",
        f"the learning rate{of} is 0 before the run ends: nothing is learned",
        "leave `end` out of param_scheduler, which then ends with the run, or give optimizer.lr and "
        "eta_min",
        tuple(still),
    )


def memorised_labels(
    losses: Sequence[float], patience: int, low: float, setting: str
) -> Finding | None:
    """The mean labelled loss of the last ``patience`` iterations is at most ``low``.

    Args:
        losses: Of each iteration.
        patience: How many there must be.
        low: In nats for a cross-entropy.
        setting: What to change.
    """
    if len(losses) < patience:
        return None
    mean = sum(losses[-patience:]) / patience
    if mean > low:
        return None
    return Finding(
        "labelled-loss-zero",
        f"the mean labelled loss of the last {patience} iterations is {mean:.2g}: the labelled images "
        "are known by heart",
        setting,
    )


def norm_gap(
    network: str,
    by_batch: float,
    by_running: float,
    before: float | None,
    bound: float,
    setting: str,
) -> Finding | None:
    """A network is better by more than ``bound`` mIoU with a batch's own statistics of batch norm, twice.

    Args:
        network: With the largest gap in this validation.
        by_batch: mIoU (%) on the labelled batch by its own statistics.
        by_running: The same by the running ones.
        before: Gap of the validation before, None without one: a batch is few images, and one value jumps.
        bound: Points.
        setting: What to change.
    """
    if before is None or min(by_batch - by_running, before) <= bound:
        return None
    return Finding(
        "batch-norm-gap",
        f"network '{network}' has mIoU {by_batch:.1f} on its labelled batch with the batch's "
        f"statistics and {by_running:.1f} with the running ones of batch norm, by which teachers "
        "label and validations predict",
        setting,
        (network,),
    )


def below_supervised(
    score: float,
    baseline: float,
    margin: float,
    setting: str,
    metric: str = "mIoU",
    images: int | None = None,
) -> Finding | None:
    """The validation is more than ``margin`` points below that of the supervised run.

    Args:
        score: Of the validation.
        baseline: Of the supervised run.
        margin: Points below it that are no harm.
        setting: What to change.
        metric: Name of the score.
        images: How many validation images there are, None if that is not known.
    """
    if score >= baseline - margin:
        return None
    return Finding(
        "below-supervised",
        f"{metric} is {score:.2f}, the supervised run has {baseline:.2f}: the unlabelled images do harm"
        f"{rough_score(images)}",
        setting,
    )


def rough_score(images: int | None) -> str:
    """What to say of a score by few validation images; '' for many, or an unknown number."""
    if images is None or images >= FEW_FOR_VALIDATION:
        return ""
    return f", by {images} validation image{'s' if images != 1 else ''}, which is a rough score"


# --- What was found -------------------------------------------------------------------------------


class Ledger:
    """The findings of a run: each is reported once, and again when it comes back after it was gone."""

    def __init__(self) -> None:
        self._active: dict[str, list[str]] = {}
        #: Each report: iteration, the four texts of the finding, and the iteration at which it was gone.
        self.reports: list[dict[str, Any]] = []

    def update(self, step: int, name: str, finding: Finding | None) -> bool:
        """Note the outcome of a rule.

        Args:
            step: Iterations so far.
            name: Of the rule.
            finding: What it returned.

        Returns:
            Whether the finding is to be reported.
        """
        before = self._active.pop(name, [])
        if finding is None:
            for report in self.reports if before else []:
                if report["name"] == name and report["gone"] is None:
                    report["gone"] = step
            return False
        self._active[name] = list(finding.subjects)
        if set(finding.subjects) <= set(before):
            return False
        for report in self.reports:  # the new one says it all
            if report["name"] == name and report["gone"] is None:
                report["gone"] = step
        named = dict(name=name, text=finding.text, setting=finding.setting, guide=finding.guide)
        self.reports.append(dict(step=step, **named, gone=None))
        return True

    def summary(self) -> list[str]:
        """A line for each report, those that are still true first."""
        lines = []
        for report in sorted(self.reports, key=lambda one: one["gone"] is not None):
            when = f"since iteration {report['step']}"
            if report["gone"] is not None:
                when = f"iterations {report['step']} to {report['gone']}"
            lines.append("{}: {text}: {setting} (see {guide})".format(when, **report))
        return lines

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(active=self._active, reports=self.reports)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self._active = {name: list(subjects) for name, subjects in state["active"].items()}
        self.reports = [dict(report) for report in state["reports"]]
