# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How images are labelled: section ``self_training.labels`` of a config, and ``mmsemi pseudo-label``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from ..utils import check_keys
from .thresholds import RULES, Confidences, Histograms, PixelSampler, SortedConfidences


@dataclass(frozen=True)
class LabelSettings:
    """How images are labelled.

    Attributes:
        ratio: Share of the pixels of each class to admit.
        assign: ``'argmax'``, ``'ratio'`` (see :func:`~mmsemi.self_training.thresholds.assign`), or
            ``'all'``: every pixel, whatever the ratio.
        per_class: False: one threshold for all classes.
        sampling: Which pixels the thresholds are made of, see
            :class:`~mmsemi.self_training.thresholds.PixelSampler`.
        stride: Pixels to one of these.
        seed: Of a random sampling.
        exact: Sort every sampled confidence instead of counting them in bins.
        batch_size: Images of one forward.
        scales: Scales of the image whose probabilities are summed.
        flip: Also sum those of the flipped image.
        resize: Width and height that every image is squeezed to before its forward (released DST-CBC: the
            crop); labels have the image's own size all the same.
        confidence: Write confidences.

    Raises:
        ConfigError: A value is out of its range.
    """

    ratio: float = 1.0
    assign: str = "argmax"
    per_class: bool = True
    sampling: str = "random"
    stride: int = 16
    seed: int = 0
    exact: bool = False
    batch_size: int = 8
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    resize: tuple[int, int] | None = None
    confidence: bool = True

    @classmethod
    def read(cls, config: Config, given: Mapping[str, Any] | None = None) -> LabelSettings:
        """Settings of a config, changed by what is given.

        Raises:
            ConfigError: One is unknown or wrong.
        """
        section = (config.get("self_training") or {}).get("labels") or {}
        defaults = {field.name: field.default for field in fields(cls)}
        values = check_keys(dict(section), defaults, "self_training.labels")
        return cls(**{**values, **(given or {})})

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if self.assign not in (*RULES, "all"):
            raise ConfigError(f"assign={self.assign!r} is none of {', '.join((*RULES, 'all'))}")
        if not 0 < self.ratio <= 1:
            raise ConfigError(f"ratio={self.ratio} must be in (0, 1]")
        if self.assign == "all" and self.ratio != 1:
            raise ConfigError(
                f"assign='all' admits every pixel, ratio={self.ratio} would not be used"
            )
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size} must be at least 1")
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"scales={self.scales} must be numbers above 0")
        if self.resize is not None:
            size = tuple(self.resize)
            if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
                raise ConfigError(f"resize={self.resize} must be a width and a height in pixels")
            object.__setattr__(self, "resize", size)
        self.sampler()

    def sampler(self) -> PixelSampler:
        """Chooses the pixels of the first pass."""
        return PixelSampler(self.sampling, self.stride, self.seed)

    def collector(self, num_classes: int) -> Confidences:
        """Takes them."""
        kind = SortedConfidences if self.exact else Histograms
        return kind(num_classes, self.per_class)
