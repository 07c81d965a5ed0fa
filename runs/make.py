# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The run of a row with a seed: its folder, options and length."""

from __future__ import annotations

from .code import ROOT
from .rounds_run import RoundsRun, length_of_rounds
from .rows import Protocol, Row
from .settings import OPTIONS, from_the_first_step, row_config, settings_hash
from .training_run import COST_INTERVAL, Run

WORK = ROOT / "work_dirs" / "runs"
COST_OPTIONS = (
    "train_cfg.max_iters=40",
    "train_cfg.val_interval=1000000",
    "val_dataloader.dataset.indices=1",  # the loop validates at its end
    f"default_hooks.logger.interval={COST_INTERVAL}",
)


def make_run(
    protocol: Protocol, row: Row, seed: int, kind: str = "run", again: bool = False
) -> Run:
    """A run of a row, with its folder and options."""
    extra = (*COST_OPTIONS, *from_the_first_step(row)) if kind == "cost" else ()
    config = row_config(row, *extra)
    settings = settings_hash(protocol, row)
    suffix = "_cost" if kind == "cost" else "_again" if again else ""
    folder = WORK / protocol.data / f"{row.name}_seed{seed}_{settings[:8]}{suffix}"
    is_rounds = row.command == "self_train"
    return (RoundsRun if is_rounds else Run)(
        config=row.config,
        work_dir=folder,
        options=[
            *([] if is_rounds else [f"randomness.seed={seed}"]),
            *OPTIONS,
            *row.options,
            *extra,
        ],
        log=folder / "train.log",
        protocol=protocol,
        row=row,
        seed=seed,
        kind=kind,
        again=again,
        length=length_of_rounds(config) if is_rounds else config.train_cfg.max_iters,
        model=config.model.type,
        settings=settings,
    )
