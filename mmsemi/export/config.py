# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The plain mmseg config of a semi-supervised one: prediction and testing, stock parts."""

from __future__ import annotations

import copy
import inspect
import os.path as osp
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmseg import registry as mmseg_registries
from mmseg.datasets import BaseSegDataset
from mmseg.models import SegDataPreProcessor
from mmseg.registry import DATASETS, MODELS

from ..datasets import ShapesDataset
from ..models.preprocessor import SemiSegDataPreProcessor, merge_preprocessors
from ..utils.literals import to_plain

# Packages of a plain mmseg installation; their types need no import in the config.
_STOCK_PACKAGES = ("mmseg", "mmengine", "mmcv", "mmpretrain", "torch", "torchvision")
# Settings of prediction and testing; everything else is about training.
KEPT_KEYS = (
    "default_scope",
    "env_cfg",
    "log_processor",
    "log_level",
    "test_pipeline",
    "tta_model",
    "tta_pipeline",
    "test_dataloader",
    "test_evaluator",
)
_REGISTRIES = [item for item in vars(mmseg_registries).values() if isinstance(item, Registry)]


def import_names(config: dict) -> list[str]:
    """Modules in the config's ``custom_imports``."""
    names = (config.get("custom_imports") or {}).get("imports") or []
    return [names] if isinstance(names, str) else list(names)


def of_network(semi_model: dict, net: str | None) -> dict:
    """The config of a model whose ``segmentor`` is the network ``net``, which may be ``segmentor2``."""
    first, second = semi_model["segmentor"], semi_model.get("segmentor2")
    if net != "1" or second is None:
        return semi_model
    test_cfg = second.get("test_cfg") or semi_model.get("test_cfg") or first.get("test_cfg")
    segmentor = {**second, "data_preprocessor": first.get("data_preprocessor")}
    return {**semi_model, "segmentor": segmentor, "test_cfg": test_cfg}


def plain_config(
    config: dict, net: str | None = None
) -> tuple[dict[str, Any], list[str], list[str]]:
    """The config of a plain mmseg model that predicts and tests like the semi-supervised one.

    Args:
        config: The training config.
        net: Name of the network; None is the first one.

    Returns:
        The config, the names of the network's own parts, and notes for the user.
    """
    config = config.to_dict() if isinstance(config, Config) else copy.deepcopy(dict(config))
    plain = {key: config[key] for key in KEPT_KEYS if config.get(key) is not None}
    plain.setdefault("default_scope", "mmseg")
    plain["model"] = plain_model(of_network(config["model"], net))
    for part in ("dataloader", "evaluator"):
        if f"test_{part}" not in plain and config.get(f"val_{part}") is not None:
            plain[f"test_{part}"] = copy.deepcopy(config[f"val_{part}"])
    dataset = plain.get("test_dataloader", {}).get("dataset", {})
    if "test_pipeline" not in plain and dataset.get("pipeline"):
        plain["test_pipeline"] = copy.deepcopy(dataset["pipeline"])
    if dataset:
        plain["test_dataloader"]["dataset"] = plain_dataset(dataset)
    if {"test_dataloader", "test_evaluator"} <= plain.keys():
        plain["test_cfg"] = dict(type="TestLoop")
    else:  # a Runner wants all three or none of them
        plain.pop("test_evaluator", None)
    hook = (config.get("default_hooks") or {}).get("visualization") or {}
    if hook.get("type") == "SegVisualizationHook":
        plain["default_hooks"] = dict(visualization=hook)
    backends = [dict(type="LocalVisBackend")]
    plain["visualizer"] = dict(type="SegLocalVisualizer", vis_backends=backends, name="visualizer")

    own = foreign_types([plain["model"], plain.get("test_pipeline")])
    rest = foreign_types([plain.get("test_dataloader"), plain.get("test_evaluator")])
    imports = needed_imports({**rest, **own}, config)
    notes = []
    if imports:
        # Without its data set and metric a network still loads and predicts.
        plain["custom_imports"] = dict(imports=imports, allow_failed_imports=not own)
    if not own and rest:
        notes.append(f"only tools/test.py needs {', '.join(imports)}: {', '.join(rest)}")
    return plain, list(own), notes


def plain_model(semi_model: dict) -> dict[str, Any]:
    """The segmentor inside a semi-supervised model, with a stock preprocessor and stock losses."""
    model = copy.deepcopy(dict(semi_model["segmentor"]))
    preprocessor = merge_preprocessors(
        model.pop("data_preprocessor", None), semi_model.get("data_preprocessor")
    )
    if preprocessor is not None:
        kind = MODELS.get(preprocessor["type"])
        if kind is None or issubclass(kind, SemiSegDataPreProcessor):
            known = set(inspect.signature(SegDataPreProcessor).parameters)
            # Sizes of training batches; what is padded in testing is in `test_cfg`.
            known -= {"size", "size_divisor", "batch_augments"}
            preprocessor = {key: preprocessor[key] for key in preprocessor if key in known}
            preprocessor["type"] = "SegDataPreProcessor"
        model["data_preprocessor"] = preprocessor
    if semi_model.get("test_cfg") is not None:
        model["test_cfg"] = semi_model["test_cfg"]
    model.setdefault("train_cfg", {})
    model.setdefault("test_cfg", dict(mode="whole"))
    return _without_training_parts(model)


def _without_training_parts(node: Any) -> Any:
    """Own losses replaced by mmseg's; no weight file is asked for."""
    if isinstance(node, (list, tuple)):
        return type(node)(_without_training_parts(item) for item in node)
    if not isinstance(node, dict):
        return node
    result = {}
    for key, value in node.items():
        if key == "pretrained" or (key == "init_cfg" and _reads_a_file(value)):
            value = None
        elif key == "loss_decode":
            is_list = isinstance(value, (list, tuple))
            value = [_stock_loss(item) for item in value] if is_list else _stock_loss(value)
        result[key] = _without_training_parts(value)
    return result


def _reads_a_file(init_cfg: Any) -> bool:
    items = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return any(isinstance(item, dict) and item.get("checkpoint") for item in items)


def _stock_loss(loss: dict) -> dict:
    if not foreign_types([loss]):
        return loss
    kept = {key: loss[key] for key in ("loss_weight", "loss_name") if key in loss}
    return dict(type="CrossEntropyLoss", avg_non_ignore=True, **kept)


def plain_dataset(dataset: dict) -> dict:
    """An own data set that only names files and classes, as mmseg's ``BaseSegDataset``."""
    kind = DATASETS.get(dataset.get("type", ""))
    if not foreign_types([dict(type=dataset.get("type"))]) or kind is None:
        return dataset
    overridden = {key for key, value in vars(kind).items() if callable(value)} - {"__init__"}
    # ShapesDataset's own method generates the files, which are there by now.
    if kind.__mro__[1] is not BaseSegDataset or (overridden and kind is not ShapesDataset):
        return dataset
    arguments = {key: dataset[key] for key in dataset if key != "type"}
    built = kind(**{**arguments, "pipeline": [], "lazy_init": True})
    if "metainfo" in dataset or not built.data_root or "://" in built.data_root:
        return dataset

    def below_root(path: str) -> str:
        return osp.relpath(path, built.data_root) if path else path

    stock = inspect.signature(BaseSegDataset).parameters
    return {
        **{key: dataset[key] for key in dataset if key in stock},
        "type": "BaseSegDataset",
        "data_root": built.data_root,
        "ann_file": below_root(built.ann_file),
        "data_prefix": {key: below_root(path) for key, path in built.data_prefix.items()},
        "img_suffix": built.img_suffix,
        "seg_map_suffix": built.seg_map_suffix,
        "reduce_zero_label": built.reduce_zero_label,
        "metainfo": to_plain({key: built.metainfo[key] for key in ("classes", "palette")}),
    }


def foreign_types(sections: list[Any]) -> dict[str, type]:
    """Registered types in parts of a config that come from outside the OpenMMLab packages."""
    found: dict[str, type] = {}
    pending = list(sections)
    while pending:
        node = pending.pop(0)
        if isinstance(node, dict):
            kind = node.get("type")
            if isinstance(kind, str):
                classes = (item.get(kind) for item in _REGISTRIES)
                kind = next((one for one in classes if one is not None), None)
            if kind is not None and package_of(kind) not in _STOCK_PACKAGES:
                found[getattr(kind, "__name__", str(kind))] = kind
            pending.extend(node.values())
        elif isinstance(node, (list, tuple)):
            pending.extend(node)
    return found


def package_of(kind: Any) -> str:
    """Top-level package of a registered class or function."""
    return getattr(kind, "__module__", "").split(".")[0]


def needed_imports(foreign: dict[str, type], config: dict) -> list[str]:
    """Modules that register foreign types: the config's own imports as far as they are needed."""
    imports = [name for name in import_names(config) if name.startswith("mmpretrain")]
    for kind in foreign.values():
        package = package_of(kind)
        given = [name for name in import_names(config) if name.split(".")[0] == package]
        imports += given or ["mmsemi" if package == "mmsemi" else kind.__module__]
    return list(dict.fromkeys(imports))
