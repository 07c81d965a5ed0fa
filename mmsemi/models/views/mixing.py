# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Mixing images: which are paired, and the recipe that mixes them and all that belongs to them.

Shape suffixes: N images, B mixed images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import BoolTensor, Generator, LongTensor, Tensor

from ...errors import ConfigError
from ...structures import Images, PseudoLabels, SemiBatch


class Paste(NamedTuple):
    """One layer of a :class:`MixRecipe`.

    Attributes:
        mask_B1HW: True where the layer's pixels are taken.
        index_B: The image that they come from: unlabelled images first, then labelled ones.
    """

    mask_B1HW: BoolTensor
    index_B: LongTensor


@dataclass
class MixRecipe:
    """Which pixels of which images make the mixed images; applies to images, labels, logits alike.

    Attributes:
        first: (B,) int64, the unlabelled image that each mixed image starts from.
        pastes: What is pasted on it, one layer above the other.
        uses_labeled: Whether a paste takes labelled images.
    """

    first: LongTensor
    pastes: list[Paste] = field(default_factory=list)
    uses_labeled: bool = False

    @classmethod
    def unmixed(cls, images: Images) -> MixRecipe:
        """The recipe that leaves every image as it is."""
        return cls(torch.arange(len(images), device=images.pixels_NCHW.device))

    @classmethod
    def concatenate(cls, recipes: Sequence[MixRecipe]) -> MixRecipe:
        """One recipe for the mixed images of several, in their order."""
        if len(recipes) == 1:
            return recipes[0]
        layers = zip(*(recipe.pastes for recipe in recipes))
        pastes = [Paste(*(torch.cat(part) for part in zip(*layer))) for layer in layers]
        first = torch.cat([recipe.first for recipe in recipes])
        return cls(first, pastes, recipes[0].uses_labeled)

    def to(self, device: torch.device | str) -> MixRecipe:
        """Return the recipe on ``device``."""
        move = partial(Tensor.to, device=device, non_blocking=True)
        pastes = [Paste(*map(move, paste)) for paste in self.pastes]
        return MixRecipe(move(self.first), pastes, self.uses_labeled)

    def apply(
        self, x: Tensor, pasted: Tensor | None = None, labeled: Tensor | None = None
    ) -> Tensor:
        """Mix a batch.

        Args:
            x: (N, C, H, W) or (N, H, W) of any dtype, on the recipe's device: the unlabelled images,
                or something about them.
            pasted: What pasted pixels of unlabelled images are taken from, like ``x``; default ``x``.
            labeled: The same of the labelled images, for a recipe that uses them.

        Returns:
            (B, C, H, W) or (B, H, W).
        """
        source = x if pasted is None else pasted
        if self.uses_labeled:
            source = torch.cat([source, labeled.to(source.dtype)])
        mixed = x.index_select(0, self.first)
        for mask_B1HW, index_B in self.pastes:
            mask = mask_B1HW if x.ndim == 4 else mask_B1HW.squeeze(1)
            mixed = torch.where(mask, source.index_select(0, index_B), mixed)
        return mixed

    def apply_labels(
        self,
        pseudo: PseudoLabels,
        batch: SemiBatch,
        pasted: PseudoLabels | None = None,
        ignore_index: int = 255,
        ignore_padding: bool = True,
    ) -> PseudoLabels:
        """Labels and confidences of the mixed images; true labels have confidence 1.

        Args:
            pseudo: Of all unlabelled images.
            batch: Its images say what is padding.
            pasted: Pseudo-labels of pasted pixels, where they are others.
            ignore_index: Label of pixels that do not count.
            ignore_padding: Padding gets it; if not, only that of labelled images has it.
        """
        pasted = pasted or pseudo
        true, true_valid, sure = batch.labeled.labels_NHW, batch.labeled.valid_NHW, None
        if self.uses_labeled:
            sure = torch.ones_like(true, dtype=pseudo.confidence_NHW.dtype)
        confidence = self.apply(pseudo.confidence_NHW, pasted.confidence_NHW, sure)
        label = self.apply(pseudo.label_NHW, pasted.label_NHW, true)
        if ignore_padding:
            valid = self.apply(batch.unlabeled.valid_NHW, labeled=true_valid)
            label = torch.where(valid, label, ignore_index)
        return PseudoLabels(label, confidence)


class PairedMix:
    """Pairs the unlabelled images of a batch and pastes one on the other; subclasses draw the masks.

    Args:
        pairing: 'halves': the batch is two streams [u0 | u1] of B images, an image of u1 is pasted
            on each u0[i] (CPS, Chen et al., CVPR 2021). 'permute': another one of the batch is
            pasted on each of the N images. 'reverse': image N - 1 - i is pasted on image i (UniMatch
            V2, Yang et al., TPAMI 2025); the middle one of an odd number stays as it is, and with it
            the only image of a batch of one.
        same_image: Mix two draws of one image with each other, as the released CPS code does by
            its loaders' common seed. Only with 'halves'; the sampler must deliver each image twice.

    Raises:
        ConfigError: An argument is out of its range.
    """

    #: Whether masks follow pseudo-labels, and whether they need their ``certainty_N``.
    uses_labels = False
    uses_certainty = False
    #: Whether it pastes labelled images, with their labels.
    pastes_labels = False
    # How few images a process may hold.
    _fewest = dict(halves=2, permute=2, reverse=1)

    def __init__(self, pairing: str = "halves", same_image: bool = False) -> None:
        name = type(self).__name__
        if pairing not in self._fewest:
            allowed = ", ".join(map(repr, self._fewest))
            raise ConfigError(f"{name}: pairing={pairing!r} is not one of {allowed}")
        if same_image and pairing != "halves":
            raise ConfigError(f"{name}: same_image=True needs pairing='halves'")
        self.pairing = pairing
        self.same_image = same_image

    def num_mixed(self, num_images: int) -> int:
        """How many mixed images come of a batch; its first images are those that they start from."""
        return num_images // 2 if self.pairing == "halves" else num_images

    def draw(
        self,
        batch: SemiBatch,
        num_views: int = 1,
        pseudo: PseudoLabels | None = None,
        num_classes: int = 0,
    ) -> list[MixRecipe]:
        """Draw the pairs, and masks for each view.

        Args:
            batch: The batch; its generator is drawn from.
            num_views: Views of the unlabelled images: they share the pairs, not the masks.
            pseudo: Pseudo-labels of all unlabelled images, for a mix with ``uses_labels``.
            num_classes: C, for the same.

        Returns:
            A recipe for each view, on the batch's device.

        Raises:
            ConfigError: See :meth:`pair`.
        """
        images = batch.unlabeled
        device = images.pixels_NCHW.device
        first, second = self.pair(images.paths, batch.generator)
        recipes = []
        for _ in range(num_views):
            mask = self.draw_masks(second, batch, pseudo, num_classes)
            recipes.append(MixRecipe(first, [Paste(mask, second)]).to(device))
        return recipes

    def draw_masks(
        self,
        second: LongTensor,
        batch: SemiBatch,
        pseudo: PseudoLabels | None = None,
        num_classes: int = 0,
    ) -> BoolTensor:
        """Draw a mask (B, 1, H, W) for each pair; True takes the pixel of the image ``second``."""
        raise NotImplementedError

    def pair(
        self, paths: Sequence[str], generator: Generator | None = None
    ) -> tuple[LongTensor, LongTensor]:
        """Say which images are mixed with which.

        Two draws of one image are not paired as long as the batch leaves a choice (in a tiny data
        set it may not); 'reverse' has no choice.

        Args:
            paths: Image file of every unlabelled image of this process, in batch order.
            generator: CPU generator; only 'permute' draws from it, N numbers.

        Returns:
            Indices of the images that mixed ones start from, and of those that are pasted on them,
            (B,) int64 each on the CPU: B = N/2 with 'halves', else N.

        Raises:
            ConfigError: Too few or an odd number of images, or ``same_image`` without equal pairs.
        """
        num_images = len(paths)
        if num_images < self._fewest[self.pairing] or (self.pairing == "halves" and num_images % 2):
            need = dict(
                halves="an even number, two different ones per mix",
                permute="at least 2, two different ones per mix",
                reverse="at least 1",
            )[self.pairing]
            raise ConfigError(
                f"{type(self).__name__} got {num_images} unlabelled image(s) in the batch of one "
                f"process and needs {need}: change sampler.num_per_source.unlabeled"
            )
        if self.pairing == "reverse":
            in_order = torch.arange(num_images)
            return in_order, in_order.flip(0)
        pair = self._pair_halves if self.pairing == "halves" else self._pair_permuted
        return pair(paths, generator)

    def _pair_halves(
        self, paths: Sequence[str], generator: Generator | None
    ) -> tuple[LongTensor, LongTensor]:
        half = len(paths) // 2
        first = list(range(half))
        if not self.same_image:
            # The sampler has shuffled already: the unrotated second half is as random as any.
            return _best_pairing(paths, first, list(range(half, 2 * half)), range(half))
        for i in first:
            if paths[i] != paths[half + i]:
                raise ConfigError(
                    f"{type(self).__name__}(same_image=True) got two images, {paths[i]} and {paths[half + i]}, as "
                    "a pair: set copies=dict(unlabeled=2) in the sampler"
                )
        return torch.arange(half), torch.arange(half) + half

    def _pair_permuted(
        self, paths: Sequence[str], generator: Generator | None
    ) -> tuple[LongTensor, LongTensor]:
        order = torch.randperm(len(paths), generator=generator).tolist()
        # A rotation of at least 1 of one random order never pairs an image with itself.
        first, second = _best_pairing(paths, order, order, range(1, len(paths)))
        by_first = first.argsort()
        return first[by_first], second[by_first]


def _best_pairing(
    paths: Sequence[str], first: list[int], second: list[int], rotations: Sequence[int]
) -> tuple[LongTensor, LongTensor]:
    """Rotate ``second`` by the first rotation that pairs the fewest equal paths."""

    def rotated(rotation: int) -> list[int]:
        return second[rotation:] + second[:rotation]

    def num_equal(rotation: int) -> int:
        return sum(paths[i] == paths[j] for i, j in zip(first, rotated(rotation)))

    # min() returns the first of equals, and is cheap next to everything else: no early exit.
    return torch.tensor(first), torch.tensor(rotated(min(rotations, key=num_equal)))
