#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Record what each config really builds, or compare two recordings.

python tests/recordings/record_configs.py --out FILE [--configs unimatch/voc_92 ...]
python tests/recordings/record_configs.py --compare A.json B.json

Everything is built by mmengine's Runner, up to the moment before the first step. Data sets list files
that do not exist, as many as the published ones hold; networks have no values.

The names are those of the second edition (``model.settings``, ``strong``, ``mix``, ``num_views``,
``pasted_mode``), whatever form the code has, so that recordings of both compare directly. A value of
more than a few characters is stored once, under its hash, in ``shared``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from record_steps import ROOT, find_networks  # first: it puts the checkout on the path
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader, Dataset

# isort: split
import mmsemi  # noqa: F401  # before mmseg, for mmcv-lite

# isort: split
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, LOOPS, TASK_UTILS

from mmsemi.evaluation.score_table import ScoreTable

# Images for training and for validation of each data set, as its publishers count them.
COUNTS = {
    "ADE20KDataset": (20210, 2000),
    "COCO81Dataset": (118287, 5000),
    "CamVidDataset": (367, 101),
    "CityscapesDataset": (2975, 500),
    "PascalContextDataset": (4998, 5105),
    "PascalContextDataset59": (4998, 5105),
    "PascalVOCDataset": (10582, 1449),
    "ShapesDataset": (256, 100),
}
EXTRA_IMAGES = 19998  # Cityscapes' train_extra
MAX_ITEMS = 50  # longer lists are recorded by length and hash


# --- What depends on the form of the code: adapt these when it changes ------------------------------


def read_settings(model: nn.Module) -> dict[str, Any]:
    """All settings of a method with their defaults, views and the predicting network among them."""
    if hasattr(model, "settings"):
        settings = {
            field.name: getattr(model.settings, field.name)
            for field in dataclasses.fields(model.settings)
        }
        views = {"strong": None, "mix": None, "num_views": 1, "predict_on": model.predict_on}
        for name in views:
            settings.pop(name, None)
        for name in ("strong", "mix"):
            views[name] = getattr(model, name, None)
        views["num_views"] = getattr(model.settings, "num_views", 1)
    else:
        settings = dict(model.semi_train_cfg)
        if "partner_mode" in settings:
            settings["pasted_mode"] = settings.pop("partner_mode")
        preprocessor = model.data_preprocessor
        views = {
            "strong": getattr(preprocessor, "strong", None),
            "mix": getattr(preprocessor, "mix", None),
            "num_views": getattr(preprocessor, "num_student_views", 1),
            "predict_on": model.semi_test_cfg["predict_on"],
        }
    return {"settings": settings, **views}


def read_preprocessor(model: nn.Module) -> dict[str, Any]:
    """Geometry and normalisation; views are the method's."""
    preprocessor = model.data_preprocessor
    skipped = ("strong", "mix", "num_student_views")
    found = {k: v for k, v in read_attributes(preprocessor).items() if k not in skipped}
    for name in ("mean", "std"):
        value = getattr(preprocessor, name, None)
        found[name] = None if value is None else value.flatten().tolist()
    return {"type": type(preprocessor).__name__, **found}


TEACHER_KEYS = ("momentum", "interval", "buffers", "warmup", "warmup_start", "when")


def read_teacher(runner: Runner) -> dict[str, Any] | None:
    """How the teacher follows the student."""
    hooks = [hook for hook in runner.hooks if type(hook).__name__ == "MeanTeacherHook"]
    if not hooks:
        return None
    teacher = getattr(runner.model, "teacher", None)
    if hasattr(teacher, "buffers_from"):  # one module, averaged at every optimiser step
        own = {"interval": 1, "buffers": teacher.buffers_from}
        return {key: own.get(key) or getattr(teacher, key) for key in TEACHER_KEYS}
    return {key: getattr(hooks[0], key) for key in TEACHER_KEYS}


def read_scaling(runner: Runner) -> dict[str, Any] | None:
    """What the learning rate is scaled by, as mmengine reads it."""
    scaling = runner.auto_scale_lr
    return scaling and {key: scaling[key] for key in ("enable", "base_batch_size")}


def read_crop(config: Config) -> Any:
    """The crop as the config states it."""
    dataset = config.train_dataloader.dataset
    return dataset.get("crop_size", config.get("crop_size"))


def read_source(dataset: Dataset, name: str) -> Dataset | None:
    """The data set behind a source of a SemiDataset, None for one without images."""
    span = dataset.source_ranges[name]
    return dataset.locate(span[0])[1] if span else None


# --- Faked data and networks without values ---------------------------------------------------------


def fake_list(dataset: BaseSegDataset) -> list[dict]:
    """As many files as the published data set has; they do not exist."""
    if getattr(dataset, "_img_paths", None) is not None:  # an UnlabeledDataset of given paths
        infos = [{"img_path": path} for path in sorted(dataset._img_paths)]
        return [
            dict(info, label_map=None, reduce_zero_label=False, seg_fields=[]) for info in infos
        ]
    folder = dataset.data_prefix["img_path"]
    masks = dataset.data_prefix.get("seg_map_path")
    # Stock data sets ask whether these exist; the recorder runs in an empty folder.
    os.makedirs(folder, exist_ok=True)
    if dataset.ann_file:
        os.makedirs(os.path.dirname(dataset.ann_file), exist_ok=True)
        Path(dataset.ann_file).touch()
    train, val = COUNTS.get(type(dataset).__name__, (EXTRA_IMAGES, 0))
    place = dataset.ann_file or folder
    count = val if "val" in os.path.basename(place) else train
    stem = os.path.basename(folder)
    return [
        dict(
            img_path=f"{folder}/{stem}{i:06d}{dataset.img_suffix}",
            seg_map_path=masks and f"{masks}/{stem}{i:06d}{dataset.seg_map_suffix}",
            label_map=dataset.label_map,
            reduce_zero_label=dataset.reduce_zero_label,
            seg_fields=[],
        )
        for i in range(count)
    ]


def fake_split(split: Any, ids: list[str]) -> tuple[list[str], list[str]]:
    """Halves of a published split's sizes."""
    labeled, unlabeled = split.protocol.labeled, split.protocol.unlabeled
    return ids[: labeled.count], ids[len(ids) - unlabeled.count :] if unlabeled else []


class SkipRandomValues(TorchFunctionMode):
    """Tensors keep what their memory holds: drawing millions of weights would take minutes."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (Tensor.uniform_, Tensor.normal_):
            return args[0]
        return function(*args, **(kwargs or {}))


class Built(Exception):
    """Raised instead of the first step."""


@contextlib.contextmanager
def faked() -> Iterator[None]:
    """Everything that would need data or weights, replaced."""

    def build_model(runner: Runner, config: dict) -> nn.Module:
        with SkipRandomValues():
            return stock_build(runner, config)

    def run(loop: Any) -> None:
        loop.runner.call_hook("before_train")  # where hooks settle their intervals, at the latest
        raise Built

    stock_build = Runner.build_model
    data_sets = {BaseSegDataset, *(DATASETS.get(name) for name in (*COUNTS, "UnlabeledDataset"))}
    with contextlib.ExitStack() as stack:
        for data_set in data_sets:
            if "load_data_list" in vars(data_set):
                stack.enter_context(mock.patch.object(data_set, "load_data_list", fake_list))
        for owner, name, replacement in (
            (TASK_UTILS.get("PublishedSplit"), "__call__", fake_split),
            (LOOPS.get("SemiIterBasedTrainLoop"), "run", run),
            (Runner, "build_model", build_model),
            (Runner, "_init_model_weights", lambda runner: None),
            (ScoreTable, "load", lambda path: None),
            # These two are not needed, and take most of the time.
            (Runner, "_log_env", lambda runner, env_cfg: None),
            (Config, "pretty_text", ""),
        ):
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


# --- What is recorded -------------------------------------------------------------------------------


def describe(value: Any) -> Any:
    """A value as JSON; an object as its class and its attributes."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, range, nn.ModuleList)):
        items = [describe(item) for item in value]
        return items if len(items) <= MAX_ITEMS else f"{len(items)} values {sha256(items)}"
    if isinstance(value, (np.ndarray, np.generic, Tensor)):
        return value.tolist()
    if isinstance(value, (type, torch.dtype)) or callable(value) and hasattr(value, "__name__"):
        return getattr(value, "__name__", str(value))
    if not hasattr(value, "__dict__"):
        return str(value)
    return {"type": type(value).__name__, **read_attributes(value, plain_only=False)}


_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))


def read_attributes(value: Any, plain_only: bool = True) -> dict[str, Any]:
    """Attributes of an object by name, without a leading underscore; optionally without objects."""
    found = {}
    for name, item in vars(value).items():
        if name in _MODULE_ATTRIBUTES or plain_only and not _is_plain(item):
            continue
        if plain_only and name.startswith("_"):
            continue
        found[name.lstrip("_")] = describe(item)
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def describe_network(network: nn.Module) -> dict[str, Any]:
    """Class, size, structure and settings of a network."""
    heads = ("backbone", "neck", "head", "decode_head", "auxiliary_head")
    parts = {}
    for name in heads:
        part = getattr(network, name, None)
        for i, one in enumerate(part if isinstance(part, nn.ModuleList) else [part]):
            if one is not None:
                key = f"{name}.{i}" if isinstance(part, nn.ModuleList) else name
                parts[key] = {"type": type(one).__name__, **read_attributes(one)}
                losses = getattr(one, "loss_decode", None) or getattr(one, "loss_module", None)
                if losses is not None:
                    parts[key]["loss"] = describe(losses)
    return {
        "type": type(network).__name__,
        "parameters": sum(p.numel() for p in network.parameters()),
        "trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "tensors": sha256(sorted((k, list(v.shape)) for k, v in network.state_dict().items())),
        "structure": hashlib.sha256(repr(network).encode()).hexdigest()[:16],
        "dropouts": {
            name: module.p
            for name, module in network.named_modules()
            if isinstance(module, nn.modules.dropout._DropoutNd)
        },
        "init_cfg": {
            name: describe(module.init_cfg)
            for name, module in network.named_modules()
            if getattr(module, "init_cfg", None)
        },
        "test_cfg": describe(getattr(network, "test_cfg", None)),
        "parts": parts,
    }


def describe_model(runner: Runner) -> dict[str, Any]:
    model = runner.model
    return {
        "type": type(model).__name__,
        **describe(read_settings(model)),
        "data_preprocessor": read_preprocessor(model),
        "networks": {name: describe_network(net) for name, net in find_networks(model).items()},
        "teacher": read_teacher(runner),
    }


def describe_optimisers(runner: Runner) -> dict[str, Any]:
    """Wrappers, optimisers, and a row for each distinct setting of their parameter groups."""
    names = {
        id(parameter): f"{network}/{name}"
        for network, module in find_networks(runner.model).items()
        for name, parameter in module.named_parameters()
    }
    wrapper = runner.optim_wrapper
    members = dict(wrapper.items()) if hasattr(wrapper, "items") else {"all": wrapper}
    found = {"type": type(wrapper).__name__}
    for name, member in members.items():
        rows: dict[str, list] = {}
        for group in member.optimizer.param_groups:
            settings = {key: describe(item) for key, item in group.items() if key != "params"}
            rows.setdefault(json.dumps(settings, sort_keys=True), []).extend(group["params"])
        found[name] = {
            "type": type(member).__name__,
            "optimizer": type(member.optimizer).__name__,
            "accumulative_counts": member._accumulative_counts,
            "clip_grad": describe(member.clip_grad_kwargs or None),
            "groups": [
                {
                    **json.loads(settings),
                    "tensors": len(parameters),
                    "numel": sum(p.numel() for p in parameters),
                    "names": sha256(sorted(names.get(id(p), "outside") for p in parameters)),
                }
                for settings, parameters in sorted(rows.items())
            ],
        }
    return found


def describe_schedulers(runner: Runner) -> Any:
    schedulers = runner.param_schedulers
    skipped = ("last_step", "base_values")
    members = schedulers if isinstance(schedulers, dict) else {"all": schedulers}
    return {
        name: [
            {
                "type": type(one).__name__,
                **{k: v for k, v in read_attributes(one).items() if k not in skipped},
            }
            for one in member
        ]
        for name, member in members.items()
    }


def describe_hooks(hooks: list[Hook]) -> dict[str, Any]:
    """Hooks in the order of their calls; the teacher's settings are recorded with the model."""
    skipped = ("json_log_path", "out_dir")  # hold the time and the recorder's folder
    found = {"order": [type(hook).__name__ for hook in hooks]}
    for hook in hooks:
        attributes = {k: v for k, v in read_attributes(hook).items() if k not in skipped}
        if type(hook).__name__ == "MeanTeacherHook":
            attributes = {}
        attributes["priority"] = str(hook.priority)
        found[type(hook).__name__] = attributes
    return found


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """One data set of files."""
    skipped = ("pipeline", "data_list", "data_address", "data_bytes", "img_paths", "metainfo")
    attributes = read_attributes(dataset)
    return {
        "type": type(dataset).__name__,
        "images": len(dataset),
        "classes": sha256(dataset.metainfo.get("classes")),
        **{key: value for key, value in attributes.items() if key not in skipped},
        "pipeline": describe(dataset.pipeline.transforms),
    }


def describe_loader(loader: DataLoader, config: dict) -> dict[str, Any]:
    """A loader with its sampler and all of its data."""
    dataset, sampler = loader.dataset, loader.sampler
    found = {
        "batch_size": loader.batch_sampler.batch_size,
        "drop_last": loader.batch_sampler.drop_last,
        "num_workers": loader.num_workers,
        "persistent_workers": loader.persistent_workers,
        "pin_memory": loader.pin_memory,
        "sampler": {"type": type(sampler).__name__, **read_attributes(sampler)},
    }
    if not hasattr(dataset, "source_ranges"):
        return {**found, "dataset": describe_dataset(dataset)}
    sources = {}
    for name, span in dataset.source_ranges.items():
        part = read_source(dataset, name)
        sources[name] = part and {"draws_from": len(span), **describe_dataset(part)}
    split = {k: v for k, v in dataset.split_info.items() if not k.endswith("sha256")}
    found["dataset"] = {
        "type": type(dataset).__name__,
        "max_unreadable": dataset.max_unreadable,
        "split": {**split, "config": describe(config["dataset"].get("split"))},
        "sources": sources,
    }
    return found


def describe_loop(loop: Any) -> dict[str, Any]:
    found = {"type": type(loop).__name__, **read_attributes(loop)}
    for name in ("max_iters", "max_epochs"):
        if hasattr(loop, name):
            found[name] = getattr(loop, name)
    if hasattr(loop, "evaluator"):
        found["metrics"] = [
            {
                "type": type(metric).__name__,
                **read_attributes(metric),
                "gate": describe(getattr(metric, "gate", None)),
            }
            for metric in loop.evaluator.metrics
        ]
    return found


# Keys of a config that mmengine or mmseg's tools read and nothing above shows.
PLAIN_KEYS = (
    "auto_scale_lr",
    "custom_imports",
    "default_scope",
    "env_cfg",
    "find_unused_parameters",
    "load_from",
    "log_level",
    "log_processor",
    "randomness",
    "resume",
    "sync_bn",
    "tta_model",
    "tta_pipeline",
    "visualizer",
)


def record(path: Path) -> dict[str, Any]:
    """Build a config, and describe what was built."""
    config = Config.fromfile(path)
    plain = {key: describe(config.get(key)) for key in PLAIN_KEYS}
    config.work_dir = "work"
    config.experiment_name = str(path)
    config.visualizer.vis_backends = []
    config.log_level = "ERROR"
    config.launcher = "none"
    runner = Runner.from_cfg(config)
    with contextlib.suppress(Built):
        runner.train()
    plain["auto_scale_lr"] = describe(read_scaling(runner))
    test_loop = runner.build_test_loop(config.test_cfg)
    return {
        "model": describe_model(runner),
        "optimisers": describe_optimisers(runner),
        "schedulers": describe_schedulers(runner),
        "hooks": describe_hooks(runner.hooks),
        "train_loop": describe_loop(runner.train_loop),
        "val_loop": describe_loop(runner.val_loop),
        "test_loop": describe_loop(test_loop),
        "train_loader": describe_loader(runner.train_dataloader, config.train_dataloader),
        "val_loader": describe_loader(runner.val_loop.dataloader, config.val_dataloader),
        "test_loader": describe_loader(test_loop.dataloader, config.test_dataloader),
        "crop_size": describe(read_crop(config)),
        "config": plain,
    }


# --- Storing and comparing --------------------------------------------------------------------------


def share(value: Any, shared: dict[str, Any]) -> Any:
    """Replace each large part of a value by a reference to ``shared``."""
    if isinstance(value, dict):
        value = {key: share(item, shared) for key, item in value.items()}
    elif isinstance(value, list):
        value = [share(item, shared) for item in value]
    if not isinstance(value, (dict, list)) or len(json.dumps(value)) < 60:
        return value
    reference = "#" + sha256(value)[:10]
    shared[reference] = value
    return reference


def unshare(value: Any, shared: dict[str, Any]) -> Any:
    """Inverse of :func:`share`."""
    if isinstance(value, str) and value in shared:
        value = shared[value]
    if isinstance(value, dict):
        return {key: unshare(item, shared) for key, item in value.items()}
    return [unshare(item, shared) for item in value] if isinstance(value, list) else value


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves by path; a list of plain values is a leaf."""
    if isinstance(value, dict) and value:
        pairs = value.items()
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        pairs = enumerate(value)
    else:
        return {path: value}
    return {
        name: leaf
        for key, item in pairs
        for name, leaf in flatten(item, f"{path}.{key}" if path else str(key)).items()
    }


def compare(path_a: Path, path_b: Path) -> int:
    """Print each difference once with the configs that have it; 1 if there is any."""
    a, b = (json.loads(path.read_text()) for path in (path_a, path_b))
    differences: dict[tuple[str, str], list[str]] = {}
    for name in sorted(a["configs"].keys() | b["configs"].keys()):
        first, second = (
            flatten(unshare(one["configs"].get(name, {}), one["shared"])) for one in (a, b)
        )
        for path in sorted(first.keys() | second.keys()):
            old, new = (json.dumps(one[path]) if path in one else "-" for one in (first, second))
            if old != new:
                differences.setdefault((path, f"{old} -> {new}"), []).append(name)
    for (path, change), names in sorted(differences.items()):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"{path}: {change}\n    {len(names)}: {', '.join(names[:3])}{more}")
    print(
        f"{len(differences)} differences in {len(b['configs'])} configs" if differences else "equal"
    )
    return int(bool(differences))


def write(path: Path, configs: dict[str, Any]) -> None:
    """JSON with a line for each config and for each shared part."""
    shared: dict[str, Any] = {}
    rooms = {
        "configs": {
            name: {key: share(item, shared) for key, item in one.items()}
            for name, one in configs.items()
        }
    }
    rooms["shared"] = dict(sorted(shared.items()))
    blocks = []
    for room, entries in rooms.items():
        lines = (
            f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}"
            for key, value in entries.items()
        )
        blocks.append(f'"{room}":{{\n' + ",\n".join(lines) + "\n}")
    path.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where the recording goes")
    parser.add_argument("--configs", nargs="+", help="such as unimatch/voc_92; the default is all")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"))
    args = parser.parse_args()
    if args.compare:
        return compare(*args.compare)
    if not args.out:
        parser.error("give --out or --compare")
    out = args.out.resolve()
    paths = sorted((ROOT / "configs").glob("[!_]*/*.py"))
    configs = {f"{path.parent.name}/{path.stem}": path for path in paths}
    recorded = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), faked():
        for name in args.configs or configs:
            recorded[name] = record(configs[name])
            print(name, flush=True)
    write(out, recorded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
