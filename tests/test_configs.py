# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Every shipped config: it loads, its model builds, its numbers fit together."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NAMES = sorted(
    str(path.relative_to(CONFIGS)) for path in CONFIGS.glob("*/*.py") if path.parent.name != "_base_"
)


@pytest.fixture(params=NAMES)
def config(request) -> Config:
    return Config.fromfile(CONFIGS / request.param)


def without_weights(model: dict) -> dict:
    model = copy.deepcopy(model)
    model["segmentor"]["backbone"]["init_cfg"] = None
    return model


def test_the_model_builds_and_fits_the_classes(config):
    model = MODELS.build(without_weights(config.model))
    dataset = DATASETS.get(config.val_dataloader.dataset.type)
    assert model.num_classes == len(dataset.METAINFO["classes"])
    assert model.data_preprocessor.size == tuple(config.crop_size)


def test_batch_schedule_and_crop_agree(config):
    loader = config.train_dataloader
    assert loader.batch_size == sum(loader.sampler.num_per_source.values())
    max_iters = config.train_cfg.max_iters
    assert config.train_cfg.type == "SemiIterBasedTrainLoop"
    assert [s.end for s in config.param_scheduler] == [max_iters + 1]
    assert max_iters % config.train_cfg.val_interval == 0 or max_iters > 10000
    for part in (loader.dataset.labeled, loader.dataset.unlabeled):
        crops = [t.crop_size for t in part.pipeline if t.type == "RandomCrop"]
        assert [tuple(crop) for crop in crops] == [tuple(config.crop_size)]
        assert part.pipeline[-1].type == "PackSemiInputs"


def test_the_runtime_keeps_its_guards(config):
    hooks = config.default_hooks
    assert hooks.checkpoint.type == "AtomicCheckpointHook" and hooks.checkpoint.save_best == "mIoU"
    assert hooks.invalid_loss.type == "InvalidLossHook"
    assert "TensorboardVisBackend" in [backend.type for backend in config.vis_backends]
    assert config.custom_imports["imports"] == ["mmsemi"]
    assert config.test_pipeline  # mmseg's init_model reads it


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("cps/")])
def test_a_method_and_its_baseline_share_everything_but_the_method(name):
    """The comparison is fair: same labels, pipeline, net, optimiser and iterations."""
    method = Config.fromfile(CONFIGS / name)
    baseline = Config.fromfile(CONFIGS / "supervised" / Path(name).name)
    for key in ("optim_wrapper", "param_scheduler", "train_cfg", "val_dataloader", "randomness"):
        assert method[key] == baseline[key], key
    assert method.model.segmentor == baseline.model.segmentor
    assert method.train_dataloader.dataset == baseline.train_dataloader.dataset
    counts = [c.train_dataloader.sampler.num_per_source for c in (method, baseline)]
    assert counts[0].labeled == counts[1].labeled and counts[1].unlabeled == 0


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
