# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Every shipped config: it loads, its model builds, its numbers fit together, the comparison is fair.

A test goes through all configs and reports all failures at once.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest
from config_files import (
    CONFIGS,
    NAMES,
    check_all,
    files_to_open,
    on_meta,
    pipelines,
    read,
    schedules,
)
from mmcv.transforms import Compose
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from mmseg.registry import DATASETS, TASK_UTILS, TRANSFORMS

from mmsemi.datasets.splits import PROTOCOLS
from mmsemi.datasets.splits.protocols import get_protocol
from mmsemi.errors import DataError
from mmsemi.utils.config_files import set_options

REPOSITORY = CONFIGS.parent


# ---------------------------------------------------------------- form


def test_a_config_is_four_short_files():
    def check(name: str, config: Config) -> Iterator[str]:
        path = CONFIGS / f"{name}.py"
        files, lines = files_to_open(path), len(path.read_text().splitlines())
        if len(files) > 4:
            yield f"{len(files)} files to open: {', '.join(sorted(f.name for f in files))}"
        if not 3 <= lines <= 9:
            yield f"{lines} lines"

    check_all(NAMES, check)


def test_equal_bodies_do_not_exist():
    bodies = {}
    for path in CONFIGS.glob("**/*.py"):
        body = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        bodies.setdefault((path.parent, *body), []).append(path.stem)
    assert not [stems for stems in bodies.values() if len(stems) > 1]


# ---------------------------------------------------------------- content


def test_models_build_and_everything_agrees():
    def check(name: str, config: Config) -> Iterator[str]:
        model, dataset = on_meta(config.model), config.train_dataloader.dataset
        data = config.val_dataloader.dataset
        known = data.get("metainfo") or DATASETS.get(data.type).METAINFO
        classes = len(known["classes"])
        if model.num_classes != classes:
            yield f"the head has {model.num_classes} classes, the data set {classes}"
        counts = config.train_dataloader.sampler.num_per_source
        sources = {"labeled", "unlabeled", *(dataset.get("sources") or {})}
        if not {source for source, count in counts.items() if count} <= sources:
            yield f"draws from {dict(counts)}, the data set has {sources}"
        if "batch_size" in config.train_dataloader or model.data_preprocessor.size is not None:
            yield "the batch and the crop are written twice"
        for source, pipeline in pipelines(config):
            sizes = {tuple(x.crop_size) for x in pipeline if "crop_size" in x}
            sizes |= {tuple(x.scale[::-1]) for x in pipeline if x.type == "Resize"}
            crop = dataset.get("crop_size")
            if (crop not in sizes) if crop else (len(sizes) != 1):
                yield f"the images of {source} come out as {sizes}, the crop is {crop}"
            if pipeline[-1].type != "PackSemiInputs":
                yield f"the pipeline of {source} ends in {pipeline[-1].type}"
            Compose([TRANSFORMS.build(transform) for transform in pipeline])
        if dataset.split is not None:
            TASK_UTILS.build(dataset.split)

    check_all(NAMES, check)


def test_the_length_is_one_value():
    def check(name: str, config: Config) -> Iterator[str]:
        length = config.train_cfg
        if length.type != "SemiIterBasedTrainLoop" or not isinstance(length.max_iters, int):
            yield f"train_cfg={length}"
        (schedule,), (filled,) = config.param_scheduler, schedules(config)
        if {"end", "by_epoch", "T_max"} & set(schedule) or "val_interval" in length:
            yield "something that follows from the length is written, too"
        if schedule.type != "ReduceOnPlateauLR" and filled["end"] != length.max_iters + 1:
            yield f"the schedule ends at {filled['end']}"
        if "interval" in config.default_hooks.checkpoint:
            yield "checkpoints have an interval of their own"
        if length.max_iters % length.get("num_validations", 10) > length.max_iters / 50:
            yield "the last validation comes long before the end"
        stated = re.search(r"([\d,]+) x ([\d,]+) = ([\d,]+) iterations", header(name))
        if stated:
            passes, each, total = (int(number.replace(",", "")) for number in stated.groups())
            if not passes * each == total == length.max_iters:
                yield f"the header says {stated[0]}, the loop {length.max_iters}"
        elif re.search(r"/(voc|cityscapes|coco|ade20k|context)_[\d-]+", name) and not re.search(
            r" as \S+\.py|[24]0,000 iterations|published", header(name)
        ):
            yield "the header does not say where the length comes from"

    check_all(NAMES, check)


def header(name: str) -> str:
    """The comment above a config, as one line."""
    lines = (CONFIGS / f"{name}.py").read_text().splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


def test_the_runtime_keeps_its_guards():
    def check(name: str, config: Config) -> Iterator[str]:
        hooks = config.default_hooks
        best = "mAP" if config.model.type == "MLMTClassifier" else "mIoU"
        if (hooks.checkpoint.type, hooks.checkpoint.save_best) != ("AtomicCheckpointHook", best):
            yield f"checkpoint={hooks.checkpoint}"
        if (hooks.invalid_loss.type, hooks.mask_check.type) != ("InvalidLossHook", "MaskCheckHook"):
            yield "a hook is missing"
        if "TensorboardVisBackend" not in [backend.type for backend in config.vis_backends]:
            yield "no TensorBoard"
        if config.custom_imports["imports"] != ["mmsemi"] or not config.test_pipeline:
            yield "mmseg's own tools cannot use it"

    check_all(NAMES, check)


@pytest.mark.parametrize("max_iters", [None, 77])
def test_a_run_has_what_the_config_leaves_out(max_iters, tmp_path):
    """Built by mmengine's own Runner, with the length as it is and given on the command line."""
    config = read("s4gan/shapes_1-8")
    options = {} if max_iters is None else {"train_cfg.max_iters": max_iters}
    config.merge_from_dict({
        "work_dir": str(tmp_path),
        "train_dataloader.dataset.labeled.data_root": str(tmp_path / "shapes"),
        "val_dataloader.dataset.data_root": str(tmp_path / "shapes"),
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "custom_hooks": [dict(type="PseudoLabelVisHook")],
        "visualizer.vis_backends": [],
        **options,
    })  # fmt: skip
    runner = Runner.from_cfg(config)
    length, interval = max_iters or 1200, (max_iters or 1200) // 5
    loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
    assert (loop.max_iters, loop.val_interval) == (length, interval)
    assert loop.dataloader.batch_sampler.batch_size == 24
    hooks = {type(hook).__name__: hook for hook in runner.hooks}
    assert (
        hooks["AtomicCheckpointHook"].interval == hooks["PseudoLabelVisHook"].interval == interval
    )
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for schedule in runner.build_param_scheduler(runner.param_schedulers).values():
        assert [(one.end, one.by_epoch) for one in schedule] == [(length + 1, False)]
    assert runner.model.data_preprocessor.size == (80, 80)


# ---------------------------------------------------------------- methods and baselines


FAMILIES = dict(
    fixmatch="_unimatch",
    unimatch="_unimatch",
    prevmatch="_unimatch",
    unimatch_v2="_unimatch_v2",
    augseg="_augseg",
    cac="_cac",
    u2pl="_u2pl",
    advsemiseg="_advsemiseg",
    s4gan="_s4gan",
)


def baseline_of(name: str) -> str:
    """The supervised config with which a method's config is compared."""
    folder, stem = name.split("/")
    stem = re.sub(r"_(fused|legacy-lr|adversarial|classmix)$", "", stem).replace(
        "full-resolution", "1-8"
    )
    stem = stem.replace("_cutmix_cac", "_cac")
    is_ours = stem.startswith(("camvid", "nuclei", "shapes"))
    return f"supervised/{stem}{'' if is_ours else FAMILIES.get(folder, '')}"


METHODS = [
    name
    for name in NAMES
    if not name.startswith(("supervised/", "mlmt/"))  # a classifier has no such baseline
    and name != "advsemiseg/voc_published_checkpoint"  # for tools/test.py alone
    and not name.startswith("advsemiseg/shapes_plateau_")  # a workflow with a baseline of its own
    and not name.startswith(("dst_cbc/", "dmt/", "st_plus_plus/"))  # several trainings
]


def test_a_method_and_its_baseline_share_everything_but_the_method():
    """The comparison is fair: same labels, pipeline, net, optimiser and iterations."""
    same = ("param_scheduler", "train_cfg", "val_dataloader", "randomness", "val_cfg",
            "val_evaluator", "auto_scale_lr", "custom_imports", "env_cfg")  # fmt: skip

    def check(name: str, _: Config) -> Iterator[str]:
        method, baseline = read(name), read(baseline_of(name))
        if name.endswith("_fused"):  # the baseline's evaluation, and another one beside it
            method.val_evaluator = method.val_evaluator[0]
        # A discriminator has an optimiser and a stream of its own; the rest is the baseline's.
        for key in ("constructor", "discriminator"):
            method.optim_wrapper.pop(key, None)
        if "cac" in name:  # pairs of crops, or none: how unlabelled images are cut is the method's
            for config in (method, baseline):
                config.train_dataloader.dataset.unlabeled.pop("pipeline", None)
        extra = {*(method.train_dataloader.dataset.pop("sources", None) or {})}
        baseline.train_dataloader.dataset.pop("sources", None)
        if not extra <= {"gt"}:
            yield f"draws from {extra}"
        if name.endswith("_legacy-lr"):  # test_configs_steps.py has its learning rates
            for config in (method, baseline):
                config.optim_wrapper.pop("paramwise_cfg")
        counts = [c.train_dataloader.sampler.pop("num_per_source") for c in (method, baseline)]
        if counts[0].labeled != counts[1].labeled or counts[1].labeled != sum(counts[1].values()):
            yield f"draws {counts}"
        for key in ("segmentor", "data_preprocessor"):
            if method.model[key] != baseline.model[key]:
                yield f"model.{key} differs"
        if baseline.model.type != "Supervised" or method.model.type == "Supervised":
            yield f"is a {method.model.type}"
        for key in (*same, "optim_wrapper", "train_dataloader"):
            if method.get(key) != baseline.get(key):
                yield f"{key} differs from {baseline_of(name)}"

    check_all(METHODS, check)


def test_fixmatch_differs_from_unimatch_in_the_method_alone():
    names = [name for name in NAMES if re.match(r"unimatch/(voc|coco|ade20k|cityscapes)_", name)]

    def check(name: str, _: Config) -> Iterator[str]:
        unimatch, fixmatch = read(name), read(name.replace("unimatch", "fixmatch"))
        kinds = fixmatch.model.pop("type"), unimatch.model.pop("type")
        own = fixmatch.model.pop("labels_from"), unimatch.model.pop("num_views")
        if (*kinds, *own) != ("FixMatch", "UniMatch", "student", 2):
            yield f"{kinds}, {own}"
        # Both as released.
        if (fixmatch.model.pop("labeled_forward"), unimatch.model.pop("joint_decoder")) != (
            "weak",
            True,
        ):
            yield "not the released form"
        for config in (unimatch, fixmatch):
            config.pop("method"), config.pop("released")
        if fixmatch.to_dict() != unimatch.to_dict():
            yield "differs in more than the method"

    check_all(names, check)


def test_what_is_derived_from_another_config_differs_in_that_alone():
    """Tests with MLMT, at full resolution, by other learning rates, without unlabelled images."""
    changes = {"_fused": {"val_evaluator", "test_evaluator", "gate"}, "_legacy-lr": {"optim_wrapper"},
               "full-resolution": {"test_dataloader"}, "_adversarial": {"train_dataloader"},
               "_classmix": {"model"}}  # fmt: skip
    derived = {name: suffix for name in METHODS for suffix in changes if name.endswith(suffix)}
    assert len(derived) == 19

    def check(name: str, config: Config) -> Iterator[str]:
        suffix = derived[name]
        other = read(name.replace("full-resolution", "1-8").removesuffix(suffix))
        keys = {*config, *other} - changes[suffix]
        for key in keys:
            if config.get(key) != other.get(key):
                yield f"{key} differs"

    check_all(derived, check)


# ---------------------------------------------------------------- labels and documents


def test_published_splits_are_those_of_the_file_names(tmp_path):
    """``voc_92.py`` has 92 labelled images; a list that is missing names the command to import it."""
    published = [
        name
        for name in NAMES
        if (read(name).train_dataloader.dataset.split or {}).get("type") == "PublishedSplit"
    ]
    assert len(published) > 120

    def check(name: str, config: Config) -> Iterator[str]:
        split = config.train_dataloader.dataset.split
        protocol = get_protocol(split.name)
        number = int(re.search(r"_(?:1-)?(\d+)(?:_[\w-]+)?$", name)[1])
        labeled = protocol.labeled.count
        total = labeled + protocol.unlabeled.count
        if (abs(labeled - total / number) >= 2) if "1-" in name else (labeled != number):
            yield f"{split.name} labels {labeled} of {total} images"
        if not protocol.is_regenerable:
            with pytest.raises((DataError, FileNotFoundError)) as error:
                TASK_UTILS.build({**split, "split_dir": str(tmp_path)})([])
            command = f"tools/splits.py import --protocol {split.name} --file-labeled "
            if command not in str(error.value) or split.name not in PROTOCOLS:
                yield f"without its list: {error.value}"

    check_all(published, check)


OVERRIDES = [
    (path.parent.name, row)
    for path in sorted(CONFIGS.glob("*/README.md"))
    for row in path.read_text().splitlines()
    if row.startswith("|") and re.search(r"\| `\S+=.*` \|$", row)
]


def test_the_overrides_of_the_readmes_work():
    """Each row, on the first file of each of its patterns: the config changes and still fits."""
    assert len(OVERRIDES) > 45
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    failures = []
    for folder, row in OVERRIDES:
        _, what, files, options, _ = row.split("|")
        words = ["--cfg-options", *options.strip(" `").split()]
        options = parser.parse_args(words).cfg_options
        for pattern in re.findall("`(.+?)`", files):
            stems = sorted(name.split("/")[1] for name in NAMES if name.startswith(f"{folder}/"))
            stem = next((stem for stem in stems if fnmatch(stem, pattern)), None)
            if stem is None:
                failures.append(f"{folder}: {what}: no file is {pattern}")
                continue
            config = read(f"{folder}/{stem}")
            set_options(config, options)
            if config.to_dict() == read(f"{folder}/{stem}").to_dict():
                failures.append(f"{folder}: {what}: nothing changes in {stem}")
            failures += [f"{folder}: {what}: {fault}" for fault in faults_of(what, config)]
    assert not failures, "\n".join(failures)


def faults_of(what: str, config: Config) -> Iterator[str]:
    """What does not fit in an overridden config."""
    model, loader = on_meta(config.model), config.train_dataloader
    counts = loader.sampler.num_per_source
    split = loader.dataset.split
    if split is not None and split.type == "PublishedSplit":
        get_protocol(split.name)
    elif split is not None:
        TASK_UTILS.build(split)
    for _, pipeline in pipelines(config):
        Compose([TRANSFORMS.build(transform) for transform in pipeline])
    if "OHEM" in what:
        each = int(re.search(r"([\d,]+) for each labelled image", what)[1].replace(",", ""))
        if config.model.segmentor.decode_head.loss_decode.min_kept != each * counts.labeled:
            yield "min_kept does not fit the labelled images"
    if what.strip().startswith("CutMix, ") and model.mix is None:
        yield "nothing is mixed"
    if getattr(model, "mix", None) is not None:
        distinct = counts.unlabeled // loader.sampler.get("copies", {}).get("unlabeled", 1)
        paths = [str(i % distinct) for i in range(counts.unlabeled)]
        model.mix.pair(paths)
    if "ResNet-101" in what and config.model.type == "CPS":
        # One network, with OpenMMLab's narrower stem: docs/methods/cps.md.
        parameters = sum(p.numel() for p in model.branches[0].backbone.parameters())
        if parameters != 42_623_936 - (23_631_808 - 23_527_264):
            yield f"{parameters} parameters"


def test_generated_files_are_up_to_date():
    script = REPOSITORY / "docs" / "generate_tables.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
