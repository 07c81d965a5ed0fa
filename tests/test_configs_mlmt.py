# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""MLMT's configs against the numbers of s4gan_mlmt.md sections 2b, 3, 5, 6 and 10."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import yaml
from config_files import CONFIGS, header, load, on_meta
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmseg.registry import HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from PIL import Image
from torch import nn

from mmsemi.datasets.splits.protocols import get_protocol

# Labelled images and the iterations of a pass over them, 16 at a time.
PUBLISHED = {"voc_1-8": (1322, 83), "voc_1-20": (529, 34), "voc_1-50": (211, 14)}


def test_the_folder_has_exactly_these_files():
    found = {path.stem for path in (CONFIGS / "mlmt").glob("*.py")}
    assert found == {*PUBLISHED, "shapes_1-8"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name):
    labeled, epoch_iters = PUBLISHED[name]
    assert epoch_iters == math.ceil(labeled / 16)
    config = load(f"mlmt/{name}")
    split = config.train_dataloader.dataset.split
    assert split == dict(type="PublishedSplit", name=f"s4gan_{name.replace('1-', '1of')}")
    protocol = get_protocol(split.name)
    assert protocol.labeled.count == labeled
    sampler = config.train_dataloader.sampler
    assert sampler.num_per_source == dict(labeled=16, unlabeled=80)
    assert config.train_dataloader.dataset.unlabeled.pool == "rest"
    assert config.train_cfg.max_iters == 100 * epoch_iters
    assert config.train_cfg.val_interval == 5 * epoch_iters
    assert config.val_dataloader.batch_size == 32

    cfg = on_meta(config.model).semi_train_cfg
    assert (cfg["epochs"], cfg["epoch_iters"]) == (100, epoch_iters)
    assert (cfg["start_epoch"], cfg["consistency_weight"], cfg["momentum"]) == (10, 1.0, 0.001)
    assert (cfg["teacher_mode"], cfg["buffers"]) == ("train", "keep")
    assert config.model.semi_test_cfg.predict_on == "teacher"
    text = header(f"mlmt/{name}")
    assert f"{labeled:,} labelled and {protocol.unlabeled.count:,} unlabelled" in text
    assert f"{100 * epoch_iters:,} iterations (100 passes of {epoch_iters} over" in text
    assert f"--protocol {split.name} --file-labeled split_0.pkl" in text


def test_strong_view():
    strong = MODELS.build(load("mlmt/voc_1-8").model.data_preprocessor.strong)
    assert strong.probabilities == (1.0, 0.0, 1.0)  # jitter, grey, blur
    expected = [(0.6, 1.4)] * 3 + [(-0.1, 0.1), (0.1, 2.0)]
    torch.testing.assert_close(strong.ranges, torch.tensor(expected))


def test_network_and_optimiser():
    config = load("mlmt/voc_1-8")
    model = on_meta(config.model)
    # torchvision's ResNet-101 has 44,549,160 parameters, 2,049,000 of them in its last layer.
    count = sum(p.numel() for p in model.student.parameters())
    assert count == 44_549_160 - 2_049_000 + 21 * 2049
    assert model.student.backbone.layer1[0].conv2.stride == (1, 1)
    assert model.student.backbone.layer2[0].conv2.stride == (2, 2), "torchvision's place"
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.SGD and len(optimizer.param_groups) == 1
    (group,) = optimizer.param_groups
    settings = (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"])
    assert settings == (0.03, 0.9, True, 1e-5)
    (hook,) = model.required_hooks()
    hook = HOOKS.build(hook)
    assert (hook.momentum, hook.warmup, hook.warmup_start) == (0.001, True, 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_learning_rate(name):
    """K11, where an epoch starts."""
    config, epoch_iters = load(f"mlmt/{name}"), PUBLISHED[name][1]
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=config.optim_wrapper.optimizer.lr)
    (schedule,) = config.param_scheduler
    scheduler = PARAM_SCHEDULERS.build(dict(schedule, optimizer=optimizer))
    found = {}
    for iteration in range(config.train_cfg.max_iters):
        found[iteration] = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
    answers = {0: 0.03, 25: 0.0256212, 50: 0.01505, 99: 1.07377e-4}
    for epoch, rate in answers.items():
        assert found[epoch * epoch_iters] == pytest.approx(rate, rel=1e-5), epoch


@pytest.fixture
def picture(tmp_path):
    """An image whose class 5 is one pixel, which resizing to 320x320 loses."""
    image = np.random.default_rng(0).integers(0, 255, (500, 600, 3), dtype=np.uint8)
    mask = np.zeros((500, 600), np.uint8)
    mask[249, 300], mask[:, -9:] = 5, 255
    Image.fromarray(image).save(tmp_path / "x.jpg")
    Image.fromarray(mask).save(tmp_path / "x.png")
    return dict(
        img_path=str(tmp_path / "x.jpg"), seg_map_path=str(tmp_path / "x.png"),
        seg_fields=[], reduce_zero_label=False, label_map=None,
    )  # fmt: skip


def run(pipeline, picture):
    return Compose([TRANSFORMS.build(step) for step in pipeline])(dict(picture, seg_fields=[]))


def test_views_of_whole_images(picture):
    config = load("mlmt/voc_1-8")
    dataset = config.train_dataloader.dataset
    labeled, unlabeled = (run(dataset[name].pipeline, picture) for name in ("labeled", "unlabeled"))
    for packed in (labeled, unlabeled):
        assert packed["inputs"].shape == (3, 320, 320)
    assert labeled["data_samples"].image_labels == (0, 5)
    assert 5 not in labeled["data_samples"].gt_sem_seg.data
    assert "image_labels" not in unlabeled["data_samples"]
    tested = run(config.val_dataloader.dataset.pipeline, picture)
    assert tested["inputs"].shape == (3, 320, 320)
    assert tested["data_samples"].gt_sem_seg.shape == (500, 600), "the truth has the file's size"
    assert config.val_evaluator.type == "ImageLevelMetric"


def test_a_step_of_the_published_config(picture):
    """Pipelines, preprocessor and a narrow net fit together; 2 + 4 images of half the size."""
    config = load("mlmt/voc_1-8")
    backbone, head = config.model.classifier.backbone, config.model.classifier.head
    backbone.update(depth=18, base_channels=4, stem_channels=4, init_cfg=None)
    head.in_channels = 32
    model = MODELS.build(config.model).train()
    model.teacher_hook_attached = True
    batch = []
    for source, count in (("labeled", 2), ("unlabeled", 4)):
        for _ in range(count):
            packed = run(config.train_dataloader.dataset[source].pipeline, picture)
            packed["data_samples"].set_metainfo(dict(source=source))
            batch.append(packed)
    data = model.data_preprocessor(pseudo_collate(batch), training=True)
    losses = model(**data, mode="loss")
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert losses["unsup.distance"] > 0 and losses["unsup.loss_consistency"] == 0
    assert all(p.grad is not None for p in model.student.parameters())


def test_the_built_in_config_shares_its_labels_with_the_segmentor():
    ours, theirs = load("mlmt/shapes_1-8"), load("supervised/shapes_1-8")
    assert ours.train_dataloader.dataset.split == theirs.train_dataloader.dataset.split
    assert ours.train_dataloader.sampler.num_per_source.labeled * ours.epoch_iters == 32
    assert ours.model.semi_train_cfg.epoch_iters * ours.epochs == ours.train_cfg.max_iters
    steps = [step.type for step in ours.train_dataloader.dataset.labeled.pipeline]
    assert steps.index("AddImageLabels") == steps.index("RandomCrop") + 2 == len(steps) - 2
    assert ours.val_evaluator == ours.test_evaluator
    assert ours.val_dataloader == ours.test_dataloader == theirs.val_dataloader


def test_the_metafile_agrees_with_the_configs():
    metafile = yaml.safe_load((CONFIGS / "mlmt" / "metafile.yml").read_text())
    for entry in metafile["Models"]:
        stem = entry["Name"].removeprefix("mlmt_")
        config, data = load(f"mlmt/{stem}"), entry["Metadata"]
        assert entry["Config"] == f"configs/mlmt/{stem}.py"
        assert data["Iterations"] == config.train_cfg.max_iters
        assert data["Batch Size"] == config.train_dataloader.batch_size
        if stem in PUBLISHED:
            assert f", {PUBLISHED[stem][0]} labelled" in data["Training Data"]
