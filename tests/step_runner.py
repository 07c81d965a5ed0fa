# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Training steps without a Runner, and a data set in memory, for tests of methods."""

from __future__ import annotations

import itertools
import logging
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, HOOKS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import Dataset

from mmsemi.datasets import MultiSourceSampler
from mmsemi.datasets.pipelines import seeded
from mmsemi.datasets.transforms import OverlappingCropPair

CLASSES = ("background", "left", "right")
SIZE = 32

_counter = itertools.count()


@DATASETS.register_module(force=True)  # the processes of the gloo pool read this file once a task
class NoiseImages(Dataset):
    """4 labelled, 8 unlabelled and 4 further labelled noise images for a source ``gt``; 8 for ``pseudo``.

    Pixels, mask and height come from the draw's seed.

    Args:
        pairs: Unlabelled images come as two overlapping crops.
    """

    metainfo = dict(classes=CLASSES, palette=[[0, 0, 0], [9, 9, 9], [99, 99, 99]])

    def __init__(self, pairs: bool = False) -> None:
        self.source_ranges = dict(labeled=range(4), unlabeled=range(4, 12), gt=range(12, 16))
        self.source_ranges["pseudo"] = range(16, 24)
        self.crop_pair = OverlappingCropPair(SIZE) if pairs else None

    def __len__(self) -> int:
        return 24

    def __getitem__(self, draw) -> dict:
        generator = torch.Generator().manual_seed(draw.seed)
        height = SIZE - 4 * (draw.index % 2)  # every other image is padded
        mask = torch.randint(len(CLASSES), (1, height // 4, SIZE // 4), generator=generator)
        mask = mask.repeat_interleave(4, 1).repeat_interleave(4, 2).to(torch.uint8)
        noise = torch.randint(90, (3, height, SIZE), generator=generator)
        source = next(name for name, span in self.source_ranges.items() if draw.index in span)
        sample = SegDataSample(
            metainfo=dict(img_path=f"{draw.index}.png", source=source, draw_seed=draw.seed)
        )
        if source != "unlabeled":
            sample.gt_sem_seg = PixelData(data=mask)
            sample.set_metainfo(dict(image_labels=tuple(mask.unique().tolist())))
        if source == "pseudo":
            confidence = torch.rand(mask.shape, generator=generator)
            sample.gt_confidence = PixelData(data=confidence)
        image = (60 * mask + noise).to(torch.uint8)
        if self.crop_pair and source == "unlabeled":
            wide = image.repeat(1, 1, 2).permute(1, 2, 0).numpy()
            with seeded(draw.seed):
                pair = self.crop_pair(dict(img=wide))
            image = torch.stack([torch.tensor(crop).permute(2, 0, 1) for crop in pair["img"]])
            sample.set_metainfo(dict(crop_pair=pair["crop_pair"]))
        return dict(inputs=image, data_samples=sample)


class StepRunner:
    """The part of a Runner that a training step and the hooks of a method see.

    Args:
        model: A method; the hooks that it requires are attached and started.
        optim_wrapper: Steps it; default plain SGD.
    """

    def __init__(self, model: nn.Module, optim_wrapper: OptimWrapper | None = None) -> None:
        self.model = model.train()
        self.optim_wrapper = optim_wrapper or OptimWrapper(
            torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.02)
        )
        # A pass over the 8 images of NoiseImages, 4 in a batch.
        self.train_loop = SimpleNamespace(iterations_of=lambda passes, _: int(passes * 2))
        self.iter, self.max_iters, self.seed = 0, 8, 0
        self.message_hub = MessageHub.get_instance(f"step_runner_{next(_counter)}")
        self.message_hub.update_info("iter", 0)
        self.logger = logging.getLogger("step_runner")
        self.hooks = [HOOKS.build(config) for config in model.required_hooks()]
        for hook in self.hooks:
            hook.before_run(self)
            hook.before_train(self)

    def step(self, batch: dict) -> dict[str, Any]:
        """One iteration on a collated batch; returns the logged values."""
        for hook in self.hooks:
            hook.before_train_iter(self, self.iter, batch)
        values = self.model.train_step(batch, self.optim_wrapper)
        for hook in self.hooks:
            hook.after_train_iter(self, self.iter, batch, values)
        self.iter += 1
        self.message_hub.update_info("iter", self.iter)
        return values

    def start_step(self) -> None:
        """For tests that call ``model.loss`` themselves: what a Runner does before an iteration."""
        for hook in self.hooks:
            hook.before_train_iter(self, self.iter)


def draw_batches(dataset: Dataset, counts: dict[str, int], number: int) -> list[dict]:
    """The first collated batches of a data set, as training with seed 0 draws them."""
    sampler = MultiSourceSampler(dataset, counts, seed=0)
    return [pseudo_collate([dataset[draw] for draw in sampler.batch(i)]) for i in range(number)]
