# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of the consistency methods against the numbers of their sources.

The numbers are typed from unimatch.md sections 2, 4, 6 and 9 and mean_teacher.md sections 2 to 7, not
from the configs; iterations are computed by the rule there.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from config_files import CONFIGS, FOLDERS, header, load, on_meta
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

from mmsemi.datasets.splits.protocols import get_protocol

# Images, epochs, crop, lr of the backbone, factor of the head, tau, classes.
UNIMATCH = {
    "voc": (10582, 80, 321, 0.001, 10, 0.95, 21),
    "cityscapes": (2975, 240, 801, 0.005, 1, 0.0, 19),
    "coco": (118287, 30, 513, 0.004, 10, 0.95, 81),
    "ade20k": (20210, 60, 513, 0.001, 10, 0.95, 150),  # ours, after VOC
}
# Split name -> labelled images.
LABELED = {
    **{f"voc_{n}": (f"classic_voc_{n}", n) for n in (92, 183, 366, 732, 1464)},
    **{f"voc_1-{r}": (f"cps_voc_1of{r}", n) for r, n in {16: 662, 8: 1323, 4: 2646}.items()},
    **{
        f"cityscapes_1-{r}": (f"cps_city_1of{r}", n)
        for r, n in {16: 186, 8: 372, 4: 744, 2: 1488}.items()
    },
    **{
        f"coco_1-{r}": (f"unimatch_coco_1of{r}", n)
        for r, n in {512: 232, 256: 463, 128: 925, 64: 1849, 32: 3697}.items()
    },
    **{
        f"ade20k_1-{r}": (f"v2_ade_1of{r}", n)
        for r, n in {64: 316, 32: 631, 16: 1263, 8: 2526, 4: 5052, 2: 10105}.items()
    },
}
GPUS, PER_GPU = 4, 2  # labelled, and as many unlabelled


# ---------------------------------------------------------------- UniMatch and FixMatch


def test_the_folders_have_exactly_these_files():
    ours = {"shapes_1-8", "camvid_1-8", "camvid_1-8_small"}
    assert {path.stem for path in (CONFIGS / "unimatch").glob("*.py")} == {*LABELED, *ours}
    assert {path.stem for path in (CONFIGS / "fixmatch").glob("*.py")} == {*LABELED, *ours}
    baselines = {path.stem for path in (CONFIGS / "supervised").glob("*_unimatch.py")}
    assert baselines == {f"{name}_unimatch" for name in LABELED}


@pytest.mark.parametrize("name", LABELED)
def test_unimatch_protocol(name):
    split, labeled = LABELED[name]
    total, epochs, crop, lr, factor, tau, classes = UNIMATCH[name.split("_")[0]]
    unlabeled = total - labeled
    per_epoch = math.floor(math.ceil(unlabeled / GPUS) / PER_GPU)
    iterations = per_epoch * epochs
    protocol = get_protocol(split)
    assert (protocol.labeled.count, protocol.unlabeled.count) == (labeled, unlabeled)

    config = load(f"unimatch/{name}")
    assert config.model.type == "UniMatch"
    dataset = config.train_dataloader.dataset
    assert dataset.split == dict(type="PublishedSplit", name=split)
    assert dataset.unlabeled.pool == "rest"
    counts = config.train_dataloader.sampler.num_per_source
    assert (counts.labeled, counts.unlabeled) == (PER_GPU, PER_GPU)
    assert config.auto_scale_lr.base_batch_size == GPUS * 2 * PER_GPU
    assert config.train_cfg.max_iters == iterations
    assert config.train_cfg.val_interval == config.default_hooks.checkpoint.interval == per_epoch
    assert config.model.semi_train_cfg == dict(threshold=tau)

    optimizer = config.optim_wrapper.optimizer
    assert optimizer == dict(type="SGD", lr=lr * factor, momentum=0.9, weight_decay=1e-4)
    multiplied = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
    assert config.optim_wrapper.paramwise_cfg == (multiplied if factor == 10 else {})
    (schedule,) = config.param_scheduler
    assert (schedule.power, schedule.eta_min, schedule.begin) == (0.9, 0.0, 0)

    for part in (dataset.labeled, dataset.unlabeled):
        resize, cut, flip = part.pipeline[-4:-1]
        assert resize == dict(type="RandomRelativeResize", ratio_range=(0.5, 2.0))
        assert cut == dict(type="RandomCrop", crop_size=(crop, crop))
        assert flip == dict(type="RandomFlip", prob=0.5)
    assert config.model.data_preprocessor.size == (crop, crop)
    assert config.model.data_preprocessor.get("test_cfg") is None, "images are not padded in tests"
    head, test = config.model.segmentor.decode_head, config.model.segmentor.test_cfg
    assert head.num_classes == classes
    if name.startswith("cityscapes"):
        assert head.loss_decode == dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=200_000)
        assert (test.mode, test.crop_size, test.stride) == ("slide", (801, 801), (534, 534))
    else:
        assert head.loss_decode == dict(type="PixelCrossEntropy")
        assert test.mode == "whole"

    for text in (header(f"unimatch/{name}"), header(f"supervised/{name}_unimatch")):
        assert f"{iterations:,} iterations" in text
        assert f"{labeled:,} labelled" in text and f"{unlabeled:,} unlabelled" in text
    assert f"dist_train.sh configs/unimatch/{name}.py {GPUS}" in header(f"unimatch/{name}")
    if not protocol.is_regenerable and not name.startswith("cityscapes"):
        command = f"tools/splits.py import --protocol {split} --file-labeled"
        assert command in header(f"supervised/{name}_unimatch")


def test_iterations_of_the_performance_notes():
    """The one number that the sources state themselves."""
    assert load("unimatch/voc_92").train_cfg.max_iters == 104_880


@pytest.mark.parametrize("name", LABELED)
def test_fixmatch_differs_from_unimatch_in_the_method_alone(name):
    fixmatch, unimatch = load(f"fixmatch/{name}"), load(f"unimatch/{name}")
    assert fixmatch.model.semi_train_cfg.pop("labels_from") == "student"
    assert unimatch.model.data_preprocessor.pop("num_student_views") == 2
    assert (fixmatch.model.pop("type"), unimatch.model.pop("type")) == ("FixMatch", "UniMatch")
    assert fixmatch.to_dict() == unimatch.to_dict()
    assert f"dist_train.sh configs/fixmatch/{name}.py {GPUS}" in header(f"fixmatch/{name}")


def test_views_of_unimatch():
    """Strong view and box of unimatch.md sections 2 and 3 are the defaults of their classes."""
    preprocessor = on_meta(load("unimatch/voc_92").model).data_preprocessor
    assert preprocessor.num_student_views == 2
    strong = MODELS.build(load("unimatch/voc_92").model.data_preprocessor.strong)
    assert strong.probabilities == (0.8, 0.2, 0.5)
    expected = [(0.5, 1.5)] * 3 + [(-0.25, 0.25), (0.1, 2.0)]
    torch.testing.assert_close(strong.ranges, torch.tensor(expected))
    mix = preprocessor.mix
    assert (mix.prob, mix.area_range, mix.pairing) == (0.5, (0.02, 0.4), "permute")
    assert mix.aspect_range == (0.3, 1 / 0.3)


@pytest.mark.parametrize(
    ("name", "total"), [("voc_92", 59_468_085), ("cityscapes_1-8", 59_467_571)]
)
def test_the_net_of_unimatch_has_the_published_size(name, total):
    """unimatch.md section 7, with the published stem and with OpenMMLab's."""
    model = load(f"unimatch/{name}").model
    narrow = on_meta(model)
    assert narrow.student.backbone.layer4[0].conv2.dilation == (1, 1)
    assert narrow.student.backbone.layer4[1].conv2.dilation == (2, 2)
    dropouts = [m.p for m in narrow.modules() if isinstance(m, torch.nn.Dropout)]
    assert not any(dropouts)
    model.segmentor.backbone.stem_channels = 128
    wide = on_meta(model)
    assert sum(p.numel() for p in wide.parameters()) == total
    assert sum(p.numel() for p in wide.student.backbone.parameters()) == 42_623_936
    assert sum(p.numel() for p in narrow.parameters()) == total - (23_631_808 - 23_527_264)


@pytest.mark.parametrize(("name", "backbone", "head"), [
    ("unimatch/voc_92", 0.001, 0.01),
    ("fixmatch/cityscapes_1-8", 0.005, 0.005),
])  # fmt: skip
def test_optimiser_groups_of_unimatch(name, backbone, head):
    config = load(name)
    model = on_meta(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(groups) == len(list(model.parameters()))
    for key, parameter in model.named_parameters():
        lr = backbone if key.startswith("student.backbone") else head
        assert groups[id(parameter)]["lr"] == pytest.approx(lr), key
        assert groups[id(parameter)]["weight_decay"] == 1e-4, key


def test_weak_augmentation_of_unimatch_runs(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "x.jpg")
    Image.fromarray(image[..., 0] % 21).save(tmp_path / "x.png")
    dataset = load("unimatch/voc_92").train_dataloader.dataset
    for part in (dataset.labeled, dataset.unlabeled):
        pipeline = Compose([TRANSFORMS.build(transform) for transform in part.pipeline])
        results = dict(
            img_path=str(tmp_path / "x.jpg"), seg_map_path=str(tmp_path / "x.png"),
            seg_fields=[], reduce_zero_label=False, label_map=None,
        )  # fmt: skip
        packed = pipeline(results)
        assert max(packed["inputs"].shape[-2:]) <= 321
        assert ("gt_sem_seg" in packed["data_samples"]) == (part is dataset.labeled)


# ---------------------------------------------------------------- mean teacher

# GPUs, labelled images a GPU, iterations (those of CPS).
TEACHER = {
    **{
        f"voc_1-{ratio}": (4, 2, iterations)
        for ratio, iterations in {16: 39680, 8: 39338, 4: 39680, 2: 39660}.items()
    },
    **{
        f"cityscapes_1-{ratio}": (8, 1, iterations)
        for ratio, iterations in {16: 44544, 8: 44525, 4: 44640, 2: 44640}.items()
    },
}


@pytest.mark.parametrize("folder", ["mean_teacher", "cutmix_mean_teacher"])
@pytest.mark.parametrize("name", TEACHER)
def test_mean_teacher_settings(name, folder):
    gpus, labeled, iterations = TEACHER[name]
    is_cutmix = folder.startswith("cutmix")
    unlabeled = 2 * labeled if is_cutmix else labeled
    config = load(f"{folder}/{name}")
    counts = config.train_dataloader.sampler.num_per_source
    assert (counts.labeled, counts.unlabeled) == (labeled, unlabeled)
    assert config.auto_scale_lr.base_batch_size == gpus * (labeled + unlabeled)
    assert config.train_cfg.max_iters == iterations
    assert config.optim_wrapper.optimizer.lr == 0.0025
    assert config.optim_wrapper.optimizer.weight_decay == (4e-4 if gpus == 4 else 8e-4)
    split = f"cps_{name.replace('cityscapes', 'city').replace('1-', '1of')}"
    count = get_protocol(split).labeled.count
    text = header(f"{folder}/{name}")
    assert f"{iterations:,} iterations" in text and f"{count:,} labelled" in text
    assert f"configs/{folder}/{name}.py {gpus}" in text

    model = on_meta(config.model)
    cfg = model.semi_train_cfg
    assert cfg["momentum"] == 0.01 and cfg["rampup_iters"] == 0
    # The average of TorchSemiSeg in both: before the step, the teacher's statistics its own.
    assert (cfg["ema_when"], cfg["buffers"], cfg["teacher_mode"]) == ("mid", "keep", "train")
    if is_cutmix:
        assert "An approximation" in text
        mix = model.data_preprocessor.mix
        assert (mix.num_boxes, mix.area_range, mix.pairing) == (1, (0.5, 0.5), "halves")
        assert (cfg["unsup_weight"], cfg["consistency"]) == (1.0, "squared_distance")
        assert (cfg["confidence_threshold"], cfg["confidence_mode"]) == (0.97, "mean")
        assert not cfg["consistency_on_labeled"] and cfg["ignore_padding"]
        assert model.semi_test_cfg["predict_on"] == "teacher"
    else:
        assert model.data_preprocessor.mix is model.data_preprocessor.strong is None
        assert (cfg["unsup_weight"], cfg["consistency"]) == (100.0, "mse")
        assert cfg["confidence_threshold"] is None and cfg["consistency_on_labeled"]
        assert model.semi_test_cfg["predict_on"] == "student"


# ---------------------------------------------------------------- all four


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(("name", "labeled"), [("camvid_1-8", 8), ("camvid_1-8_small", 4)])
def test_camvid_settings(folder, name, labeled):
    config = load(f"{folder}/{name}")
    counts = config.train_dataloader.sampler.num_per_source
    unlabeled = labeled * (2 if folder.startswith("cutmix") else 1)
    assert (counts.labeled, counts.unlabeled) == (labeled, unlabeled)
    assert config.model.semi_train_cfg.rampup_iters == config.train_cfg.max_iters // 2
    assert config.model.segmentor.backbone.get("init_cfg") is None, "why there is a ramp-up"
    if folder == "fixmatch":
        assert config.model.semi_train_cfg.labels_from == "teacher"


def shrunk(name: str) -> tuple[Config, torch.nn.Module]:
    """A published config with its method, counts and preprocessor, around a very narrow net."""
    config = load(name)
    segmentor = config.model.segmentor
    bn = dict(type="BN", requires_grad=True)
    segmentor.backbone.update(
        depth=50, base_channels=4, stem_channels=4, init_cfg=None, norm_cfg=ConfigDict(bn)
    )
    segmentor.decode_head.update(
        in_channels=[16, 128], channels=8, c1_channels=4, norm_cfg=ConfigDict(bn)
    )
    config.model.data_preprocessor.update(size=(49, 49))
    return config, MODELS.build(config.model)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_published_config_trains_one_step(folder):
    """Counts, views, CutMix and loss fit together with the number of images of one GPU."""
    config, model = shrunk(f"{folder}/voc_1-8")
    model.train()
    if model.has_teacher:
        model.teacher_hook_attached, model.update_teacher = True, lambda: None
    images, samples = [], []
    for source, count in config.train_dataloader.sampler.num_per_source.items():
        for number in range(count):
            images.append(torch.randint(0, 255, (3, 49, 40 + number), dtype=torch.uint8))
            sample = SegDataSample(metainfo=dict(source=source, img_path=f"{source}{number}"))
            if source == "labeled":
                mask = torch.randint(0, 21, (1, 49, 40 + number), dtype=torch.uint8)
                sample.set_data(dict(gt_sem_seg=PixelData(data=mask)))
            samples.append(sample)
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    losses = model(**batch, mode="loss")
    total = sum(value for key, value in losses.items() if "loss" in key)
    assert total.isfinite() and any(key.startswith("unsup.loss") for key in losses)
    total.backward()
    assert all(p.grad is not None for p in model.student.parameters())


def test_classes_of_the_data_sets():
    for name in LABELED:
        dataset = load(f"supervised/{name}_unimatch").val_dataloader.dataset
        classes = DATASETS.get(dataset.type).METAINFO["classes"]
        assert len(classes) == UNIMATCH[name.split("_")[0]][6]
