# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi pseudo-label CONFIG CHECKPOINT OUT``: labels of the unlabelled images, on disk.

The images are those of the config's unlabelled source, the pipeline is that of its test. Started again,
it does what is left. Exit code 1: some images could not be read; they are named, and the others have their
labels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info, init_dist
from mmengine.registry import init_default_scope
from mmseg.apis import init_model

from ..datasets import UnlabeledDataset
from ..datasets.building import SourceSet, build_sources
from ..datasets.pipelines import weak_pipeline
from ..datasets.splits import match_ids, read_id_list
from ..datasets.transforms import LoadCheckedAnnotations
from ..errors import ConfigError, DataError
from ..self_training.labeling import (
    THRESHOLDS,
    Labeler,
    LabelSettings,
    compare_with_masks,
    image_ids,
)
from ..utils import check_keys
from ..utils.config_files import parse_options, read_config
from ..utils.files import file_sha256, write_beside
from .stock import check_checkpoint


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what is not given stays None, for the config to say."""
    parser = argparse.ArgumentParser(
        description="Label the unlabelled images of a config with a checkpoint. No mask of an unlabelled "
        "image is opened. Defaults of all settings: self_training.labels of the config."
    )
    parser.add_argument("config")
    parser.add_argument("checkpoint")
    parser.add_argument("out", help="folder for labels/, confidence/ and thresholds.json")
    parser.add_argument("--ratio", type=float, help="share of each class's pixels to admit (1)")
    parser.add_argument("--assign", help="argmax, ratio or all (argmax)")
    parser.add_argument("--one-threshold", action="store_true", help="the same for all classes")
    parser.add_argument("--sampling", help="random, image or batch (random)")
    parser.add_argument("--stride", type=int, help="pixels to one that is sampled (16)")
    parser.add_argument("--seed", type=int, help="of a random sampling (0)")
    parser.add_argument("--exact", action="store_true", help="sort instead of count in bins")
    parser.add_argument("--batch-size", type=int, help="images of a forward (8)")
    parser.add_argument("--scales", type=float, nargs="+", help="of the image (1)")
    parser.add_argument("--flip", action="store_true", help="also the flipped image")
    parser.add_argument("--no-confidence", action="store_true", help="write labels alone")
    parser.add_argument("--images", metavar="LIST", help="label these alone, one a line")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images")
    parser.add_argument("--device", help="default: the GPU, or the CPU without one")
    parser.add_argument("--launcher", choices=["none", "pytorch"], default="none")
    parser.add_argument(
        "--score-hidden-masks",
        action="store_true",
        help="open the masks of these images afterwards, and report accuracy and mIoU of the labels",
    )
    parser.add_argument("--cfg-options", nargs="+", default=[])
    return parser.parse_args(arguments)


def label_settings(config: Config, given: dict[str, Any]) -> LabelSettings:
    """Settings of the config, changed by what is given.

    Raises:
        ConfigError: One is unknown or wrong.
    """
    section = (config.get("self_training") or {}).get("labels") or {}
    defaults = {field.name: field.default for field in fields(LabelSettings)}
    values = check_keys(dict(section), defaults, "self_training.labels")
    return LabelSettings(**{**values, **given})


def _given(args: argparse.Namespace) -> dict[str, Any]:
    names = ("ratio", "assign", "sampling", "stride", "seed", "batch_size", "scales")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    flags = dict(exact=(args.exact, True), flip=(args.flip, True))
    flags.update(per_class=(args.one_threshold, False), confidence=(args.no_confidence, False))
    given.update({name: value for name, (is_set, value) in flags.items() if is_set})
    return given


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


def test_images(config: Config, img_paths: Sequence[str]) -> UnlabeledDataset:
    """Images with the config's own test pipeline, without masks."""
    loader = config.get("test_dataloader") or config.get("val_dataloader") or {}
    test_set = loader.get("dataset") or {}
    pipeline = weak_pipeline(test_set) if test_set else []
    return UnlabeledDataset(img_paths=list(img_paths), pipeline=pipeline)


def _origin(config: Config, checkpoint: str) -> dict[str, str]:
    parts = {key: config.get(key) for key in ("model", "test_dataloader", "val_dataloader")}
    text = json.dumps(Config(parts).to_dict(), sort_keys=True, default=str)
    return dict(
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        checkpoint_sha256=file_sha256(checkpoint),
    )


def _masks(built: SourceSet, ids: dict[str, str]) -> dict[str, Callable[[], np.ndarray]]:
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
    from PIL import Image

    with Image.open(path) as mask:
        return mask.height, mask.width


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi pseudo-label``."""
    args = parse_args(arguments)
    config = read_config(args.config, parse_options(args.cfg_options))
    settings = label_settings(config, _given(args))
    check_checkpoint(args.checkpoint)
    if args.launcher != "none":
        init_dist(args.launcher, "nccl" if torch.cuda.is_available() else "gloo")
    init_default_scope("mmseg")
    built = unlabeled_source(config)
    source = built.sources["unlabeled"]
    paths = sorted(set(source.img_paths))
    name_of = dict(zip(paths, image_ids(paths)))
    if args.images:
        names = list(name_of.values())
        chosen = set(match_ids(read_id_list(args.images), names, f"'{args.images}'"))
        paths = [path for path in paths if name_of[path] in chosen]
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and args.launcher != "none":
        device = f"cuda:{torch.cuda.current_device()}"
    model = init_model(config, args.checkpoint, device=device)
    labeler = Labeler(
        model,
        test_images(config, paths),
        [name_of[path] for path in paths],
        args.out,
        settings,
        _origin(config, args.checkpoint),
        built.all_labeled.classes,
        built.all_labeled.ignore_index,
        args.workers,
    )
    report = labeler.run()
    if get_dist_info()[0]:
        return 0
    if args.score_hidden_masks:
        masks = _masks(built, {path: name_of[path] for path in paths})
        if not masks:
            raise DataError("no image that was labelled has a mask: leave out --score-hidden-masks")
        scores = compare_with_masks(
            Path(args.out), masks, labeler.num_classes, labeler.ignore_index
        )
        report["hidden_masks"] = scores
        text = json.dumps(report, indent=1) + "\n"
        write_beside(Path(args.out) / THRESHOLDS, lambda file: file.write(text.encode()))
        print(", ".join(f"{key} {value:.2f}" for key, value in scores.items()) + " (hidden masks)")
    print(f"{args.out}: {report['images']} images, {100 * report['admitted']:.1f} % of the pixels")
    if report["unreadable"]:
        names = ", ".join(f"'{one['path']}'" for one in report["unreadable"][:5])
        print(f"{len(report['unreadable'])} images have no label: {names}", file=sys.stderr)
    return 1 if report["unreadable"] else 0
