# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Every shipped config: it loads, its model builds, its numbers fit together."""

from __future__ import annotations

import argparse
import copy
import re
from pathlib import Path

import pytest
import torch
import yaml
from config_files import batch_sizes_hw, load, on_meta
from mmengine.config import Config, DictAction
from mmseg.registry import DATASETS, MODELS, TASK_UTILS

from mmsemi.datasets.splits import PROTOCOLS, ids_sha256, read_id_list

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NAMES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.glob("*/*.py")
    if path.parent.name != "_base_"
)


@pytest.fixture(params=NAMES)
def config(request) -> Config:
    return load(request.param.removesuffix(".py"))


def without_weights(model: dict) -> dict:
    model = copy.deepcopy(model)
    model["segmentor"]["backbone"]["init_cfg"] = None
    return model


def test_the_model_builds_and_fits_the_classes(config):
    model = on_meta(config.model)
    dataset = DATASETS.get(config.val_dataloader.dataset.type)
    assert model.num_classes == len(dataset.METAINFO["classes"])
    assert model.data_preprocessor.size == tuple(config.crop_size)


def test_batch_schedule_and_crop_agree(config):
    loader = config.train_dataloader
    assert loader.batch_size == sum(loader.sampler.num_per_source.values())
    max_iters = config.train_cfg.max_iters
    assert config.train_cfg.type == "SemiIterBasedTrainLoop"
    (schedule,) = config.param_scheduler
    if schedule.type != "ReduceOnPlateauLR":  # runs until it stops by itself
        assert schedule.end == max_iters + 1
    assert max_iters % config.train_cfg.val_interval == 0 or max_iters > 10000
    for part in (loader.dataset.labeled, loader.dataset.unlabeled):
        assert batch_sizes_hw(part.pipeline) == [tuple(config.crop_size)]
        assert part.pipeline[-1].type == "PackSemiInputs"


def test_the_runtime_keeps_its_guards(config):
    hooks = config.default_hooks
    best = "mAP" if config.model.type == "MLMTClassifier" else "mIoU"
    assert hooks.checkpoint.type == "AtomicCheckpointHook" and hooks.checkpoint.save_best == best
    assert hooks.invalid_loss.type == "InvalidLossHook"
    assert "TensorboardVisBackend" in [backend.type for backend in config.vis_backends]
    assert config.custom_imports["imports"] == ["mmsemi"]
    assert config.test_pipeline  # mmseg's init_model reads it


def baseline_of(name: str) -> str:
    """The supervised config that a method's config, or the one that it continues, is a child of."""
    folder, stem = name.removesuffix(".py").split("/")
    (parent,) = re.findall(r'^_base_ = "(.+)\.py"$', (CONFIGS / name).read_text(), re.MULTILINE)
    if parent.startswith("../supervised/"):
        return parent.removeprefix("../")
    assert parent.startswith("./"), "a method's config is the child of a supervised one"
    # voc_1-4.py continues voc_1-8.py, with labels and a baseline of its own.
    own = f"supervised/{stem}_{folder}"
    return own if (CONFIGS / f"{own}.py").is_file() else baseline_of(f"{folder}/{parent[2:]}.py")


METHODS = [
    name
    for name in NAMES
    if not name.startswith(("supervised/", "mlmt/"))  # a classifier has no such baseline
    and name != "advsemiseg/voc_published_checkpoint.py"  # for tools/test.py alone
    and not name.startswith("advsemiseg/shapes_plateau_")  # a workflow with a baseline of its own
]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_and_its_baseline_share_everything_but_the_method(name):
    """The comparison is fair: same labels, pipeline, net, optimiser and iterations."""
    method, baseline = load(name.removesuffix(".py")), load(baseline_of(name))
    # A discriminator has an optimiser and a stream of its own; the rest is the baseline's.
    for key in ("constructor", "discriminator"):
        method.optim_wrapper.pop(key, None)
    assert set(method.train_dataloader.dataset.pop("sources", {})) <= {"gt"}
    if name.endswith("_legacy-lr.py"):  # test_configs_adversarial.py has its learning rates
        assert method.optim_wrapper.pop("paramwise_cfg") != baseline.optim_wrapper.pop(
            "paramwise_cfg"
        )
    for key in ("optim_wrapper", "param_scheduler", "train_cfg", "val_dataloader", "randomness"):
        assert method[key] == baseline[key], key
    assert method.model.segmentor == baseline.model.segmentor
    assert method.train_dataloader.dataset == baseline.train_dataloader.dataset
    counts = [c.train_dataloader.sampler.num_per_source for c in (method, baseline)]
    assert counts[0].labeled == counts[1].labeled and counts[1].unlabeled == 0


# cps.md sections 3 and 5: GPUs, labelled and unlabelled images a GPU, iterations, lambda.
PUBLISHED = {
    **{
        f"voc_1-{ratio}": (4, 2, 2, iterations, 1.5)
        for ratio, iterations in {16: 39680, 8: 39338, 4: 39680, 2: 39660}.items()
    },
    **{
        f"cityscapes_1-{ratio}": (8, 1, 1, iterations, 6)
        for ratio, iterations in {16: 44544, 8: 44525, 4: 44640, 2: 44640}.items()
    },
    **{f"voc_{count}": (4, 2, 4, 39660, 0.1) for count in (92, 183, 366, 732)},
}


PUBLISHED_SPLITS = {
    **{f"voc_1-{ratio}": f"cps_voc_1of{ratio}" for ratio in (16, 8, 4, 2)},
    **{f"cityscapes_1-{ratio}": f"cps_city_1of{ratio}" for ratio in (16, 8, 4, 2)},
    "voc_92": "cps_voc_pseudoseg_1of16",
    "voc_183": "cps_voc_pseudoseg_1of8",
    "voc_366": "cps_voc_pseudoseg_1of4",
    "voc_732": "cps_voc_pseudoseg_1of2",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name):
    gpus, labeled, unlabeled, iterations, weight = PUBLISHED[name]
    config = Config.fromfile(CONFIGS / "cps" / f"{name}.py")
    counts = config.train_dataloader.sampler.num_per_source
    assert (counts.labeled, counts.unlabeled) == (labeled, unlabeled)
    assert gpus * labeled == 8, "the total batch of every published run"
    assert config.auto_scale_lr.base_batch_size == gpus * (labeled + unlabeled)
    assert config.train_cfg.max_iters == iterations
    assert config.model.semi_train_cfg.unsup_weight == weight
    assert config.optim_wrapper.optimizer.lr == 0.0025
    assert config.optim_wrapper.optimizer.weight_decay == (4e-4 if gpus == 4 else 8e-4)
    is_few = "-" not in name
    assert (config.model.data_preprocessor.get("mix") is not None) == is_few
    assert config.train_dataloader.dataset.unlabeled.pool == ("all" if is_few else "rest")
    assert config.val_cfg.type == "TeacherStudentValLoop"
    split = config.train_dataloader.dataset.split
    assert split == dict(type="PublishedSplit", name=PUBLISHED_SPLITS[name])
    text = (CONFIGS / "cps" / f"{name}.py").read_text()
    assert f"{iterations:,} iterations" in text and f"configs/cps/{name}.py {gpus}" in text


@pytest.mark.parametrize("name", [name for name in PUBLISHED if not name.startswith("voc_1-")])
def test_a_missing_list_names_the_command_that_imports_it(name, tmp_path):
    split = Config.fromfile(CONFIGS / "cps" / f"{name}.py").train_dataloader.dataset.split
    with pytest.raises(FileNotFoundError) as error:
        TASK_UTILS.build({**split, "split_dir": str(tmp_path)})([])
    command = f"python tools/splits.py import --protocol {split.name} --file-labeled "
    assert command in str(error.value) and "charlesCXK/TorchSemiSeg" in str(error.value)
    # Where the authors' lists are at hand, the file that the message names is the right one.
    protocol = PROTOCOLS[split.name]
    file = protocol.files[0].labeled.removeprefix("DATA/")
    published = CONFIGS.parents[1] / "shared" / "reference_splits" / "cps" / file
    if published.is_file():
        assert ids_sha256(read_id_list(published)) == protocol.labeled.sha256


def test_published_splits_are_those_of_the_file_names():
    """``voc_92.py`` has 92 labelled images, ``cityscapes_1-16.py`` a split of 1/16."""
    checked = 0
    for name in NAMES:
        split = load(name.removesuffix(".py")).train_dataloader.dataset.get("split") or {}
        if split.get("type") != "PublishedSplit":
            continue
        protocol = TASK_UTILS.build(split).protocol
        number = int(re.search(r"_(?:1-)?(\d+)(?:_[\w-]+)?\.py$", name)[1])
        checked += 1
        if "1-" in name:
            total = protocol.labeled.count + protocol.unlabeled.count
            assert abs(protocol.labeled.count - total / number) < 2, name
        else:
            assert protocol.labeled.count == number, name
    assert checked >= 24


@pytest.mark.parametrize(
    ("name", "label", "check"),
    [
        ("voc_1-16", "CutMix, VOC", lambda c: c.model.semi_train_cfg.unsup_weight == 1),
        (
            "cityscapes_1-2",
            "CutMix, Cityscapes",
            lambda c: c.model.semi_train_cfg.unsup_weight == 5,
        ),
        ("voc_1-2", "ResNet-101", lambda c: c.model.segmentor.backbone.depth == 101),
        (
            "cityscapes_1-8",
            "another labelled subset",
            lambda c: (
                c.train_dataloader.dataset.split == dict(type="RatioSplit", ratio=0.125, seed=1)
            ),
        ),
        ("voc_1-8", "VOC on one GPU", lambda c: c.train_dataloader.batch_size == 16),
    ],
)
def test_the_overrides_of_the_readme_work(name, label, check):
    rows = (CONFIGS / "cps" / "README.md").read_text().splitlines()
    row = next(row for row in rows if row.startswith(f"| {label}"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    options = parser.parse_args(["--cfg-options", *row.split("`")[1].split()]).cfg_options
    config = Config.fromfile(CONFIGS / "cps" / f"{name}.py")
    config.merge_from_dict(options)
    assert check(config)
    loader = config.train_dataloader
    assert loader.batch_size == sum(loader.sampler.num_per_source.values())
    TASK_UTILS.build(loader.dataset.split)
    model = MODELS.build(without_weights(config.model))
    assert (model.data_preprocessor.mix is not None) == ("CutMix" in label)
    if "101" in label:  # one network: cps.md section 4, with OpenMMLab's narrower stem (T13)
        parameters = sum(p.numel() for p in model.branches[0].backbone.parameters())
        assert parameters == 42_623_936 - (23_631_808 - 23_527_264)


def test_every_config_is_in_its_metafile():
    for folder in {Path(name).parent for name in NAMES}:
        metafile = yaml.safe_load((CONFIGS / folder / "metafile.yml").read_text())
        listed = {entry["Config"] for entry in metafile["Models"]}
        assert listed == {f"configs/{name}" for name in NAMES if Path(name).parent == folder}
        assert (CONFIGS.parent / metafile["Collections"][0]["README"]).is_file()
        assert (CONFIGS.parent / metafile["Collections"][0]["Code"]["URL"]).is_file()


def test_decay_groups_of_the_published_schedule():
    """No weight decay on norms and biases (cps.md section 5)."""
    from mmengine.optim import build_optim_wrapper

    config = Config.fromfile(CONFIGS / "cps/voc_1-8.py")
    model = MODELS.build(without_weights(config.model))
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        is_conv_weight = parameter.dim() == 4
        assert decay[id(parameter)] == (4e-4 if is_conv_weight else 0.0), name
    assert torch.is_tensor(optimizer.param_groups[0]["params"][0])
