# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The config of own data as text, and how long its step takes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError, close_matches
from ..utils.config_files import find_config, load_config

DEFAULT_MODEL = "deeplabv3plus_efficientnet_lite0"


@dataclass(frozen=True)
class Method:
    """A method that `init` can write.

    Attributes:
        settings: Beside those of its base, as in its config for nuclei; ``{weight}`` is 100 for 21 classes.
        unlabeled: Unlabelled images for each labelled one in a batch.
    """

    settings: str = ""
    unlabeled: int = 1


# Without it a mean teacher or CPS hardly gains from few labels (docs/results/nuclei.md).
STRONG = 'strong=dict(type="StrongPhotometric")'
METHODS = {
    "fixmatch": Method('labels_from="teacher", momentum=0.02, sup_weight=1.0, unsup_weight=1.0'),
    "unimatch": Method("sup_weight=1.0, unsup_weight=1.0"),
    "unimatch_v2": Method("momentum=0.02, sup_weight=1.0, unsup_weight=1.0"),
    "prevmatch": Method("sup_weight=1.0, unsup_weight=1.0"),
    "augseg": Method("momentum=0.02"),
    "cps": Method(f'{STRONG}, mix=dict(type="CutMix"), unsup_weight=1.0', unlabeled=2),
    "mean_teacher": Method(
        STRONG + ", consistency_on_labeled=False, momentum=0.02, unsup_weight={weight:g}, "
        'predict_on="teacher"'
    ),
    "cutmix_mean_teacher": Method(
        f"{STRONG}, unsup_weight=5.0, confidence_threshold=0.9, momentum=0.02", unlabeled=2
    ),
    "supervised": Method(unlabeled=0),
}
#: Of shipped transformers, as published: learning rate, and the backbone's factor.
OPTIMIZERS = {"segformer_b0": (6e-4, 0.1), "dpt_dino": (2e-4, 0.025)}


@dataclass
class Plan:
    """What the config says.

    Attributes:
        method: A name of :data:`METHODS`.
        model: Name of a shipped base, or an mmseg config.
        classes: Names.
        label_table: Of the data set.
        void: Of the data set.
        lists: Name 'labeled', 'val', 'unlabeled' -> list file.
        unlabeled_dirs: Folders of the unlabelled images.
        crop: Side of the training crop.
        batch: Labelled images in a batch.
        workers: Processes of each loader.
        max_side: Images are made smaller until their long side has this; None leaves them.
        ignores_exif: Images are loaded as they are stored.
        max_iters: Length of the run.
        comments: First lines of the file.
    """

    method: str
    model: str
    classes: tuple[str, ...]
    label_table: dict[str, Any] | None
    void: Sequence[Any]
    lists: Mapping[str, str]
    unlabeled_dirs: Sequence[str]
    crop: int
    batch: int
    workers: int
    max_side: int | None
    ignores_exif: bool
    max_iters: int
    comments: Sequence[str] = field(default_factory=list)


# --- Models ---------------------------------------------------------------------------------------


def shipped_models() -> dict[str, Path]:
    """The shipped bases of segmentors by name."""
    folder = Path(find_config(f"_base_/models/{DEFAULT_MODEL}.py")).parent
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


@dataclass(frozen=True)
class Model:
    """A network to start from.

    Attributes:
        base: The ``_base_`` that has it.
        is_ours: It is a base of mmsemi; else a config of mmseg.
        heads: Its heads, with the key that sets their classes.
        weights: Weight files that it starts from.
        freezes_norms: Its backbone's batch norms come with statistics that few labels and small batches do not
            give (docs/batch_norm.md), and its config does not keep them yet.
        patch: Sides of crops are multiples of it.
        optimizer: Learning rate and the backbone's factor, where those of own_data.py do not suit the network.
        crop: Crop size that the config of mmseg sets, (height, width).
        has_pretrained: Its weights are named by ``model.pretrained``, mmseg's older form.
    """

    base: str
    is_ours: bool
    heads: tuple[str, ...]
    weights: tuple[str, ...]
    freezes_norms: bool = False
    patch: int = 1
    optimizer: tuple[float, float] | None = None
    crop: tuple[int, int] | None = None
    has_pretrained: bool = False


def find_model(name: str) -> Model:
    """A shipped base by its name (``deeplabv3plus_efficientnet_lite0``), or any mmseg config.

    Raises:
        ConfigError: There is none, or its heads cannot be set here.
    """
    bases = shipped_models()
    if name in bases:
        net = load_config(str(bases[name])).model.get("segmentor")
        if net is None:
            raise ConfigError(f"--model {name} is no segmentor (those are: {', '.join(bases)})")
        return Model(
            f"mmsemi::_base_/models/{name}.py",
            True,
            _heads(net),
            *_needs(net),
            optimizer=OPTIMIZERS.get(name),
        )
    if "::" not in name and not name.endswith(".py"):
        raise ConfigError(
            f"--model {name} is neither a shipped one ({', '.join(bases)}) nor a config of mmseg "
            f"(mmseg::pspnet/pspnet_r18-d8_....py, or a path){close_matches(name, bases)}"
        )
    path = find_config(name)
    net = load_config(path).get("model") or {}
    if "decode_head" not in net:
        raise ConfigError(
            f"--model {name} has no model.decode_head: it is no config of an mmseg segmentor"
        )
    crop = (net.get("data_preprocessor") or {}).get("size")
    base = name if "::" in name else str(Path(path).resolve())
    return Model(
        base,
        False,
        _heads(net),
        *_needs(net),
        crop=tuple(crop) if crop else None,
        has_pretrained=bool(net.get("pretrained")),
    )


def _needs(net: Mapping[str, Any]) -> tuple[tuple[str, ...], bool, int]:
    """Weight files, ``freezes_norms`` and ``patch`` of a segmentor's config; its backbone is built, without weights."""
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    from ..models.batch_norm import batch_norms

    init_default_scope("mmseg")
    backbone = MODELS.build(dict(net["backbone"], init_cfg=None))
    weights = _weights(net)
    keeps = getattr(backbone, "norm_eval", False)
    is_particular = hasattr(backbone, "check_sides")
    return (
        weights,
        bool(weights) and not keeps and bool(batch_norms(backbone)),
        backbone.patch_size if is_particular else 1,
    )


def _heads(net: Mapping[str, Any]) -> tuple[str, ...]:
    heads = []
    for key in ("decode_head", "auxiliary_head"):
        head = net.get(key)
        if isinstance(head, (list, tuple)):
            heads += [f"{key}[{number}]" for number in range(len(head))]
        elif head:
            heads.append(key)
    return tuple(heads)


def _weights(node: Any) -> tuple[str, ...]:
    if isinstance(node, Mapping):
        own = [node[k] for k in ("checkpoint", "pretrained") if isinstance(node.get(k), str)]
        return (*own, *(name for value in node.values() for name in _weights(value)))
    if isinstance(node, (list, tuple)):
        return tuple(name for value in node for name in _weights(value))
    return ()


# --- The text -------------------------------------------------------------------------------------


def config_text(plan: Plan, model: Model) -> str:
    """The config file."""
    method = METHODS[plan.method]
    bases = [model.base, "mmsemi::_base_/data/own_data.py"]
    if not model.is_ours:
        bases = [model.base]
    if plan.method != "supervised":
        bases.append(f"mmsemi::_base_/methods/{plan.method}.py")
    lines = [f"# {line}" for line in plan.comments]
    lines += ["_base_ = [", *(f'    "{base}",' for base in bases), "]"]
    lines += [f"classes = {_quoted(plan.classes)}", *_data_set(plan)]
    lines += _pipelines(plan, model)
    counts = f"labeled={plan.batch}, unlabeled={plan.batch * method.unlabeled}"
    delete = "" if model.is_ours else "_delete_=True, "
    size = plan.batch * (1 + method.unlabeled)
    lines += ["train_dataloader = dict("]
    if not model.is_ours:
        lines += [f"    batch_size={size},"]
    kind = "" if model.is_ours else 'type="MultiSourceSampler", '
    lines += [
        f"    num_workers={plan.workers},",
        f"    persistent_workers={plan.workers > 0},",
        f"    sampler=dict({delete}{kind}num_per_source=dict({counts})),",
        f"    dataset=dict({delete}" + ("" if model.is_ours else 'type="SemiDataset",'),
        f"        crop_size=({plan.crop}, {plan.crop}),",
        f"        labeled=dict(**mine, ann_file={_quoted(plan.lists['labeled'])}, pipeline=train_pipeline),",
    ]
    if "unlabeled" in plan.lists:
        dirs = list(plan.unlabeled_dirs)
        where = _quoted(dirs[0] if len(dirs) == 1 else dirs)
        lines += [
            f"        unlabeled=dict(img_dir={where}, ann_file={_quoted(plan.lists['unlabeled'])}),"
        ]
    lines += ["    ),", ")"]
    test = ", pipeline=test_pipeline" if any(line.startswith("test_p") for line in lines) else ""
    lines += [
        "val_dataloader = dict(",
        f"    num_workers={plan.workers},",
        f"    persistent_workers={plan.workers > 0},",
        f"    dataset=dict({delete}**mine, ann_file={_quoted(plan.lists['val'])}{test}),",
        ")",
        "test_dataloader = val_dataloader",
        *_model(plan, model),
    ]
    loop = "" if model.is_ours else '_delete_=True, type="SemiIterBasedTrainLoop", '
    lines += [f"train_cfg = dict({loop}max_iters={plan.max_iters}, num_validations=5)"]
    return "\n".join(lines) + "\n"


def _quoted(value: Any) -> str:
    """A value as Python, with double quotes as in all configs."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(k)}: {_quoted(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        text = ", ".join(map(_quoted, value))
        if isinstance(value, list):
            return f"[{text}]"
        return f"({text},)" if len(value) == 1 else f"({text})"
    return repr(value)


def _data_set(plan: Plan) -> list[str]:
    lines = ["mine = dict(", '    type="PairListDataset",', "    metainfo=dict(classes=classes),"]
    if plan.label_table is not None:
        lines.append(f"    label_table={_quoted(plan.label_table)},")
    if plan.void:
        lines.append(f"    void={_quoted(list(plan.void))},")
    return [*lines, ")"]


def _pipelines(plan: Plan, model: Model) -> list[str]:
    lines, load, small = [], "*_base_.load", ""
    if plan.ignores_exif or not model.is_ours:
        colours = ', color_type="color_ignore_orientation"' if plan.ignores_exif else ""
        lines.append(
            f'load = [dict(type="LoadImageFromFile"{colours}), dict(type="LoadAnnotations")]'
        )
        load = "*load"
    if plan.max_side:
        lines.append(
            f'smaller = dict(type="Resize", scale=({plan.max_side}, {plan.max_side}), keep_ratio=True)'
        )
        small = "smaller, "
    augment = "*_base_.augment"
    if not model.is_ours:
        lines += [
            "augment = [",
            '    dict(type="RandomRelativeResize", ratio_range=(0.75, 1.5)),',
            '    dict(type="RandomCrop"),',
            '    dict(type="RandomFlip", prob=0.5),',
            '    dict(type="PackSemiInputs"),',
            "]",
        ]
        augment = "*augment"
    lines.append(f"train_pipeline = [{load}, {small}{augment}]")
    if load == "*load" or small:
        # Labels are not made smaller for validation: predictions are brought to their size.
        image, mask = f"{load[1:]}[0]", f"{load[1:]}[1]"
        lines.append(f'test_pipeline = [{image}, {small}{mask}, dict(type="PackSegInputs")]')
    return lines


def _model(plan: Plan, model: Model) -> list[str]:
    settings = METHODS[plan.method].settings
    norms = "backbone_norm_eval=True, " if model.freezes_norms else ""
    if model.is_ours:
        start = "" if plan.method == "supervised" else "_base_.method, "
        heads = ", ".join(f"{head}=dict(num_classes=len(classes))" for head in model.heads)
        lines = [f"model = dict({start}{norms}segmentor=dict({heads}))"]
    else:
        start = 'type="Supervised", ' if plan.method == "supervised" else "**_base_.method, "
        lines = ["segmentor = _base_.model"]
        if model.has_pretrained:
            # A second network would find it, and what the first one made of it, in the same dictionary.
            weights = 'dict(type="Pretrained", checkpoint=segmentor.pop("pretrained"))'
            lines.append(f"segmentor.backbone.init_cfg = {weights}")
        lines += [f"segmentor.{head}.num_classes = len(classes)" for head in model.heads]
        lines += [
            f"segmentor.data_preprocessor.size = ({plan.crop}, {plan.crop})",
            f"model = dict(_delete_=True, {start}{norms}segmentor=segmentor)",
            'custom_imports = dict(imports=["mmsemi"], allow_failed_imports=False)',
            # Its end follows from the length of the run.
            'param_scheduler = [dict(type="PolyLR", power=0.9)]',
            'val_cfg = dict(_delete_=True, type="TeacherStudentValLoop")',
            "default_hooks = dict(",
            '    checkpoint=dict(_delete_=True, type="AtomicCheckpointHook", by_epoch=False),',
            '    diagnosis=dict(type="DiagnosisHook"),',
            '    progress=dict(type="ProgressHook"),',
            ")",
        ]
    if settings:
        # The published weight of a mean over 21 classes; over fewer, each counts more.
        settings = settings.format(weight=round(100 * len(plan.classes) / 21, 1))
        lines.append(f"model.update({settings})")
    if model.optimizer:
        rate, factor = model.optimizer
        lines += [
            "optim_wrapper = dict(",
            f"    optimizer=dict(lr={rate:g}),",
            f"    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult={factor:g}))),",
            ")",
        ]
    return lines


# --- Time -----------------------------------------------------------------------------------------


def seconds_per_step(config: Config, steps: int = 2) -> float:
    """Seconds of a training step of a config on this machine, after one that is not counted.

    Its loader's work is not in it, which other processes do. Random weights take as long. Its log is not
    shown.

    Args:
        config: The config.
        steps: Steps that are timed.
    """
    import torch
    from mmengine.dataset import pseudo_collate
    from mmengine.logging import MMLogger
    from mmengine.model import revert_sync_batchnorm
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATA_SAMPLERS, DATASETS, MODELS

    from ..datasets.semi_dataset import seeded

    init_default_scope("mmseg")
    MMLogger.get_current_instance().setLevel("WARNING")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dataset = DATASETS.build(config.train_dataloader.dataset)
    sampler = DATA_SAMPLERS.build(dict(config.train_dataloader.sampler, dataset=dataset, seed=0))
    with seeded(0):
        model = revert_sync_batchnorm(MODELS.build(config.model)).to(device).train()
        model.data_preprocessor.size = dataset.crop_size
        if model.has_teacher:
            model.teacher.start(model.student)
        optimizer = build_optim_wrapper(model, config.optim_wrapper)
        times = []
        for number in range(steps + 1):
            batch = pseudo_collate([dataset[draw] for draw in sampler.batch(number)])
            started = time.perf_counter()
            model.train_step(batch, optimizer)
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return sum(times[1:]) / steps
