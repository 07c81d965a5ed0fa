# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The rows of the results tables: what is trained, from which start, with which settings.

A row is one line: its name on the command line, its name in the tables, its config, and what else it
needs. Everything about the training itself is in the config; ``options`` are ``--cfg-options``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mmsemi.errors import ConfigError, close_matches


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: On the command line.
        title: In the tables.
        config: As ``mmsemi train`` takes it.
        units: Forward units of an iteration for one labelled and one unlabelled image (a backward
            counts two), as ``docs/methods`` states them.
        start: The row from whose last checkpoint of the same seed it starts; empty for the weights
            that the config names.
        kind: ``count``, with another number of labels; ``start``; ``baseline``, which trains on without
            unlabelled images; ``ceiling``, with all labels; ``method``; ``norm``, of
            the batch-norm table.
        table: Of which table it is part.
        options: Settings beside the config's, each as ``KEY=VALUE``.
        command: ``train``, or ``self_train`` for rounds of labelling and training.
        has_second: Whether its second network starts from the same row of :func:`second_seed`.
    """

    name: str
    title: str
    config: str
    units: float
    start: str = ""
    kind: str = "method"
    table: str = "continued"
    options: tuple[str, ...] = ()
    command: str = "train"
    has_second: bool = False


#: Methods that keep labels by a threshold and have a ramp-up.
RAMPED = ("classmix", "fixmatch", "unimatch", "unimatch_v2", "prevmatch")


def second_seed(seed: int) -> int:
    """Of the start of a second network: another of the seeds 1, 2, 3, so that no row needs one more."""
    return seed % 3 + 1


@dataclass(frozen=True)
class Protocol:
    """The rows on a data set.

    Attributes:
        data: Name of the data set.
        folder: Where it lies, from the repository's root.
        seeds: That the rows are run with, but see :meth:`seeds_of`.
        rare: Classes whose mean IoU the tables give.
        rows: In the order of the tables.
        best: The methods that have all seeds, where the others have the first alone; () if all have all.
    """

    data: str
    folder: str
    seeds: tuple[int, ...]
    rare: tuple[str, ...]
    rows: tuple[Row, ...]
    best: tuple[str, ...] = ()

    def seeds_of(self, row: Row) -> tuple[int, ...]:
        """The seeds that a row is run with: in the tables beside the main one, the first alone."""
        is_best = not self.best or row.kind != "method" or row.name in self.best
        return self.seeds if row.table == "continued" and is_best else self.seeds[:1]

    def row(self, name: str) -> Row:
        """The row of a name.

        Raises:
            ConfigError: There is none.
        """
        rows = {row.name: row for row in self.rows}
        if name not in rows:
            raise ConfigError(
                f"{self.data} has no row '{name}'{close_matches(name, rows)}; there are {', '.join(rows)}"
            )
        return rows[name]


def _labeled(path: str) -> tuple[str, str]:
    """The options that label the images of a list."""
    split = "train_dataloader.dataset.split"
    return f"{split}.labeled={path}", f"{split}.labeled_sha256=None"


def _batch_norm_rows(labels: str, path: str) -> tuple[Row, ...]:
    """Three methods with the backbone's batch norm frozen and trained, on the labels of a list."""
    frozen = _labeled(path)
    trained = (*frozen, "model.backbone_norm_eval=False")
    weak_only = (*trained, "model.strong_view_stats=False")

    def row(
        name: str, title: str, config: str, units: float, options: tuple, start: str = ""
    ) -> Row:
        kind = "norm" if start else "start"
        return Row(name, title, f"{config}/{labels}", units, start, kind, "batch_norm", options)

    cutmix = "cutmix_mean_teacher"
    return (
        row("frozen", "supervised, frozen", "supervised", 3, frozen),
        row("frozen_fixmatch", "FixMatch, frozen", "fixmatch", 7, frozen, "frozen"),
        row("frozen_cutmix", "CutMix mean teacher, frozen", cutmix, 8, frozen, "frozen"),
        row("trained", "supervised, trained", "supervised", 3, trained),
        row("trained_fixmatch", "FixMatch, trained", "fixmatch", 7, trained, "trained"),
        row("trained_cutmix", "CutMix mean teacher, trained", cutmix, 8, trained, "trained"),
        row("weak_fixmatch", "FixMatch, trained, strong views leave the statistics alone", "fixmatch",
            7, weak_only, "trained"),
    )  # fmt: skip


def _rows(
    labels: str,
    counts: tuple[int, ...],
    steps: int,
    best: tuple[str, ...],
    classmix: tuple[str, ...] = (),
) -> tuple[Row, ...]:
    """The rows that the data sets share.

    Args:
        labels: How configs end, ``<data set>_<number of labels>``.
        counts: Other numbers of labels that the supervised network is measured with.
        steps: Of a run.
        best: Methods that also run from ImageNet weights.
        classmix: Settings of ClassMix that the data set needs.
    """
    lists = f"splits/{labels.split('_')[0]}"
    strong = ("model.strong.type=StrongPhotometric",)

    def labeled(name: str) -> tuple[str, str]:
        return _labeled(f"{lists}/{name}.txt")

    every_label = labeled("pool")
    # Hard labels of a mean teacher.
    classmix = (
        "model.mix._delete_=True", "model.mix.type=ClassMix", "model.threshold=0.968", *classmix
    )  # fmt: skip
    # Without a mix each unlabelled image is one view, which both networks label for each other.
    plain = (
        "model.mix=None", "model.strong=None", "train_dataloader.sampler.num_per_source.unlabeled=4"
    )  # fmt: skip

    # The paper begins each round with the backbone's weights; here a row goes on.
    previous = ("self_training.start=previous",)
    once = (*previous, "self_training.ratios=[1.0]", "self_training.images=None")
    thirds = (steps // 3, steps // 3, steps - 2 * (steps // 3))
    second = (f"self_training.second.baseline=supervised/{labels}",)

    def first(row: Row) -> Row:
        """The same from ImageNet weights."""
        # Such a network is sure of the background alone at first; without a ramp it stays so.
        ramp = (f"model.rampup_iters={steps}",) if row.name in RAMPED else ()
        return replace(
            row,
            name=f"imagenet_{row.name}",
            start="",
            table="imagenet",
            options=(*row.options, *ramp),
            has_second=False,
        )

    def on(name: str, title: str, config: str, units: float, *options: str, **more: Any) -> Row:
        """From the supervised network."""
        return Row(name, title, f"{config}/{labels}", units, "supervised", options=options, **more)

    def rounds(
        name: str, title: str, config: str, lengths: tuple[int, ...], *options: str, **more: Any
    ) -> Row:
        """Rounds that go on from the supervised network, together as long as another row."""
        each = f"self_training.iterations=[{','.join(map(str, lengths))}]"
        # Two validations, as the other rows have, but one at the end of each round at least.
        validations = f"train_cfg.num_validations={max(1, 2 // len(lengths))}"
        options = (f"self_training.baseline=supervised/{labels}", each, validations, *options)
        path = f"{config}/{labels}"
        units = 12 if more.get("has_second") else 6
        return Row(
            name, title, path, units, "supervised", options=options, command="self_train", **more
        )

    def counted(name: str, title: str, options: tuple[str, str]) -> Row:
        """From ImageNet weights, with another number of labels."""
        return Row(name, title, f"supervised/{labels}", 3, "", "count", "labels", options)

    rows = (
        *(counted(f"labels_{n}", f"{n} labels", labeled(f"labels_{n}")) for n in counts),
        counted("labels_all", "all labels", every_label),
        Row("supervised", "supervised, the start", f"supervised/{labels}", 3, kind="start"),
        on("weak", "supervised, weak views", "supervised", 3, kind="baseline"),
        on("strong", "supervised, strong views", "supervised", 3, *strong, kind="baseline"),
        on("all", "supervised, all labels", "supervised", 3, *every_label, kind="ceiling"),
        on("mean_teacher", "mean teacher", "mean_teacher", 8),
        on("cutmix_mean_teacher", "CutMix mean teacher", "cutmix_mean_teacher", 8),
        on("classmix", "ClassMix in mean teacher", "fixmatch", 7, *classmix),
        on("fixmatch", "FixMatch", "fixmatch", 7),
        on("unimatch", "UniMatch V1", "unimatch", 13.4),
        on("unimatch_v2", "UniMatch V2", "unimatch_v2", 10),
        on("prevmatch", "PrevMatch", "prevmatch", 15.4),
        on("cps", "CPS", "cps", 12, *plain, has_second=True),
        on("cps_cutmix", "CPS+CutMix", "cps", 16, has_second=True),
        on("augseg", "AugSeg", "augseg", 7),
        on("advsemiseg", "AdvSemiSeg", "advsemiseg", 6),
        on("s4gan", "s4GAN", "s4gan", 6),
        on("cac", "CAC", "cac", 9),
        on("u2pl", "U2PL", "u2pl", 9),
        rounds("dst_cbc", "DST-CBC", "dst_cbc", thirds),
        rounds("dmt", "DMT", "dmt", thirds, *second, has_second=True),
        rounds("st", "ST", "st_plus_plus", (steps,), *once),
        rounds("st_plus_plus", "ST++", "st_plus_plus", (steps // 2, steps // 2), *previous),
    )
    supervised = replace(on("supervised", "supervised", "supervised", 3, *strong), kind="baseline")
    return (*rows, first(supervised), *(first(row) for row in rows if row.name in best))


#: By their gain from the supervised network, on CamVid with the first seed.
_BEST = {
    "nuclei": ("cutmix_mean_teacher", "cps_cutmix", "unimatch_v2", "fixmatch", "prevmatch"),
    "camvid": ("cps_cutmix", "classmix", "unimatch", "fixmatch", "advsemiseg"),
}

PROTOCOLS = {
    "nuclei": Protocol(
        data="nuclei",
        folder="data/nuclei",
        seeds=(1, 2, 3),
        rare=("nucleus",),
        rows=(
            # With one threshold for both classes ClassMix lost the nuclei in one seed of three.
            *_rows(
                "nuclei_4",
                (6, 12),
                steps=400,
                best=_BEST["nuclei"],
                classmix=("model.class_thresholds=True",),
            ),
            *_batch_norm_rows("nuclei_4", "splits/nuclei/random_14.txt"),
        ),
    ),
    "camvid": Protocol(
        data="camvid",
        folder="data/camvid",
        seeds=(1, 2, 3),
        rare=("Pole", "SignSymbol", "Fence", "Pedestrian", "Bicyclist"),
        rows=_rows("camvid_6", (12, 24), steps=600, best=_BEST["camvid"]),
        best=_BEST["camvid"],
    ),
}
