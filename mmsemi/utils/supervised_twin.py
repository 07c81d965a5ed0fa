# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The supervised run that a semi-supervised config is compared with, or starts from."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError

#: Of the model: everything else is the method's.
_SHARED = (
    "segmentor",
    "data_preprocessor",
    "test_cfg",
    "init_cfg",
    "backbone_norm_eval",
    "frozen_encoder",
    "class_weight_power",
)
_OF_SEGMENTOR = (
    "type",
    "optimizer",
    "paramwise_cfg",
    "clip_grad",
    "accumulative_counts",
    "dtype",
    "loss_scale",
)


def supervised_twin(config: Config, second: bool = False) -> Config:
    """The same network, labelled images, augmentation, optimiser, schedule and length, without the method.

    Args:
        config: Of a method of this package.
        second: For the second of two networks: ``segmentor2`` where there is one, and the next seed.

    Returns:
        A new config; ``load_from`` and ``resume`` are those of ``config``.

    Raises:
        ConfigError: The model is no segmentation method, is supervised already, or the length of the run
            is given in passes over unlabelled images.
    """
    model = config.get("model") or {}
    kind = str(model.get("type")).split(".")[-1]
    if "segmentor" not in model or kind == "Supervised":
        reason = "it is one" if kind == "Supervised" else "it has no model.segmentor"
        raise ConfigError(
            f"{config.filename}: model.type={kind!r} has no supervised twin, {reason}: leave "
            "--from supervised and --baseline out"
        )
    length = config.train_cfg.get("max_iters")
    if not length:
        raise ConfigError(
            f"{config.filename}: train_cfg.epochs={config.train_cfg.get('epochs')} counts passes over images "
            "that the supervised twin does not see: give the length in iterations, --cfg-options "
            "train_cfg.epochs=None train_cfg.max_iters=N"
        )
    values = copy.deepcopy(config.to_dict())
    shared = {key: values["model"][key] for key in _SHARED if key in values["model"]}
    if second:
        shared["segmentor"] = values["model"].get("segmentor2") or shared["segmentor"]
        randomness = values.get("randomness") or {}
        if randomness.get("seed") is not None:  # without one mmengine draws one for each run
            values["randomness"] = dict(randomness, seed=randomness["seed"] + 1)
    values["model"] = dict(type="Supervised", **shared)

    loader = values["train_dataloader"]
    counts = loader["sampler"]["num_per_source"]
    # A source that is not drawn from stays: a split may need it to know what is unlabelled.
    loader["sampler"]["num_per_source"] = dict(dict.fromkeys(counts, 0), labeled=counts["labeled"])
    loader["sampler"].pop("copies", None)
    loader.pop("batch_size", None)

    wrapper = values["optim_wrapper"]
    if "JointOptimWrapperConstructor" in str(wrapper.get("constructor")):
        own = {key: wrapper[key] for key in _OF_SEGMENTOR if key in wrapper}
        if "segmentor_constructor" in wrapper:
            own["constructor"] = wrapper["segmentor_constructor"]
        values["optim_wrapper"] = own
    schedule = values.get("param_scheduler")
    if isinstance(schedule, dict) and "segmentor" in schedule:
        values["param_scheduler"] = schedule["segmentor"]
    hooks = values.get("custom_hooks") or []
    values["custom_hooks"] = [hook for hook in hooks if not _is_of_pseudo_labels(hook)]
    return Config(values, filename=config.filename)


def _is_of_pseudo_labels(hook: Any) -> bool:
    return isinstance(hook, dict) and str(hook.get("type")).endswith("PseudoLabelVisHook")
