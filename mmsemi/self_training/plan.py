# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a self-training does: section ``self_training`` of a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from ..utils import check_keys
from .label_settings import LabelSettings


@dataclass(frozen=True)
class Plan:
    """Section ``self_training`` of a config.

    Attributes:
        baseline: Config of the supervised training, by its name or path, or a checkpoint of it; or
            ``dict(config=..., options={...})`` with settings as in ``--cfg-options``.
        ratios: Share of the pixels of each class that a round admits; one for each round.
        iterations: Length of each round; None: ``train_cfg.max_iters`` for all.
        mode: ``'self'``: the student labels for its next round; ``'mutual'``: two models label for each
            other.
        second: Of the second model: ``dict(baseline=..., options={...})``; the options change the config
            of its rounds, and those of its network and preprocessor that of its baseline. Without a
            baseline it has the first one's, with another seed.
        start: Weights that a round starts from: ``'previous'`` (the checkpoint kept before), or
            ``'pretrained'``, those of the config.
        select: Checkpoint that is kept of a training: the ``'last'``, or the ``'best'`` of its validations,
            which looks at the images of ``val_dataloader``.
        select_on: With ``'best'``: list file of the validation images that choose, instead of all of
            ``val_dataloader`` (DST-CBC's valtiny: ``mmsemi splits import --master``). The final checkpoint
            is then tested on ``test_dataloader``.
        carry_best: With ``'best'``: a round that is worse than the best one before it is not kept.
        labels: Settings of ``mmsemi pseudo-label`` but the ratio.
        images: ST++: ``dict(shares=(0.5, 1.0), checkpoints=3)``. Round by round, cumulative shares of the
            images, the most reliable first; each image is labelled once, when it comes in.
        metric: Of the validation.

    Raises:
        ConfigError: A combination is one that no run can mean.
    """

    baseline: Any = None
    ratios: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0)
    iterations: Sequence[int] | None = None
    mode: str = "self"
    second: dict[str, Any] | None = None
    start: str = "previous"
    select: str = "last"
    select_on: str | None = None
    carry_best: bool = False
    labels: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] | None = None
    metric: str = "mIoU"

    def __post_init__(self) -> None:
        legal = dict(
            mode=("self", "mutual"), start=("previous", "pretrained"), select=("last", "best")
        )
        for name, values in legal.items():
            if getattr(self, name) not in values:
                self._refuse(name, f"is none of {', '.join(values)}")
        if not self.baseline:
            self._refuse("baseline", "must name a config or a checkpoint")
        if (self.second is not None) != (self.mode == "mutual"):
            self._refuse("second", f"does not fit mode='{self.mode}': 'mutual' has two models")
        if self.second is not None:
            check_keys(self.second, dict(baseline=None, options=None), "self_training.second")
        if self.carry_best and (self.select != "best" or self.mode == "mutual"):
            self._refuse("carry_best", "needs select='best' and mode='self'")
        if self.select_on is not None and self.select != "best":
            self._refuse(
                "select_on", "needs select='best': the last checkpoint is not chosen by images"
            )
        if self.select_on is not None and not Path(self.select_on).is_file():
            self._refuse("select_on", "is no file")
        if not self.ratios:
            self._refuse("ratios", "names no round")
        if self.iterations is not None and len(self.iterations) != len(self.ratios):
            self._refuse("iterations", f"must have one value for each of {len(self.ratios)} rounds")
        if self.images is not None:
            images = check_keys(
                self.images, dict(shares=(0.5, 1.0), checkpoints=3), "self_training.images"
            )
            object.__setattr__(self, "images", images)
            shares = list(images["shares"])
            if (
                self.mode == "mutual"
                or not shares
                or shares != sorted(set(shares))
                or shares[-1] != 1
            ):
                self._refuse("images", "needs mode='self' and growing shares that end at 1")
            if len(shares) != len(self.ratios):
                self._refuse("ratios", f"must have one value for each of {len(shares)} shares")

    def _refuse(self, name: str, reason: str) -> None:
        raise ConfigError(f"self_training.{name}={getattr(self, name)!r} {reason}")

    @classmethod
    def read(cls, config: Config) -> Plan:
        """The plan of a config.

        Raises:
            ConfigError: It has none, or a setting is unknown or wrong.
        """
        section = config.get("self_training")
        if not section:
            raise ConfigError(
                f"{config.filename} has no self_training=dict(baseline=..., ratios=...): it is no "
                "self-training (see configs/dst_cbc)"
            )
        section = Config(dict(section)).to_dict()
        known = [one.name for one in fields(cls)]
        check_keys(section, dict.fromkeys(known), "self_training")
        LabelSettings.read(config)
        return cls(**section)
