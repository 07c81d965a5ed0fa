# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Class probabilities of images at their own size, by the pipeline of a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.semi_model import SemiModel


def probabilities(
    model: nn.Module, samples: Sequence[dict], scales: Sequence[float] = (1.0,), flip: bool = False
) -> list[Tensor]:
    """Class probabilities (C, H, W) float32 of images at their own size, without gradient.

    With several scales, or the flipped image, the probabilities of all are averaged, as ST++ sums them:
    the normalised image is resized, and the probabilities are resized back.

    Args:
        model: In eval mode, on its device; a method or any mmseg segmentor.
        samples: What the test pipeline gives: ``inputs`` and ``data_samples``.
        scales: Of the image.
        flip: Also the image flipped from left to right.
    """
    found: list[Tensor | None] = [None] * len(samples)
    groups: dict[Any, list[int]] = {}
    for i, sample in enumerate(samples):
        key = (*sample["inputs"].shape, *sample["data_samples"].metainfo["ori_shape"])
        groups.setdefault(key, []).append(i)
    for members in groups.values():
        data = dict(
            inputs=[samples[i]["inputs"] for i in members],
            data_samples=[samples[i]["data_samples"] for i in members],
        )
        with torch.no_grad():
            data = model.data_preprocessor(data, False)
            if tuple(scales) == (1.0,) and not flip:
                results = model.predict(data["inputs"], data["data_samples"])
                maps = [_to_probabilities(one.seg_logits.data[None])[0] for one in results]
            else:
                maps = _summed(model, data["inputs"], data["data_samples"], scales, flip)
        for i, prob_CHW in zip(members, maps):
            found[i] = prob_CHW
    return found


def _to_probabilities(logits_NCHW: Tensor) -> Tensor:
    if logits_NCHW.shape[1] > 1:
        return logits_NCHW.float().softmax(1)
    # mmseg's prediction of a net with one output channel is its sigmoid already.
    return torch.cat([1 - logits_NCHW, logits_NCHW], 1).float()


def _summed(
    model: nn.Module, x_NCHW: Tensor, samples: list, scales: Sequence[float], flip: bool
) -> list[Tensor]:
    nets = [model]
    if isinstance(model, SemiModel):
        nets = model.networks() if model.predict_on == "ensemble" else [model.network()]
    height, width = x_NCHW.shape[-2:]
    total = 0.0
    for scale in scales:
        size = (int(height * scale), int(width * scale))
        resized = F.interpolate(x_NCHW, size, mode="bilinear", align_corners=True)
        metas = [dict(s.metainfo, img_shape=size, pad_shape=size, ori_shape=size) for s in samples]
        for flipped in (False, True) if flip else (False,):
            view = resized.flip(-1) if flipped else resized
            for net in nets:
                logits = net.inference(view, metas)
                if logits.shape[1] == 1:
                    logits = logits.sigmoid()
                prob = _to_probabilities(logits)
                prob = prob.flip(-1) if flipped else prob
                total = total + F.interpolate(
                    prob, (height, width), mode="bilinear", align_corners=True
                )
    total = total / total.sum(1, keepdim=True)
    maps = []
    for prob_CHW, sample in zip(total, samples):
        left, right, top, bottom = sample.metainfo.get("img_padding_size", (0, 0, 0, 0))
        prob_CHW = prob_CHW[:, top : height - bottom, left : width - right]
        size = tuple(sample.metainfo["ori_shape"][:2])
        if size != tuple(prob_CHW.shape[-2:]):
            prob_CHW = F.interpolate(prob_CHW[None], size, mode="bilinear", align_corners=True)[0]
        maps.append(prob_CHW)
    return maps
