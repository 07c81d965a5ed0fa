# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From a collated batch to a :class:`~mmsemi.structures.SemiBatch` on the device, in one pass.

Decisions:

- Samples are routed by the name of their source (metainfo ``source``), never by whether they carry
  a mask.
- Images are stacked as the loader delivers them, sent once and normalised once for the whole batch;
  8-bit ones as uint8, a batch with any other as float32, which holds 16-bit values exactly.
- What else a sample carries as ``PixelData`` (edges, depths, own maps) is padded with
  ``seg_pad_val`` and sent, as by the stock class.
- Strong views and mixes belong to the method and are drawn in its step. Everything random there
  comes from a generator seeded with the batch's own draw seed, so there is no state to checkpoint,
  and ranks differ because their draws do.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement, PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Generator, Tensor

from ..errors import ConfigError, DataError
from ..structures import PSEUDO, SECOND_CROP, Images, SemiBatch
from ..utils import close_matches, derive_seed

Samples = list[SegDataSample]
_DEVICE_STREAM = 2  # 0 and 1 are the sampler's
# Standard deviations between the mean of a batch and the given one that no data set has by chance.
_FAR = 20


def merge_preprocessors(inner: dict | None, outer: dict | None) -> dict | None:
    """The preprocessor config of a model around a segmentor that may have one of its own.

    Args:
        inner: Config inside the segmentor; ``size``, ``mean`` and so on are taken over.
        outer: Config of the model. With a ``type`` of its own it stands alone, without one it adds to
            ``inner`` and replaces keys of it. ``None`` is the same as an empty one, and mmseg's own
            type as none: mmengine's runner puts a config's top-level ``data_preprocessor`` here.
    """
    if inner is None and outer is None:
        return None
    kind = (outer or {}).get("type", SegDataPreProcessor)
    if kind is not SegDataPreProcessor and str(kind).split(".")[-1] != "SegDataPreProcessor":
        return dict(outer)
    return {**(inner or {}), **(outer or {}), "type": "SemiSegDataPreProcessor"}


def split_crop_pairs(
    images: Sequence[Tensor], samples: Samples
) -> tuple[Sequence[Tensor], Samples]:
    """Second crops of pairs, which are packed as one tensor, become a source of their own at the end."""
    pairs = [(image, sample) for image, sample in zip(images, samples) if image.ndim == 4]
    if not pairs:
        return images, samples
    second = [
        SegDataSample(metainfo={**sample.metainfo, "source": SECOND_CROP}) for _, sample in pairs
    ]
    firsts = [image[0] if image.ndim == 4 else image for image in images]
    return [*firsts, *(image[1] for image, _ in pairs)], [*samples, *second]


@MODELS.register_module()
class SemiSegDataPreProcessor(SegDataPreProcessor):
    """Turns a batch of named sources into a :class:`~mmsemi.structures.SemiBatch`.

    In training it returns ``dict(inputs=SemiBatch, data_samples=None)``; outside training it is the
    stock ``SegDataPreProcessor``.

    Args:
        size: Height and width of the training batch; smaller images are padded at the bottom and
            right. ``None``: the largest of the batch, or what the training loop sets from
            ``train_dataloader.dataset.crop_size``.
        test_padding: Where ``test_cfg`` pads, outside training: ``'constant'``, with ``pad_val``, as the
            stock class, or ``'reflect'``, with the mirrored border of the image. A plain config that is
            exported knows the first one alone.
        value_range: Darkest and brightest value of the images, between which strong views change
            them. ``None``: (0, 255) for 8-bit images, the own extremes of any other image.
        kwargs: Those of ``SegDataPreProcessor`` (mean, std, bgr_to_rgb, pad_val, seg_pad_val,
            test_cfg, ...).

    Raises:
        ConfigError: A setting is unknown, or mean and std are not those of the images' channels.
        DataError: An image is larger than ``size`` or has other channels than the others, or a sample
            with labels has no mask.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        test_padding: str = "constant",
        **kwargs,
    ) -> None:
        size = tuple(size) if size is not None else None
        if value_range is not None and not (
            len(value_range) == 2 and value_range[0] < value_range[1]
        ):
            raise ConfigError(
                f"data_preprocessor.value_range={value_range} must be (darkest, brightest)"
            )
        if test_padding not in ("constant", "reflect"):
            raise ConfigError(
                f"data_preprocessor.test_padding={test_padding!r} is neither 'constant' nor 'reflect'"
            )
        if test_padding == "reflect" and not kwargs.get("test_cfg"):
            raise ConfigError(
                "data_preprocessor.test_padding='reflect' pads nothing without a test_cfg: add "
                "data_preprocessor.test_cfg=dict(size_divisor=8), say"
            )
        known = [*inspect.signature(SegDataPreProcessor).parameters, "value_range", "test_padding"]
        for key in kwargs:
            if key not in known:
                raise ConfigError(
                    f"data_preprocessor has no setting '{key}'{close_matches(key, known)} "
                    f"(known: {', '.join(known)})"
                )
        super().__init__(size=size, **kwargs)
        self.value_range, self.test_padding = value_range, test_padding
        self._mean_std = kwargs.get("mean"), kwargs.get("std")
        self._is_compared = False
        # The OneDL fork keeps this flag under another name.
        self.channel_conversion = bool(kwargs.get("bgr_to_rgb") or kwargs.get("rgb_to_bgr"))

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make the batch of a training step, or the stock input of a test batch."""
        self._check_channels(data["inputs"], data.get("data_samples") or ())
        if not training:
            data = super().forward(data, training=False)
            return self._reflect(data) if self.test_padding == "reflect" else data
        images, samples = split_crop_pairs(data["inputs"], data["data_samples"])
        names = [sample.metainfo.get("source", "labeled") for sample in samples]
        height, width = self._batch_size_hw(images, samples)
        range_N2 = self._ranges(images)
        self._compare_statistics(images)
        rgb_NCHW = self._rgb(self._stack(images, height, width))
        valid_NHW = self._valid(images, samples, height, width)
        labels_NHW = self._stack_masks(samples, height, width)
        self._pad_maps(samples, height, width)
        pixels_NCHW = self.normalize(rgb_NCHW, valid_NHW)

        sources: dict[str, Images] = {}
        for name in dict.fromkeys(names):
            rows = [i for i, own in enumerate(names) if own == name]
            # Sources are contiguous in a batch of MultiSourceSampler: a slice is a view, not a copy.
            chosen = rows
            if rows == list(range(rows[0], rows[-1] + 1)):
                chosen = slice(rows[0], rows[-1] + 1)
            of_source = [samples[i] for i in rows]
            labels = labels_NHW[chosen] if self._have_masks(name, of_source) else None
            sources[name] = Images(
                pixels_NCHW[chosen], rgb_NCHW[chosen], valid_NHW[chosen], of_source, labels
            )
            if range_N2 is not None:
                sources[name].range_N2 = range_N2[chosen]
            if labels is not None:  # heads with a loss of their own read the samples
                for sample, labels_HW in zip(of_source, labels):
                    sample.gt_sem_seg = PixelData(data=labels_HW[None])
        labeled, unlabeled = sources.pop("labeled", None), sources.pop("unlabeled", None)
        drawn = sources.get(PSEUDO) if unlabeled is None else unlabeled
        generator = None if drawn is None else self._generator(drawn.samples)
        batch = SemiBatch(labeled, unlabeled, sources, generator)
        return dict(inputs=batch, data_samples=None)

    @staticmethod
    def _reflect(data: dict) -> dict:
        """Replace the padding of a test batch by the mirrored image; that of a tiny one stays."""
        for image, sample in zip(data["inputs"], data["data_samples"]):
            _, right, _, bottom = sample.metainfo["img_padding_size"]
            inside = image[:, : image.shape[1] - bottom, : image.shape[2] - right]
            if bottom < inside.shape[1] and right < inside.shape[2]:
                image.copy_(F.pad(inside.clone(), (0, right, 0, bottom), mode="reflect"))
        return data

    @staticmethod
    def _have_masks(source: str, samples: Samples) -> bool:
        """Whether the samples of a source have masks; labelled ones must, others may."""
        missing = [sample for sample in samples if "gt_sem_seg" not in sample]
        if source == "unlabeled" or (source != "labeled" and len(missing) == len(samples)):
            return False
        if missing:
            raise DataError(
                f"image '{missing[0].metainfo.get('img_path')}' of the source '{source}' came without "
                "a mask: add LoadAnnotations to the pipeline of that source"
            )
        return True

    def photometric_view(
        self, images: Images, operation: Callable[..., Tensor], generator: Generator | None
    ) -> Tensor:
        """A view (N, C, H, W) of images, normalised.

        Args:
            images: Where it starts from.
            operation: Takes images in [0, 1] and a generator, e.g.
                :class:`~mmsemi.models.views.StrongPhotometric`. It sees padding as value 0, or with
                ``pads_with_mean`` in the mean colour.
            generator: CPU generator.
        """
        rgb_NCHW = images.rgb_NCHW.float()
        if getattr(operation, "pads_with_mean", False) and self._enable_normalize:
            rgb_NCHW = torch.where(images.valid_NHW[:, None], rgb_NCHW, self.mean.floor())
        if images.range_N2 is None:
            view = operation(rgb_NCHW / 255, generator) * 255
        else:
            low, high = images.range_N2.view(-1, 2, 1, 1, 1).unbind(1)
            span = (high - low).clamp(min=torch.finfo(high.dtype).tiny)
            # Padding, or values beyond a range that was set, are cut to it.
            view = operation(((rgb_NCHW - low) / span).clamp(0, 1), generator) * span + low
        return self.normalize(view, images.valid_NHW)

    @staticmethod
    def _generator(samples: Samples) -> Generator | None:
        """Randomness of the batch as a function of the first of these draws (None: torch's own)."""
        seed = samples[0].metainfo.get("draw_seed")
        if seed is None:
            return None
        # Not the seed itself: the worker drew that image's crop and flip from it.
        return Generator().manual_seed(derive_seed(seed, _DEVICE_STREAM))

    def _batch_size_hw(self, images: Sequence[Tensor], samples: Samples) -> tuple[int, int]:
        height = max(image.shape[-2] for image in images)
        width = max(image.shape[-1] for image in images)
        if self.size is not None:
            for image, sample in zip(images, samples):
                if image.shape[-2] > self.size[0] or image.shape[-1] > self.size[1]:
                    raise DataError(
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
        """(N, C, H, W) uint8 or float32 on the device, sent in one transfer."""
        is_byte = all(image.dtype == torch.uint8 for image in images)
        dtype = torch.uint8 if is_byte else torch.float32
        batch = torch.zeros((len(images), images[0].shape[0], height, width), dtype=dtype)
        for row, image in zip(batch, images):
            row[:, : image.shape[-2], : image.shape[-1]] = image
        return batch.to(self.device, non_blocking=True)

    def _stack_masks(self, samples: Samples, height: int, width: int) -> Tensor:
        """(N, H, W) int64 labels; rows of samples without a mask are all ``seg_pad_val``."""
        masks = [
            sample.gt_sem_seg.data[0] if "gt_sem_seg" in sample else None for sample in samples
        ]
        fits = all(mask is None or mask.dtype == torch.uint8 for mask in masks)
        dtype = torch.uint8 if fits and 0 <= self.seg_pad_val < 256 else torch.int64
        batch = torch.full((len(samples), height, width), self.seg_pad_val, dtype=dtype)
        for row, mask in zip(batch, masks):
            if mask is not None:
                row[: mask.shape[-2], : mask.shape[-1]] = mask
        return batch.to(self.device, non_blocking=True).long()

    def _pad_maps(self, samples: Samples, height: int, width: int) -> None:
        """Everything of a sample but the labels is sent, and padded if it has the image's size."""
        for sample in samples:
            h, w = sample.img_shape
            for name, field in sample.items():
                if name == "gt_sem_seg" or not isinstance(field, BaseDataElement):
                    continue
                field = field.to(self.device, non_blocking=True)
                if isinstance(field, PixelData) and field.shape == (h, w):
                    missing, value = (0, width - w, 0, height - h), self.seg_pad_val
                    maps = {
                        key: F.pad(torch.as_tensor(x), missing, value=value)
                        for key, x in field.items()
                    }
                    field = PixelData(metainfo=field.metainfo, **maps)
                setattr(sample, name, field)

    def _check_channels(self, images: Sequence[Tensor], samples: Samples) -> None:
        """Refuse images of different channels, and mean and std of other channels than theirs."""
        counts = [image.shape[-3] for image in images]
        other = next((i for i, count in enumerate(counts) if count != counts[0]), None)
        if other is not None:
            names = [samples[i].metainfo.get("img_path", i) if samples else i for i in (0, other)]
            raise DataError(
                f"image '{names[1]}' has {counts[other]} channels, '{names[0]}' {counts[0]}: load both "
                "with the same LoadImageFromFile.color_type, or convert the files"
            )
        given = {
            key: getattr(self, key).numel() for key in ("mean", "std") if self._enable_normalize
        }
        for key, count in given.items():
            if count not in (1, counts[0]):
                raise ConfigError(
                    f"data_preprocessor.{key} has {count} values, the images have {counts[0]} "
                    "channels: give data_preprocessor.mean and std one value for each channel of "
                    "LoadImageFromFile.color_type and backbone.in_channels"
                )

    def _ranges(self, images: Sequence[Tensor]) -> Tensor | None:
        """(N, 2) darkest and brightest value of each image on the device; None for [0, 255]."""
        if self.value_range is not None:
            ranges = [self.value_range] * len(images)
        elif all(image.dtype == torch.uint8 for image in images):
            return None
        else:  # numpy: the loader's images are on the host
            extremes = [(float(x.min()), float(x.max())) for x in (i.numpy() for i in images)]
            is_byte = [image.dtype == torch.uint8 for image in images]
            ranges = [(0, 255) if byte else own for byte, own in zip(is_byte, extremes)]
        return torch.tensor(ranges, dtype=torch.float32).to(self.device, non_blocking=True)

    def _compare_statistics(self, images: Sequence[Tensor]) -> None:
        """Say once if mean and std are of another range of values than the images."""
        if self._is_compared or not self._enable_normalize:
            return
        self._is_compared = True
        values = np.concatenate([image.numpy().ravel() for image in images]).astype(np.float64)
        mean, std = np.mean(self._mean_std[0]), np.mean(self._mean_std[1])
        offset, spread = abs(values.mean() - mean) / std, values.std() / std
        if offset > _FAR or (spread < 1 / _FAR and values.max() <= 1):
            print_log(
                f"data_preprocessor.mean (about {mean:g}) and std ({std:g}) are not those of the images, "
                f"whose values have mean {values.mean():.4g} and std {values.std():.4g}: give them in the "
                "range of values that the loader delivers (0 to 255 for 8-bit images)",
                "current",
                logging.WARNING,
            )

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

    def normalize(self, rgb_NCHW: Tensor, valid_NHW: Tensor) -> Tensor:
        """Mean and std for the whole batch; padding is ``pad_val`` afterwards."""
        x_NCHW = rgb_NCHW.float()
        if self._enable_normalize:
            x_NCHW = (x_NCHW - self.mean) / self.std
        return torch.where(valid_NHW[:, None], x_NCHW, float(self.pad_val))
