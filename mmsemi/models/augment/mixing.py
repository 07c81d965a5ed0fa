# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix with box masks: pairing of the unlabelled images, masks, and the recipe that applies both.

Shape suffixes: N images, B mixed images, K boxes, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import BoolTensor, Generator, LongTensor, Tensor


def boxes_from_uniforms(
    area_NK: Tensor, aspect_NK: Tensor, position_NK2: Tensor, size_hw: tuple[int, int]
) -> LongTensor:
    """Turn random numbers into boxes that lie inside the image.

    A box of area fraction p has height fraction p^u and width fraction p^(1-u), both scaled by
    sqrt(1/K) so that K boxes together have about the area of one (French et al., *Semi-supervised
    semantic segmentation needs strong, varied perturbations*, BMVC 2020, arXiv 1906.01916). Sizes
    and positions are rounded half to even.

    Args:
        area_NK: p, area fractions in (0, 1], float64.
        aspect_NK: u in [0, 1): 0 gives full-height boxes, 1 full-width ones, before scaling.
        position_NK2: (y, x) position in [0, 1) within the room that the box leaves.
        size_hw: Height and width of the image.

    Returns:
        (N, K, 4) int64 corners (y0, x0, y1, x1); rows y0..y1-1 and columns x0..x1-1 are inside.
    """
    num_boxes = area_NK.shape[1]
    image_size = torch.tensor(size_hw, dtype=area_NK.dtype)
    fractions = torch.stack([area_NK**aspect_NK, area_NK ** (1 - aspect_NK)], dim=-1)
    box_size = (fractions * (1 / num_boxes) ** 0.5 * image_size).round()
    top_left = ((image_size - box_size) * position_NK2).round()
    return torch.cat([top_left, top_left + box_size], dim=-1).long()


def masks_from_boxes(boxes_NK4: LongTensor, size_hw: tuple[int, int]) -> BoolTensor:
    """Rasterise boxes; each one toggles its area, so that overlaps of two cancel.

    Args:
        boxes_NK4: Corners (y0, x0, y1, x1) on the CPU, see :func:`boxes_from_uniforms`.
        size_hw: Height and width of the masks.

    Returns:
        (N, 1, H, W) bool on the CPU.
    """
    # Slices of a numpy array touch the boxes' pixels only: ten times faster than comparing every
    # pixel's coordinates, and numpy's slices cost less than torch's.
    mask_NHW = np.zeros((len(boxes_NK4), *size_hw), dtype=bool)
    for mask_HW, boxes in zip(mask_NHW, boxes_NK4.tolist()):
        for y0, x0, y1, x1 in boxes:
            mask_HW[y0:y1, x0:x1] ^= True
    return torch.from_numpy(mask_NHW).unsqueeze(1)


def box_masks(
    num_masks: int,
    size_hw: tuple[int, int],
    *,
    num_boxes: int = 3,
    area_range: tuple[float, float] = (0.25, 0.5),
    generator: Generator | None = None,
) -> BoolTensor:
    """Draw CutMix masks of several boxes each (French et al., BMVC 2020).

    With the defaults the boxes cover 25 % of the image on average (9 to 46 %).

    Args:
        num_masks: Number of masks, N.
        size_hw: Height and width of the masks.
        num_boxes: Boxes per mask, K; 1 gives CutMix proper.
        area_range: Range of the area fraction p, uniform; see :func:`boxes_from_uniforms`.
        generator: CPU generator; drawn in the order all p, all u, all positions.

    Returns:
        (N, 1, H, W) bool on the CPU, True inside an odd number of boxes.
    """
    uniforms = torch.rand(num_masks * num_boxes * 4, dtype=torch.float64, generator=generator)
    area, aspect, position = uniforms.split([num_masks * num_boxes * n for n in (1, 1, 2)])
    low, high = area_range
    boxes_NK4 = boxes_from_uniforms(
        low + (high - low) * area.view(num_masks, num_boxes),
        aspect.view(num_masks, num_boxes),
        position.view(num_masks, num_boxes, 2),
        size_hw,
    )
    return masks_from_boxes(boxes_NK4, size_hw)


@dataclass
class MixRecipe:
    """Which pixels of which images make the mixed images; applies to images, labels, logits alike.

    Attributes:
        mask_B1HW: (B, 1, H, W) bool; True takes the pixel of ``second``, False that of ``first``.
        first: (B,) int64 indices into the unlabelled batch.
        second: (B,) int64 indices into the unlabelled batch.
    """

    mask_B1HW: BoolTensor
    first: LongTensor
    second: LongTensor

    def to(self, device: torch.device | str) -> MixRecipe:
        """Return the recipe on ``device``."""
        return MixRecipe(
            *(
                tensor.to(device, non_blocking=True)
                for tensor in (self.mask_B1HW, self.first, self.second)
            )
        )

    @classmethod
    def concatenate(cls, recipes: Sequence[MixRecipe]) -> MixRecipe:
        """One recipe for the mixed images of several, in their order."""
        if len(recipes) == 1:
            return recipes[0]
        parts = zip(*((r.mask_B1HW, r.first, r.second) for r in recipes))
        return cls(*(torch.cat(part) for part in parts))

    def apply(self, x: Tensor, partner: Tensor | None = None) -> Tensor:
        """Mix a batch.

        Args:
            x: (N, C, H, W) or (N, H, W) of any dtype, on the recipe's device.
            partner: What the pixels of ``second`` are taken from, like ``x``; default ``x``.

        Returns:
            (B, C, H, W) or (B, H, W).
        """
        mask = self.mask_B1HW if x.ndim == 4 else self.mask_B1HW.squeeze(1)
        partner = x if partner is None else partner
        second = partner.index_select(0, self.second)
        return torch.where(mask, second, x.index_select(0, self.first))


class PairedMix:
    """Pairs the unlabelled images of a batch; subclasses draw the masks that mix each pair.

    ``mix(paths, size_hw, generator)`` draws a whole recipe. Several views that share their partners
    but not their masks call :meth:`pair` once and :meth:`draw_masks` for each view.

    Args:
        pairing: 'halves': the batch is two streams [u0 | u1] of B images, u0[i] is mixed with an
            image of u1 (CPS, Chen et al., CVPR 2021). 'permute': each of the N images is mixed with
            another one of the batch. 'reverse': image i is mixed with image N - 1 - i (UniMatch V2,
            Yang et al., TPAMI 2025); the middle one of an odd number stays as it is, and with it
            the only image of a batch of one.
        same_image: Mix two draws of one image with each other, as the released CPS code does by
            its loaders' common seed. Only with 'halves'; the sampler must deliver each image twice.

    Raises:
        ValueError: An argument is out of its range.
    """

    # How few images a process may hold.
    _fewest = dict(halves=2, permute=2, reverse=1)

    def __init__(self, pairing: str = "halves", same_image: bool = False) -> None:
        name = type(self).__name__
        if pairing not in self._fewest:
            allowed = ", ".join(map(repr, self._fewest))
            raise ValueError(f"{name}: pairing={pairing!r} is not one of {allowed}")
        if same_image and pairing != "halves":
            raise ValueError(f"{name}: same_image=True needs pairing='halves'")
        self.pairing = pairing
        self.same_image = same_image

    def __call__(
        self, paths: Sequence[str], size_hw: tuple[int, int], generator: Generator | None = None
    ) -> MixRecipe:
        """Draw the recipe of one batch: the pairs, then a mask for each.

        Args:
            paths: Image file of every unlabelled image of this process, in batch order.
            size_hw: Height and width of the batch.
            generator: CPU generator.

        Returns:
            The recipe, on the CPU: N/2 mixed images with 'halves', else N.

        Raises:
            ValueError: See :meth:`pair`.
        """
        first, second = self.pair(paths, generator)
        return MixRecipe(self.draw_masks(len(first), size_hw, generator), first, second)

    def draw_masks(
        self, num: int, size_hw: tuple[int, int], generator: Generator | None = None
    ) -> BoolTensor:
        """Draw ``num`` masks, (num, 1, H, W) bool on the CPU; True takes the partner's pixel."""
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
            Indices of the images that keep their place and of their partners, (B,) int64 each on
            the CPU: B = N/2 with 'halves', else N.

        Raises:
            ValueError: Too few or an odd number of images, or ``same_image`` without equal pairs.
        """
        num_images = len(paths)
        if num_images < self._fewest[self.pairing] or (self.pairing == "halves" and num_images % 2):
            need = dict(
                halves="an even number, two different ones per mix",
                permute="at least 2, two different ones per mix",
                reverse="at least 1",
            )[self.pairing]
            raise ValueError(
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
                raise ValueError(
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


@MODELS.register_module()
class CutMix(PairedMix):
    """Pair the unlabelled images of a batch and draw the box masks that mix each pair.

    Args:
        pairing: See :class:`PairedMix`.
        same_image: See :class:`PairedMix`.
        num_boxes: Boxes per mask.
        area_range: Range of the boxes' area fraction, see :func:`box_masks`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        pairing: str = "halves",
        same_image: bool = False,
        num_boxes: int = 3,
        area_range: tuple[float, float] = (0.25, 0.5),
    ) -> None:
        super().__init__(pairing, same_image)
        if num_boxes < 1:
            raise ValueError(f"CutMix: num_boxes={num_boxes} must be at least 1")
        if len(area_range) != 2 or not 0 < area_range[0] <= area_range[1] <= 1:
            raise ValueError(
                f"CutMix: area_range={area_range} must be (low, high), 0 < low <= high <= 1"
            )
        self.num_boxes = num_boxes
        self.area_range = tuple(area_range)

    def draw_masks(
        self, num: int, size_hw: tuple[int, int], generator: Generator | None = None
    ) -> BoolTensor:
        """Draw ``num`` masks of ``num_boxes`` boxes, see :func:`box_masks`."""
        return box_masks(
            num,
            size_hw,
            num_boxes=self.num_boxes,
            area_range=self.area_range,
            generator=generator,
        )
