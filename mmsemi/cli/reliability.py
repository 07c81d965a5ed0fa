# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi reliability CONFIG OUT CHECKPOINT ...``: which unlabelled images a training is stable on (ST++).

The images are those of the config's unlabelled source, the pipeline is that of its test. Started again,
it does what is left. Exit code 1: some images could not be read; they are named and have no score.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import get_dist_info
from mmengine.registry import init_default_scope
from mmseg.apis import init_model

from ..errors import ConfigError
from ..self_training.images import (
    add_process_arguments,
    choose_images,
    model_sha256,
    start_process,
    test_images,
    unlabeled_source,
)
from ..self_training.scoring import Scorer, describe_scores
from ..utils.config_files import parse_options, read_config
from ..utils.files import file_sha256
from .stock import check_checkpoint


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Score the unlabelled images of a config: how well earlier checkpoints of one training "
        "agree with the last one. No mask of an unlabelled image is opened."
    )
    parser.add_argument("config")
    parser.add_argument("out", help="folder for scores.csv")
    parser.add_argument("checkpoints", nargs="+", help="at least two, the last one at the end")
    add_process_arguments(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi reliability``."""
    args = parse_args(arguments)
    config = read_config(args.config, parse_options(args.cfg_options))
    if len(args.checkpoints) < 2:
        raise ConfigError(
            f"{args.checkpoints[0]} alone agrees with itself: name an earlier checkpoint"
        )
    for path in args.checkpoints:
        check_checkpoint(path)
    device = start_process(args)
    init_default_scope("mmseg")
    name_of = choose_images(unlabeled_source(config).sources["unlabeled"], args.images)
    checkpoints = [file_sha256(path) for path in args.checkpoints]
    scorer = Scorer(
        [init_model(config, path, device=device) for path in args.checkpoints],
        test_images(config, list(name_of)),
        list(name_of.values()),
        Path(args.out),
        dict(model_sha256=model_sha256(config), checkpoints_sha256=checkpoints),
        args.workers,
    )
    scores = scorer.run()
    if get_dist_info()[0]:
        return 0
    print(describe_scores(scores))
    return 1 if len(scores) < len(name_of) else 0
