# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Sampling from several named sources (labelled, unlabelled, ...).

Decisions:

- The sampler is *stateless*. Which image draw number ``d`` of a source shows, and with which random
  seed it is augmented, are pure functions of (seed, source, d). A resumed run therefore only needs
  a position, and neither worker count, prefetching nor history changes a sample.
- Sources shuffle independently of each other: two sources of equal size do not walk in step
  (mmdetection's sampler seeds them alike, so that two images always meet again).
- Counts per source are explicit numbers, never rounded ratios.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from ..errors import ConfigError
from ..utils import close_matches, derive_seed


class Draw(NamedTuple):
    """What the sampler asks the dataset for.

    Attributes:
        index: Global index of the sample in the :class:`SemiDataset`.
        seed: Seed of everything random that happens to this sample (63 bit).
    """

    index: int
    seed: int


# Sub-streams of one source, so that shuffling and augmentation never share a seed.
_SHUFFLE, _AUGMENT = 0, 1


@DATA_SAMPLERS.register_module()
class MultiSourceSampler(Sampler):
    """Infinite sampler that gives every batch a fixed number of samples from each source.

    Each batch holds, in the order of the dataset's sources, ``num_per_source[name]`` samples of each
    one. With W processes, iteration t consumes the same draws as a single process with W times the
    counts would: rank r takes the r-th share of each source.

    Args:
        dataset (SemiDataset): The dataset; its ``source_ranges`` name the sources.
        num_per_source: Samples per source, batch and process, e.g.
            ``dict(labeled=8, unlabeled=8)``. Their sum must be the loader's ``batch_size``. A source
            that is not named, or has 0, is not used.
        copies: How often each image of a source occurs in a batch, e.g. ``dict(unlabeled=2)``: the
            source's share is then [a, b, ..., a, b, ...], each time augmented anew. This is the
            pairing that the released CPS+CutMix code produced (docs/methods/cps.md).
        seed: Shared by all processes; ``None`` draws one and broadcasts it.
        shuffle: Whether to shuffle each source anew in each of its epochs.
        epoch_length: Batches after which an iteration over the sampler ends. ``None`` never ends;
            set it only for epoch-based loops.

    Raises:
        ConfigError: The data set has no sources, one is unknown or empty, a count is negative, or
            all counts are 0.
    """

    def __init__(
        self,
        dataset,
        num_per_source: dict[str, int],
        copies: dict[str, int] | None = None,
        seed: int | None = None,
        shuffle: bool = True,
        epoch_length: int | None = None,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        ranges = getattr(dataset, "source_ranges", None)
        if ranges is None:
            raise ConfigError(
                f"MultiSourceSampler needs a SemiDataset, got {type(dataset).__name__}: wrap the "
                "training dataset as dict(type='SemiDataset', labeled=..., unlabeled=...)"
            )
        copies = dict(copies or {})
        for key, given in (("num_per_source", num_per_source), ("copies", copies)):
            for name, count in given.items():
                if name not in ranges and count:
                    raise ConfigError(
                        f"sampler.{key} names the source '{name}', the dataset has "
                        f"{list(ranges)}{close_matches(name, ranges)}"
                    )
        self.num_per_source: dict[str, int] = {}
        self.copies = {name: int(copies.get(name, 1)) for name in ranges}
        for name, span in ranges.items():
            count = int(num_per_source.get(name, 0))
            if count < 0 or self.copies[name] < 1 or count % self.copies[name]:
                raise ConfigError(
                    f"sampler.num_per_source.{name}={count} must be a non-negative multiple of "
                    f"sampler.copies.{name}={self.copies[name]}"
                )
            if count and not len(span):
                raise ConfigError(
                    f"the source '{name}' is empty but sampler.num_per_source.{name}={count}: "
                    f"give it images, or set the count to 0 and lower batch_size by {count}"
                )
            if count:
                self.num_per_source[name] = count
        if not self.num_per_source:
            raise ConfigError(
                "sampler.num_per_source draws nothing: set at least one count above 0"
            )
        self._ranges = ranges
        self._num_samples = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else int(seed)
        self.epoch_length = epoch_length
        self._start = 0
        self._permutations: dict[str, tuple[int, np.ndarray]] = {}

    @property
    def batch_size(self) -> int:
        """Samples per batch and process; the loader's ``batch_size`` must equal it."""
        return sum(self.num_per_source.values())

    def draw(self, source: str, draw_number: int, image_number: int | None = None) -> Draw:
        """The ``draw_number``-th draw of a source, counted over all processes.

        ``image_number`` (default: the same number) chooses the image; with ``copies`` several draws
        share one image.
        """
        image_number = draw_number if image_number is None else image_number
        key = zlib.crc32(source.encode())
        span = self._ranges[source]
        epoch, position = divmod(image_number, len(span))
        if self.shuffle:
            cached = self._permutations.get(source)
            if cached is None or cached[0] != (self.seed, epoch):
                generator = torch.Generator()
                generator.manual_seed(derive_seed(self.seed, key, _SHUFFLE, epoch))
                order = torch.randperm(len(span), generator=generator).numpy()
                self._permutations[source] = cached = ((self.seed, epoch), order)
            position = int(cached[1][position])
        return Draw(span[position], derive_seed(self.seed, key, _AUGMENT, draw_number))

    def batch(self, iteration: int) -> list[Draw]:
        """All draws of this process in batch number ``iteration``."""
        draws = []
        for source, count in self.num_per_source.items():
            distinct = count // self.copies[source]
            first_draw = (iteration * self.world_size + self.rank) * count
            first_image = (iteration * self.world_size + self.rank) * distinct
            draws += [
                self.draw(source, first_draw + slot, first_image + slot % distinct)
                for slot in range(count)
            ]
        return draws

    def __iter__(self) -> Iterator[Draw]:
        iteration, end = self._start, None
        if self.epoch_length is not None:
            end = self._start = self._start + self.epoch_length
        while end is None or iteration < end:
            yield from self.batch(iteration)
            iteration += 1

    def __len__(self) -> int:
        if self.epoch_length is not None:
            return self.epoch_length * self.batch_size
        return self._num_samples

    def skip(self, num_samples: int) -> None:
        """Start the next iteration after the first ``num_samples`` samples of this process.

        Absolute, and instant at any position: nothing is drawn or read.
        """
        if num_samples % self.batch_size:
            raise ConfigError(
                f"cannot skip {num_samples} samples: not a multiple of the batch size "
                f"{self.batch_size}; resume with the counts of the first run"
            )
        self._start = num_samples // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Position an epoch-based run; infinite runs have no epochs and ignore it."""
        if self.epoch_length is not None:
            self._start = epoch * self.epoch_length

    def state_dict(self) -> dict:
        """What a resumed run needs besides its iteration number."""
        return dict(seed=self.seed, num_per_source=dict(self.num_per_source))

    def load_state_dict(self, state: dict) -> None:
        """Take over the seed of the interrupted run; other counts stay those of the config."""
        counts = state.get("num_per_source", self.num_per_source)
        if counts != self.num_per_source:
            print_log(
                f"sampler.num_per_source={self.num_per_source}, the checkpoint was written with "
                f"{counts}: the run goes on with the counts of the config, at another place of the "
                "sources' order",
                "current",
                logging.WARNING,
            )
        self.seed = int(state["seed"])
