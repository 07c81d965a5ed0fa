# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the benchmark trains on: a collated batch, and samples to time the loader with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import PixelData
from mmseg.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

from mmsemi.datasets.pipelines import fill_crop_size, seeded, weak_pipeline
from mmsemi.errors import ConfigError
from mmsemi.structures import PSEUDO

Batch = dict[str, list]
LoadSample = Callable[[str, int], Any]


def set_crop(config: Config, size: int) -> None:
    """Train on square crops of another size."""
    config.train_dataloader.dataset.crop_size = (size, size)
    config.model.data_preprocessor.size = (size, size)


def make_batch(config: Config, num_classes: int, seed: int = 0) -> Batch:
    """A collated batch of noise images, with masks for all but the unlabelled source.

    Pseudo-labels have confidences. Unlabelled images are pairs of crops where the config's pipeline cuts them.
    """
    size = config.model.data_preprocessor.get("size")
    size = size or config.train_dataloader.dataset.get("crop_size")
    if size is None:
        raise ConfigError("model.data_preprocessor.size=None: give --crop")
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    steps = (config.train_dataloader.dataset.get("unlabeled") or {}).get("pipeline") or []
    pairs = [TRANSFORMS.build(dict(x, crop_size=size)) for x in steps if "Pair" in str(x["type"])]
    pair, samples = next(iter(pairs), None), []
    for source, count in config.train_dataloader.sampler.num_per_source.items():
        for _ in range(count):
            number = len(samples)
            sample = SegDataSample(
                metainfo=dict(img_path=f"{number}.png", source=source, draw_seed=number)
            )
            if source != "unlabeled":
                mask = torch.randint(num_classes, (1, height, width), generator=generator)
                mask[:, : height // 16] = 255
                sample.gt_sem_seg = PixelData(data=mask.to(torch.uint8))
                sample.set_metainfo(dict(image_labels=tuple(range(0, num_classes, 2))))
            if source == PSEUDO:
                confidence = torch.rand(1, height, width, generator=generator)
                sample.gt_confidence = PixelData(data=confidence)
            image = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
            if source == "unlabeled" and pair is not None:
                wide = image.repeat(1, 1, 2).permute(1, 2, 0).numpy()
                with seeded(number):
                    crops = pair(dict(img=wide))
                image = torch.stack([torch.tensor(x).permute(2, 0, 1) for x in crops["img"]])
                sample.set_metainfo(dict(crop_pair=crops["crop_pair"]))
            samples.append(dict(inputs=image, data_samples=sample))
    return pseudo_collate(samples)


def load_batch(config: Config) -> tuple[Batch, LoadSample]:
    """The first batch of the config's own data set, and a function that loads one sample."""
    dataset = DATASETS.build(config.train_dataloader.dataset)
    sampler = DATA_SAMPLERS.build(dict(config.train_dataloader.sampler, dataset=dataset, seed=0))
    batch = pseudo_collate([dataset[draw] for draw in sampler.batch(0)])
    return batch, lambda source, number: dataset[sampler.draw(source, number)]


def file_loader(config: Config, folder: str, image_hw: Sequence[int]) -> LoadSample:
    """A function that runs a source's pipeline on one JPEG (and mask) of the given size."""
    height, width = image_hw
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    image.save(f"{folder}/image.jpg", quality=92)
    mask = Image.fromarray(coarse[..., 0] % 2).resize((width, height), Image.NEAREST)
    mask.save(f"{folder}/mask.png")
    dataset = copy.deepcopy(config.train_dataloader.dataset)
    sources = dict(labeled=dataset.labeled, unlabeled=dataset.get("unlabeled"))
    sources.update(dataset.get("sources") or {})
    fill_crop_size(list(sources.values()), dataset.get("crop_size"))
    pipelines = {}
    for name, source in sources.items():
        if source is not None:
            is_unlabeled = name == "unlabeled"
            default = weak_pipeline(dataset.labeled) if is_unlabeled else dataset.labeled.pipeline
            pipelines[name] = Compose(source.get("pipeline") or default)
    info = dict(img_path=f"{folder}/image.jpg", seg_map_path=f"{folder}/mask.png")
    info.update(label_map=None, reduce_zero_label=False)
    return lambda source, number: pipelines[source](dict(info, seg_fields=[]))


def fresh(batch: Batch) -> Batch:
    """The batch again, for a step that writes into its samples."""
    return dict(
        inputs=list(batch["inputs"]), data_samples=[s.clone() for s in batch["data_samples"]]
    )
