# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What an export reads from a semi-supervised checkpoint. Nothing in the file is executed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmseg.registry import DATASETS, MODELS

from ..compat import load_checkpoint_file
from ..errors import CheckpointError, ConfigError
from ..models.segmentors import SemiSegmentor
from ..utils import close_matches
from ..utils.data_config import read_stored_config
from ..utils.literals import to_plain


def load_semi_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True`` and check that it is a dictionary of weights.

    Raises:
        CheckpointError: There is none, it is unreadable, or something in it has another type.
    """
    if not path.is_file():
        known = [str(entry) for entry in path.parent.glob("*.pth")]
        raise CheckpointError(f"there is no checkpoint {path}{close_matches(path, known)}")
    checkpoint = load_checkpoint_file(str(path), map_location="cpu")
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(f"{path} is not a checkpoint of mmsemi: it has no 'state_dict'")
    for key, value in checkpoint["state_dict"].items():
        if not isinstance(key, str) or type(value) not in (torch.Tensor, torch.nn.Parameter):
            raise CheckpointError(f"{path}: entry {key!r} of its state_dict is no named tensor")
    meta = checkpoint.setdefault("meta", {})
    if not isinstance(meta, dict) or not isinstance(meta.get("dataset_meta") or {}, dict):
        raise CheckpointError(f"{path}: its 'meta' is no dictionary of notes")
    return checkpoint


def find_networks(state_dict: dict[str, Any], path: Path) -> dict[str, str]:
    """Names of the networks in a semi-supervised state dict, with the prefix of each."""
    found: dict[str, str] = {}
    for key in state_dict:
        first, *rest = key.split(".")
        if first == "student":
            found[first] = "student."
        elif first == "teacher":
            found[first] = "teacher.module."
        elif first == "branches" and rest and rest[0].isdecimal():
            found[rest[0]] = f"branches.{rest[0]}."
    if not found:
        is_plain = any(key.startswith("backbone.") for key in state_dict)
        raise CheckpointError(
            f"{path} is a plain mmseg checkpoint already, there is nothing to export (ONNX and OpenVINO files "
            "are made from the checkpoint of the training)"
            if is_plain
            else f"{path} is not a checkpoint of mmsemi: it has neither 'student.' nor 'branches.' "
            f"weights, but {', '.join(list(state_dict)[:3]) or 'none at all'}"
        )
    return found


def predicting_network(semi_model: dict, names: Iterable[str]) -> str | int:
    """What a method predicts with, by its config: the name of a network, or 'ensemble'."""
    kind = (MODELS.get(semi_model["type"]) if "type" in semi_model else None) or SemiSegmentor
    net = semi_model.get("predict_on", kind.Settings.predict_on)
    if net is None:  # the default of the method, as SemiSegmentor chooses it
        net = "teacher" if "teacher" in names else next(iter(names))
    return net


def choose_network(
    net: str | int | None, semi_model: dict, prefixes: dict[str, str], path: Path
) -> str:
    """The network to export: the one asked for, or the one that the config predicts with."""
    names = ", ".join(prefixes)
    if net is None:
        net = predicting_network(semi_model, prefixes)
        if net == "ensemble":
            raise ConfigError(
                "the config predicts with the mean of its networks (predict_on='ensemble'), a "
                f"plain segmentor is one of them: choose it with --net ({names})"
            )
    if str(net) not in prefixes:
        raise ConfigError(f"{path} has no network '{net}', it has: {names}")
    return str(net)


def select_weights(state_dict: dict[str, Any], prefix: str) -> OrderedDict[str, torch.Tensor]:
    """One network's weights without their prefix, in storage of their own."""
    size = len(prefix)
    chosen = OrderedDict(
        (key[size:], value.detach().clone())
        for key, value in state_dict.items()
        if key.startswith(prefix)
    )
    # Version numbers of the modules, which torch looks at when it loads.
    versions = getattr(state_dict, "_metadata", {})
    chosen._metadata = OrderedDict(
        (key[size:], to_plain(value))
        for key, value in versions.items()
        if f"{key}.".startswith(prefix)
    )
    return chosen


def plain_meta(meta: dict[str, Any], config: dict) -> dict[str, Any]:
    """The checkpoint's notes as plain types: classes, palette, and on what it was trained how long."""
    dataset_meta = dict(meta.get("dataset_meta") or {})
    if not dataset_meta.get("classes"):
        loader = config.get("test_dataloader") or config.get("val_dataloader") or {}
        dataset = loader.get("dataset") or {}
        kind = DATASETS.get(dataset["type"]) if "type" in dataset else None
        dataset_meta = {**getattr(kind, "METAINFO", {}), **(dataset.get("metainfo") or {})}
    names = ("epoch", "iter", "seed", "experiment_name", "split")
    kept = {key: meta[key] for key in names if key in meta}
    return to_plain({**kept, "dataset_meta": dataset_meta})


def stored_config(checkpoint: dict[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    """The training config inside the checkpoint, as data.

    Returns:
        The config, and the names of its settings that are left out since they name files.

    Raises:
        CheckpointError: There is none.
        ConfigError: It is none of literals, or has a type that nothing registers.
    """
    text = checkpoint["meta"].get("cfg")
    if not isinstance(text, str):
        raise CheckpointError(f"{path} holds no config: give the training config with --config")
    return read_stored_config(text, f"the config inside {path}")
