# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The rows of the results tables: what is trained, from which start, with which settings.

A row is one line: its name on the command line, its name in the tables, its config, and what else it
needs. Everything about the training itself is in the config; ``options`` are ``--cfg-options``.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        kind: ``start``; ``baseline``, which trains on without unlabelled images; ``ceiling``, with all
            labels; ``method``.
        table: Of which table it is part.
        options: Settings beside the config's, each as ``KEY=VALUE``.
    """

    name: str
    title: str
    config: str
    units: float
    start: str = ""
    kind: str = "method"
    table: str = "continued"
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """The rows on a data set.

    Attributes:
        data: Name of the data set.
        folder: Where it lies, from the repository's root.
        seeds: That every row is run with.
        rare: Classes whose mean IoU the tables give.
        rows: In the order of the tables.
    """

    data: str
    folder: str
    seeds: tuple[int, ...]
    rare: tuple[str, ...]
    rows: tuple[Row, ...]

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


def _rows(data: str) -> tuple[Row, ...]:
    """The rows that both data sets have: from the supervised network, then from ImageNet weights."""
    go_on = dict(start="supervised")
    from_imagenet = dict(table="imagenet")
    return (
        Row("supervised", "supervised, the start", f"supervised/{data}", 3, kind="start"),
        Row("weak", "supervised, weak views", f"supervised/{data}_on", 3, **go_on, kind="baseline"),
        Row("strong", "supervised, strong views", f"supervised/{data}_strong", 3, **go_on, kind="baseline"),
        Row("all", "supervised, all labels", f"supervised/{data}_full", 3, **go_on, kind="ceiling"),
        Row("mean_teacher", "mean teacher", f"mean_teacher/{data}", 8, **go_on),
        Row("cutmix_mean_teacher", "CutMix mean teacher", f"cutmix_mean_teacher/{data}", 8, **go_on),
        Row("classmix", "ClassMix in mean teacher", f"mean_teacher/{data}_classmix", 8, **go_on),
        Row("fixmatch", "FixMatch", f"fixmatch/{data}", 7, **go_on),
        Row("unimatch", "UniMatch V1", f"unimatch/{data}", 15.3, **go_on),
        Row("cps", "CPS", f"cps/{data}_plain", 12, **go_on),
        Row("cps_cutmix", "CPS+CutMix", f"cps/{data}", 16, **go_on),
        Row("augseg", "AugSeg", f"augseg/{data}", 7, **go_on),
        Row("advsemiseg", "AdvSemiSeg", f"advsemiseg/{data}", 6, **go_on),
        Row("s4gan", "s4GAN", f"s4gan/{data}", 6, **go_on),
        Row("imagenet_supervised", "supervised", f"supervised/{data}_strong", 3, kind="baseline", **from_imagenet),
        Row("imagenet_fixmatch", "FixMatch", f"fixmatch/{data}", 7, **from_imagenet),
        Row("imagenet_cps_cutmix", "CPS+CutMix", f"cps/{data}", 16, **from_imagenet),
    )  # fmt: skip


PROTOCOLS = {
    "nuclei": Protocol("nuclei", "data/nuclei", (1, 2, 3), ("nucleus",), _rows("nuclei")),
    "camvid": Protocol(
        "camvid",
        "data/camvid",
        (1,),
        ("Pole", "SignSymbol", "Fence", "Pedestrian", "Bicyclist"),
        _rows("camvid_effnet"),
    ),
}
