# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi pseudo-label CONFIG CHECKPOINT OUT``: labels of the unlabelled images, on disk.

The images are those of the config's unlabelled source, the pipeline is that of its test. Started again,
it does what is left. Exit code 1: some images could not be read; they are named, and the others have their
labels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.registry import init_default_scope
from mmseg.apis import init_model

from ..errors import DataError
from ..self_training.image_job import write_json
from ..self_training.images import (
    add_process_arguments,
    choose_images,
    hidden_masks,
    model_sha256,
    start_process,
    test_images,
    unlabeled_source,
)
from ..self_training.label_files import compare_with_masks
from ..self_training.label_settings import LabelSettings
from ..self_training.labeling import Labeler
from ..utils.config_files import parse_options, read_config
from ..utils.files import file_sha256
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
    parser.add_argument(
        "--score-hidden-masks",
        action="store_true",
        help="open the masks of these images afterwards, and report accuracy and mIoU of the labels",
    )
    add_process_arguments(parser)
    return parser.parse_args(arguments)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    names = ("ratio", "assign", "sampling", "stride", "seed", "batch_size", "scales")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    flags = dict(exact=(args.exact, True), flip=(args.flip, True))
    flags.update(per_class=(args.one_threshold, False), confidence=(args.no_confidence, False))
    given.update({name: value for name, (is_set, value) in flags.items() if is_set})
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi pseudo-label``."""
    args = parse_args(arguments)
    config = read_config(args.config, parse_options(args.cfg_options))
    settings = LabelSettings.read(config, _given(args))
    check_checkpoint(args.checkpoint)
    device = start_process(args)
    init_default_scope("mmseg")
    built = unlabeled_source(config)
    name_of = choose_images(built.sources["unlabeled"], args.images)
    labeler = Labeler(
        init_model(config, args.checkpoint, device=device),
        test_images(config, list(name_of), settings.resize),
        list(name_of.values()),
        args.out,
        settings,
        dict(model_sha256=model_sha256(config), checkpoint_sha256=file_sha256(args.checkpoint)),
        built.all_labeled.classes,
        built.all_labeled.ignore_index,
        args.workers,
    )
    report = labeler.run()
    if get_dist_info()[0]:
        return 0
    if args.score_hidden_masks:
        masks = hidden_masks(built, name_of)
        if not masks:
            raise DataError("no image that was labelled has a mask: leave out --score-hidden-masks")
        scores = compare_with_masks(
            Path(args.out), masks, labeler.num_classes, labeler.ignore_index
        )
        report["hidden_masks"] = scores
        write_json(labeler.result, report)
        print(", ".join(f"{key} {value:.2f}" for key, value in scores.items()) + " (hidden masks)")
    print(f"{args.out}: {report['images']} images, {100 * report['admitted']:.1f} % of the pixels")
    if report["unreadable"]:
        names = ", ".join(f"'{one['path']}'" for one in report["unreadable"][:5])
        print(f"{len(report['unreadable'])} images have no label: {names}", file=sys.stderr)
    return 1 if report["unreadable"] else 0
