# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From a raw batch to named branches, on the device, in one pass.

Decisions:

- Samples are routed by the name of their source (metainfo ``source``), never by whether they carry
  a mask.
- Images are stacked as uint8 and sent and normalised once for the whole batch.
- Strong views and CutMix are made here, batched, instead of once per view in the workers.
- Everything random on the device comes from a generator seeded with the batch's own draw seed, so
  there is no state to checkpoint, and ranks differ because their draws do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..utils import derive_seed
from .augment import MixRecipe

Samples = list[SegDataSample]
_DEVICE_STREAM = 2  # 0 and 1 are the sampler's


def merge_preprocessors(inner: dict | None, outer: dict | None) -> dict | None:
    """The preprocessor config of a model around a segmentor that may have one of its own.

    Args:
        inner: Config inside the segmentor; ``size``, ``mean`` and so on are taken over.
        outer: Config of the model. With a ``type`` it stands alone, without one it adds to
            ``inner`` and replaces keys of it. ``None`` is the same as an empty one.
    """
    if outer is not None and "type" in outer:
        return dict(outer)
    if inner is None and outer is None:
        return None
    return {**(inner or {}), **(outer or {}), "type": "SemiSegDataPreProcessor"}


@MODELS.register_module()
class SemiSegDataPreProcessor(SegDataPreProcessor):
    """Turns a batch of named sources into the branches of a semi-supervised step.

    In training it returns ``dict(inputs=..., data_samples=...)``, both keyed by branch:

    - ``sup``: labelled images (N_l, 3, H, W), normalised float; ``data_samples['sup'][i].gt_sem_seg``
      is (1, H, W) int64, padded with ``seg_pad_val``;
    - ``unsup_teacher``: the weak view of all unlabelled images (N_u, 3, H, W) in loader order;
    - ``unsup_student``: their strong and/or mixed views, first all of the first view, then all of
      the second; the weak view itself without ``strong`` and ``mix``;
    - ``mix``: the :class:`~mmsemi.models.augment.MixRecipe` that gives all of ``unsup_student`` its
      labels from those of ``unsup_teacher``, or ``None``;
    - ``valid``: (N_u, H, W) bool, False on the padding of unlabelled images;
    - any other source under its own name, with masks if it carries them.

    Outside training it is the stock ``SegDataPreProcessor``.

    Args:
        size: Height and width of the training batch; smaller images are padded at the bottom and
            right. ``None``: the largest of the batch.
        strong: Config of a photometric operation for the unlabelled student view, e.g.
            ``dict(type='StrongPhotometric')``.
        mix: Config of a mixing operation, e.g. ``dict(type='CutMix')``.
        num_student_views: How many student views of each unlabelled image: ``strong`` and the boxes
            of ``mix`` are drawn anew for each, the partner of ``mix`` is the same.
        kwargs: Those of ``SegDataPreProcessor`` (mean, std, bgr_to_rgb, pad_val, seg_pad_val,
            test_cfg, ...).

    Raises:
        ValueError: An image is larger than ``size``, a labelled sample has no mask, or the batch is
            too small to mix, or there are several student views but nothing to tell them apart.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        strong: dict | None = None,
        mix: dict | None = None,
        num_student_views: int = 1,
        **kwargs,
    ) -> None:
        size = tuple(size) if size is not None else None
        super().__init__(size=size, **kwargs)
        # The OneDL fork keeps this flag under another name.
        self.channel_conversion = bool(kwargs.get("bgr_to_rgb") or kwargs.get("rgb_to_bgr"))
        self.strong = MODELS.build(strong) if strong else None
        self.mix = MODELS.build(mix) if mix else None
        if num_student_views < 1 or (num_student_views > 1 and not (strong or mix)):
            raise ValueError(
                f"data_preprocessor.num_student_views={num_student_views}: must be at least 1, and "
                "several views need strong or mix, without which they would be equal"
            )
        self.num_student_views = num_student_views

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make the branches of a training batch, or the stock input of a test batch."""
        if not training:
            return super().forward(data, training=False)
        images, samples = data["inputs"], data["data_samples"]
        names = [sample.metainfo.get("source", "labeled") for sample in samples]
        order = list(dict.fromkeys(names))
        positions = {name: [i for i, own in enumerate(names) if own == name] for name in order}

        height, width = self._batch_size_hw(images, samples)
        x_u8 = self._stack(images, height, width)
        valid_NHW = self._valid(images, samples, height, width)
        labels_NHW = self._stack_masks(samples, height, width)

        inputs: dict = {}
        branch_samples: dict[str, Samples] = {}
        for name in order:
            chosen = positions[name]
            # Sources are contiguous in a batch of MultiSourceSampler: a slice is a view, not a copy.
            if chosen == list(range(chosen[0], chosen[-1] + 1)):
                chosen = slice(chosen[0], chosen[-1] + 1)
            pixels, valid = x_u8[chosen], valid_NHW[chosen]
            own_samples = [samples[i] for i in positions[name]]
            if name == "unlabeled":
                self._add_unlabeled(inputs, pixels, valid, own_samples)
                branch_samples["unsup_teacher"] = own_samples
            else:
                branch = "sup" if name == "labeled" else name
                inputs[branch] = self._normalize(pixels, valid)
                branch_samples[branch] = own_samples
            for sample, i in zip(own_samples, positions[name]):
                if "gt_sem_seg" in sample:
                    sample.gt_sem_seg = PixelData(data=labels_NHW[i][None])
                elif name == "labeled":
                    raise ValueError(
                        f"labelled image '{sample.metainfo.get('img_path')}' came without a mask: "
                        "add LoadAnnotations to the pipeline of the labelled source"
                    )
        return dict(inputs=inputs, data_samples=branch_samples)

    def _add_unlabeled(self, inputs: dict, pixels: Tensor, valid: Tensor, samples: Samples) -> None:
        weak = self._normalize(pixels, valid)
        views, recipe = [weak] * self.num_student_views, None
        generator = self._generator(samples)
        if self.strong is not None:
            rgb = self._rgb(pixels).float() / 255
            views = [
                self._normalize(self.strong(rgb, generator) * 255, valid, is_rgb=True)
                for _ in views
            ]
        if self.mix is not None:
            paths = [sample.metainfo.get("img_path", str(i)) for i, sample in enumerate(samples)]
            first, second = self.mix.pair(paths, generator)
            size_hw = tuple(weak.shape[-2:])
            masks = [self.mix.draw_masks(len(first), size_hw, generator) for _ in views]
            recipes = [MixRecipe(mask, first, second).to(weak.device) for mask in masks]
            views = [recipe.apply(view) for recipe, view in zip(recipes, views)]
            recipe = MixRecipe.concatenate(recipes)
        student = views[0] if len(views) == 1 else torch.cat(views)
        inputs.update(unsup_teacher=weak, unsup_student=student, mix=recipe, valid=valid)

    @staticmethod
    def _generator(samples: Samples) -> torch.Generator | None:
        """Randomness of the batch as a function of its first unlabelled draw (None: torch's own)."""
        seed = samples[0].metainfo.get("draw_seed")
        if seed is None:
            return None
        # Not the seed itself: the worker drew that image's crop and flip from it.
        return torch.Generator().manual_seed(derive_seed(seed, _DEVICE_STREAM))

    def _batch_size_hw(self, images: Sequence[Tensor], samples: Samples) -> tuple[int, int]:
        height = max(image.shape[-2] for image in images)
        width = max(image.shape[-1] for image in images)
        if self.size is not None:
            for image, sample in zip(images, samples):
                if image.shape[-2] > self.size[0] or image.shape[-1] > self.size[1]:
                    raise ValueError(
                        f"{sample.metainfo.get('source', 'labeled')} image "
                        f"'{sample.metainfo.get('img_path')}' is "
                        f"{image.shape[-2]}x{image.shape[-1]} after its pipeline, larger than "
                        f"data_preprocessor.size={self.size}: end the pipeline with "
                        f"RandomCrop(crop_size={self.size})"
                    )
            height, width = self.size
        elif self.size_divisor:
            height, width = (
                -(-n // self.size_divisor) * self.size_divisor for n in (height, width)
            )
        return height, width

    def _stack(self, images: Sequence[Tensor], height: int, width: int) -> Tensor:
        """(N, C, H, W) uint8 on the device, sent in one transfer."""
        batch = images[0].new_zeros((len(images), images[0].shape[0], height, width))
        for row, image in zip(batch, images):
            row[:, : image.shape[-2], : image.shape[-1]] = image
        return batch.to(self.device, non_blocking=True)

    def _stack_masks(self, samples: Samples, height: int, width: int) -> Tensor:
        """(N, H, W) int64 labels; rows of samples without a mask are all ``seg_pad_val``."""
        batch = torch.full((len(samples), height, width), self.seg_pad_val, dtype=torch.uint8)
        for row, sample in zip(batch, samples):
            if "gt_sem_seg" in sample:
                mask = sample.gt_sem_seg.data[0]
                row[: mask.shape[-2], : mask.shape[-1]] = mask
        return batch.to(self.device, non_blocking=True).long()

    def _valid(self, images: Sequence[Tensor], samples: Samples, height: int, width: int) -> Tensor:
        """(N, H, W) bool, False on padding; also notes padding in the metainfo, as mmseg does."""
        shapes = [tuple(image.shape[-2:]) for image in images]
        for sample, (h, w) in zip(samples, shapes):
            sample.set_metainfo(
                dict(
                    img_shape=(h, w),
                    pad_shape=(height, width),
                    padding_size=[0, width - w, 0, height - h],
                )
            )
        valid = torch.zeros((len(images), height, width), dtype=torch.bool)
        for row, (h, w) in zip(valid, shapes):
            row[:h, :w] = True
        return valid.to(self.device, non_blocking=True)

    def _rgb(self, x: Tensor) -> Tensor:
        return x.flip(1) if self.channel_conversion and x.shape[1] == 3 else x

    def _normalize(self, x: Tensor, valid_NHW: Tensor, is_rgb: bool = False) -> Tensor:
        """Channel order, mean and std for the whole batch; padding is ``pad_val`` afterwards."""
        x = (x if is_rgb else self._rgb(x)).float()
        if self._enable_normalize:
            x = (x - self.mean) / self.std
        return torch.where(valid_NHW[:, None], x, float(self.pad_val))
