# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The images that a config leaves unlabelled, as labellings read them, and the processes that do."""

from __future__ import annotations

import hashlib
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import init_dist
from PIL import Image

from ..datasets import UnlabeledDataset
from ..datasets.building import SourceSet, build_sources
from ..datasets.files import relative_ids
from ..datasets.pipelines import weak_pipeline
from ..datasets.splits import match_ids, read_id_list
from ..datasets.transforms import LoadCheckedAnnotations
from ..errors import ConfigError, DataError


def unlabeled_source(config: Config) -> SourceSet:
    """The labelled and unlabelled sources of a training config, without opening an image.

    Raises:
        ConfigError: It has no SemiDataset.
        DataError: It has no unlabelled image, or the data set cannot be built.
    """
    dataset = (config.get("train_dataloader") or {}).get("dataset") or {}
    if "labeled" not in dataset:
        raise ConfigError(
            f"{config.filename}: train_dataloader.dataset is no SemiDataset, which says what is unlabelled"
        )
    built = build_sources(
        dataset["labeled"],
        dataset.get("unlabeled") or {},
        dataset.get("split"),
        crop_size=(1, 1),  # nothing is loaded by these pipelines
    )
    for error in built.errors.values():
        if "crop_size" not in str(error):
            raise error
    source = built.sources.get("unlabeled")
    if source is None or not len(source):
        raise DataError(
            f"{config.filename}: the split {built.split_name} leaves no image unlabelled, so there is none "
            "to label: give train_dataloader.dataset.unlabeled an img_dir, or label fewer"
        )
    return built


def image_ids(img_paths: Sequence[str]) -> list[str]:
    """Names of labels: image paths below their common folder, without suffix.

    Raises:
        DataError: Two images would have one name.
    """
    ids = relative_ids(list(img_paths))
    seen: dict[str, str] = {}
    for name, path in zip(ids, img_paths):
        if name in seen:
            raise DataError(
                f"'{seen[name]}' and '{path}' would have one label, '{name}.png': rename one of them"
            )
        seen[name] = path
    return ids


def choose_images(source: Any, list_file: str | None = None) -> dict[str, str]:
    """Names of unlabelled images by path, sorted.

    Args:
        source: Of :func:`unlabeled_source`.
        list_file: Names of those that are wanted, one a line; None: all.
    """
    paths = sorted(set(source.img_paths))
    name_of = dict(zip(paths, image_ids(paths)))
    if list_file:
        names = list(name_of.values())
        chosen = set(match_ids(read_id_list(list_file), names, f"'{list_file}'"))
        name_of = {path: name for path, name in name_of.items() if name in chosen}
    return name_of


def test_images(
    config: Config, img_paths: Sequence[str], resize: Sequence[int] | None = None
) -> UnlabeledDataset:
    """Images with the config's own test pipeline, without masks.

    Args:
        config: Of the model.
        img_paths: The images.
        resize: Width and height that every image is squeezed to first.
    """
    loader = config.get("test_dataloader") or config.get("val_dataloader") or {}
    test_set = loader.get("dataset") or {}
    pipeline = weak_pipeline(test_set) if test_set else []
    if resize:
        squeeze = dict(type="Resize", scale=tuple(resize), keep_ratio=False)
        pipeline = [*pipeline[:1], squeeze, *pipeline[1:]]
    return UnlabeledDataset(img_paths=list(img_paths), pipeline=pipeline)


def hidden_masks(built: SourceSet, ids: dict[str, str]) -> dict[str, Callable[[], np.ndarray]]:
    """Loaders of the hidden masks, by the id of the image."""
    loader, found = LoadCheckedAnnotations(), {}
    for part in built.all_labeled.parts:
        for number, (image, mask) in enumerate(part.files):
            if image in ids and mask:

                def load(dataset: Any = part.dataset, number: int = number) -> np.ndarray:
                    info = dataset.get_data_info(number)
                    with_size = dict(info, img_shape=_mask_size(info["seg_map_path"]))
                    return loader(with_size)["gt_seg_map"]

                found[ids[image]] = load
    return found


def _mask_size(path: str) -> tuple[int, int]:
    with Image.open(path) as mask:
        return mask.height, mask.width


def model_sha256(config: Config) -> str:
    """Hash of the settings that predictions depend on."""
    parts = {key: config.get(key) for key in ("model", "test_dataloader", "val_dataloader")}
    text = json.dumps(Config(parts).to_dict(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def add_process_arguments(parser: ArgumentParser) -> None:
    """The arguments that :func:`start_process` reads, and the number of readers."""
    parser.add_argument("--images", metavar="LIST", help="these alone, one a line")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images")
    parser.add_argument("--device", help="default: the GPU, or the CPU without one")
    parser.add_argument("--launcher", choices=["none", "pytorch"], default="none")
    parser.add_argument("--cfg-options", nargs="+", default=[])


def start_process(args: Namespace) -> str:
    """Join the other processes, if a launcher started several.

    Convolutions and products stay in float32 (PyTorch lets convolutions round to TF32 by default), so
    that labels do not depend on the kind of GPU more than they must.

    Returns:
        The device of this one.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if args.launcher != "none":
        init_dist(args.launcher, "nccl" if torch.cuda.is_available() else "gloo")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and args.launcher != "none":
        device = f"cuda:{torch.cuda.current_device()}"
    return device
