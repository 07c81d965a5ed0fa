# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The networks of a checkpoint, ready to predict. Nothing in the file is executed.

The checkpoint is one of a training with mmsemi, whose config predicts with one of its networks or the mean
of all, or one of a plain mmseg model, exported or trained. What is built is what ``mmsemi export`` writes,
but for the preprocessor, which is the training's own (it can pad with the mirrored image, the stock one
cannot).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..errors import CheckpointError, ConfigError
from ..export import build_plain, one_line
from ..export.checkpoint import (
    choose_network,
    find_networks,
    load_semi_checkpoint,
    plain_meta,
    predicting_network,
    select_weights,
    stored_config,
)
from ..export.config import of_network, plain_model
from ..models.preprocessor import merge_preprocessors
from ..utils.config_files import read_config
from ..visualization.palette import class_palette
from .predictor import Predictor
from .preparation import Preparation, test_steps


def load(
    checkpoint: str | os.PathLike,
    config: str | os.PathLike | Mapping[str, Any] | None = None,
    net: str | int | None = None,
    device: str | torch.device | None = None,
) -> Predictor:
    """A model that predicts, from a checkpoint alone.

    ::

        model = mmsemi.load("work_dirs/run/iter_4000.pth")
        result = model.predict("image.jpg")  # labels_HW, confidence_HW, classes

    Args:
        checkpoint: Of a training with mmsemi, of ``mmsemi export``, or of a plain mmseg model.
        config: Path or content of its config, for one that holds none, or has modules of its own (a Python
            file may import them); None is the one in the checkpoint, which is data.
        net: 'student', 'teacher', 0, 1, ... or 'ensemble'; None is ``model.predict_on``.
        device: None is the GPU, or the CPU without one.

    Raises:
        CheckpointError: It is missing, unreadable, holds pickled code, has no config, or does not fit it.
        ConfigError: There is no such network, or the config cannot be built or has no test pipeline.
    """
    source = Path(checkpoint).expanduser()
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    content = load_semi_checkpoint(source)
    init_default_scope("mmseg")
    is_stored = config is None
    if config is None:
        config, _ = stored_config(content, source)
    elif isinstance(config, (str, os.PathLike)):
        config = read_config(os.fspath(config))
    config = config.to_dict() if isinstance(config, Config) else dict(config)
    with one_line(source) if is_stored else nullcontext():
        semi_model = _semi_model(config, source)
        prefixes = _prefixes(content, source)
        names = _chosen(net, semi_model, prefixes, content, source)
        models = [_network_config(semi_model, name) for name in names]
        nets = [
            build_plain(
                model,
                select_weights(content["state_dict"], prefixes[name]),
                f"network '{name}' of {source}",
            ).to(device)
            for name, model in zip(names, models)
        ]
        steps = test_steps(config)
        meta = plain_meta(content["meta"], config)["dataset_meta"]
        preparation = Preparation(steps)
    num_classes = max(2, nets[0].out_channels)
    if num_classes > 256:
        raise ConfigError(f"{source} has {num_classes} classes, and masks of 8 bits hold 256")
    classes, palette = list(meta.get("classes") or ()), list(meta.get("palette") or ())
    classes += map(str, range(len(classes), num_classes))
    settings = json.dumps([models, steps], sort_keys=True, default=str)
    return Predictor(
        nets,
        preparation,
        classes[:num_classes],
        palette if len(palette) >= num_classes else class_palette(classes[:num_classes]),
        dict(
            networks=names,
            checkpoint=str(source),
            settings_sha256=hashlib.sha256(settings.encode()).hexdigest(),
        ),
    )


def _semi_model(config: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The model of a config, a plain one as that of a method with one network."""
    model = config.get("model") or {}
    if "segmentor" in model:
        return model
    if "decode_head" not in model:
        raise CheckpointError(
            f"{source} is of {model.get('type')}, which is no segmentor: labels of pixels come from one alone"
        )
    # A runner puts the preprocessor of the config into the model.
    outside = {"data_preprocessor": config.get("data_preprocessor")}
    return dict(segmentor={**outside, **model})


def _prefixes(content: Mapping[str, Any], source: Path) -> dict[str, str]:
    """Names of the networks with their prefixes; that of a plain checkpoint is 'student' with none."""
    if any(key.startswith("backbone.") for key in content["state_dict"]):
        return {"student": ""}
    return find_networks(content["state_dict"], source)


def _chosen(
    net: str | int | None, semi_model: dict, prefixes: dict[str, str], content: dict, source: Path
) -> list[str]:
    if prefixes == {"student": ""}:
        exported = content["meta"].get("net")
        if net is not None and str(net) != exported:
            known = f"network '{exported}'" if exported else "one network"
            raise ConfigError(f"{source} holds {known} alone: leave out net={net!r} (--net)")
        return ["student"]
    if net is None:
        net = predicting_network(semi_model, prefixes)
    if net == "ensemble" and "0" in prefixes:
        return list(prefixes)
    return [choose_network(net, semi_model, prefixes, source)]


def _network_config(semi_model: dict, name: str) -> dict[str, Any]:
    """The plain network with the preprocessor that the training tests with."""
    of_net = of_network(semi_model, name)
    model, inner = plain_model(of_net), of_net["segmentor"].get("data_preprocessor")
    is_plain = "type" not in semi_model
    outer = semi_model.get("data_preprocessor")
    preprocessor = inner if is_plain else merge_preprocessors(inner, outer)
    if preprocessor is not None:
        model["data_preprocessor"] = preprocessor
    return model
