# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of AdvSemiSeg, s4GAN and MLMT against the numbers of their sources.

The numbers are typed from the papers and released codes, not from the configs; docs/methods cites them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from config_files import (
    POLY,
    check_all,
    differing,
    on_meta,
    read,
    schedules,
    settings_of,
    sgd,
)
from mmengine.config import Config
from mmseg.registry import TASK_UTILS

from mmsemi.checkpoint_converters.deeplabv2 import preprocessor


class Data(NamedTuple):
    """A data set: training images, classes, crop, size that test images are padded to."""

    images: int
    classes: int
    crop: tuple[int, int]
    padded: tuple[int, int] | None


VOC = Data(10582, 21, (321, 321), (505, 505))
CONTEXT = Data(4998, 60, (321, 321), None)
CITY, CITY_WHOLE = (Data(2975, 19, crop, None) for crop in ((256, 512), (512, 1024)))


class Setting(NamedTuple):
    """A published setting: labelled images, images per source, iterations, lr of both networks."""

    data: Data
    labeled: int
    batch: tuple[int, int, int]  # labelled, unlabelled, ground truth
    iterations: int
    weights: str
    lr: float = 2.5e-4
    lr_discriminator: float = 1e-4
    threshold: float | None = None  # None: the method's default
    split: str | None = None  # None: a seeded draw, or all labels


ADVERSARIAL = {
    **{
        f"advsemiseg/voc_{name}": Setting(VOC, n, (10, u, 10), 20000, "coco")
        for name, n, u in [
            ("1-8", 1322, 10), ("1-4", 2645, 10), ("1-2", 5291, 10), ("full", 10582, 0),
            ("1-8_adversarial", 1322, 0), ("1-8_legacy-lr", 1322, 10),
        ]
    },
    "advsemiseg/voc_1464": Setting(
        VOC, 1464, (10, 10, 10), 20000, "coco", split="classic_voc_1464"
    ),
    **{
        f"advsemiseg/cityscapes_{name}": Setting(CITY_WHOLE, n, (2, u, 2), 40000, "coco")
        for name, n, u in [("1-8", 371, 2), ("1-4", 743, 2), ("1-2", 1487, 2), ("full", 2975, 0)]
    },
    **{
        f"s4gan/voc_{name}": Setting(VOC, n, (8, 8, 8), 40000, weights, split=split)
        for name, n, weights, split in [
            ("1-50", 211, "imagenet", "s4gan_voc_1of50"),
            ("1-20", 529, "imagenet", "s4gan_voc_1of20"),
            ("1-8", 1322, "imagenet", "s4gan_voc_1of8"),
            ("1-8_legacy-lr", 1322, "imagenet", "s4gan_voc_1of8"),
            ("full", 10582, "imagenet", None),
            ("1-50_coco", 211, "coco", "s4gan_voc_1of50"),
            ("1-20_coco", 529, "coco", "s4gan_voc_1of20"),
            ("1-8_coco", 1322, "coco", "s4gan_voc_1of8"),
            ("full_coco", 10582, "coco", None),
        ]
    },
    **{
        f"s4gan/context_{r}": Setting(CONTEXT, n, (8, 8, 8), 40000, "imagenet")
        for r, n in {"1-8": 624, "1-4": 1249, "full": 4998}.items()
    },
    **{
        f"s4gan/cityscapes_{r}": Setting(CITY, n, (8, 8, 8), 40000, "imagenet", 2.5e-4, 1e-5, 0.7)
        for r, n in {"1-8": 371, "1-4": 743, "full": 2975}.items()
    },
    "s4gan/cityscapes_1-10_wrn38": Setting(
        CITY, 297, (8, 8, 8), 40000, "wrn38", 1e-3, 1e-5, 0.55
    ),
}  # fmt: skip
RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
CAFFE = dict(mean=[104.00698793, 116.66876762, 122.67891434], std=[1.0] * 3, bgr_to_rgb=False)


def test_adversarial_protocols():
    def check(name: str, config: Config):
        setting = ADVERSARIAL[name]
        data, dataset = setting.data, config.train_dataloader.dataset
        found = settings_of(config)
        expected = dict(
            batch=setting.batch, total=sum(setting.batch), iterations=setting.iterations,
            validations_each=5000, optimizer=sgd(setting.lr, 5e-4), schedule=POLY,
            labels=setting.split, crop=None if data is CITY_WHOLE else data.crop,
        )  # fmt: skip
        yield from differing(found, expected)
        adam = dict(type="Adam", lr=setting.lr_discriminator, betas=(0.9, 0.99))
        if config.optim_wrapper.discriminator.optimizer != adam:
            yield f"discriminator={config.optim_wrapper.discriminator}"
        if not isinstance(config.param_scheduler, list):
            yield "a list holds for both optimisers"
        ids = [f"{number:05}" for number in range(data.images)]
        labeled = found["labeled"]
        if dataset.split is None:
            labeled = len(ids)
            if found["pool"] != ("all" if setting.batch[1] else "rest"):
                yield f"unlabelled images are {found['pool']}"
        elif setting.split is None:
            if dataset.split.seed != 0:
                yield "another draw"
            labeled = len(TASK_UTILS.build(dataset.split)(ids)[0])
        if labeled != setting.labeled or dataset.sources.gt.pool != "labeled":
            yield f"{labeled} labelled images"

        model = on_meta(config.model)
        if name.startswith("advsemiseg"):
            wanted = dict(adv_weight=0.01, unsup_adv_weight=0.001, unsup_weight=0.1,
                          unsup_start=5000, unsup_adv_start=0, judge_unlabeled=True,
                          threshold=0.2)  # fmt: skip
            parameters = 2_783_169 - (21 - data.classes) * 64 * 16
        else:
            wanted = dict(matching_weight=0.1, unsup_weight=1.0, unsup_start=1,
                          score_mode="train", threshold=setting.threshold or 0.6)  # fmt: skip
            parameters = {21: 2_778_561, 60: 2_818_497, 19: 2_776_513}[data.classes]
        yield from differing(vars(model.settings), wanted)
        if sum(p.numel() for p in model.discriminator.parameters()) != parameters:
            yield "another discriminator"
        if (type(model).__name__.lower(), model.num_classes) != (name.split("/")[0], data.classes):
            yield f"a {type(model).__name__} of {model.num_classes} classes"
        yield from differing_input(setting, config)
        # The released commands evaluate this one on VOC and Cityscapes.
        kept = [30000] if name.startswith(("s4gan/voc", "s4gan/cityscapes")) else None
        if config.default_hooks.checkpoint.get("keep") != kept:
            yield f"checkpoint={config.default_hooks.checkpoint}"

    check_all(ADVERSARIAL, check)


def differing_input(setting: Setting, config: Config):
    """Which weights, and the input that they were trained with."""
    segmentor, processor = config.model.segmentor, config.model.data_preprocessor
    backbone, head = segmentor.backbone, segmentor.decode_head
    yield from differing(processor, CAFFE if setting.weights == "coco" else RGB)
    if (processor.get("test_cfg") or {}).get("size") != setting.data.padded:
        yield f"test images are padded to {processor.get('test_cfg')}"
    if segmentor.test_cfg != dict(mode="whole") or head.loss_decode.type != "PixelCrossEntropy":
        yield "another test or loss"
    if setting.weights == "wrn38":
        if backbone.type != "WiderResNet38" or not backbone.norm_cfg.requires_grad:
            yield f"backbone={backbone}"
        return
    is_coco = setting.weights == "coco"
    expected = dict(type="CeilPoolResNet", style="caffe" if is_coco else "pytorch", norm_eval=False)
    yield from differing(backbone, expected)
    if backbone.norm_cfg.requires_grad:
        yield "scale and shift of the norms are trained"
    checkpoint = "checkpoints/deeplabv2_r101_coco.pth"
    if backbone.init_cfg.checkpoint != (checkpoint if is_coco else "torchvision://resnet101"):
        yield f"starts from {backbone.init_cfg}"
    # MS-COCO's head has VOC's 21 classes.
    init = dict(type="Pretrained", checkpoint=checkpoint, prefix="decode_head.")
    if head.get("init_cfg") != (init if is_coco and setting.data is VOC else None):
        yield f"the head starts from {head.get('init_cfg')}"
    if head.get("num_active_branches") is not None:
        yield "not all four branches"


def test_the_published_checkpoints_run_as_they_were_trained():
    """What the converter prints: two branches, RGB minus the mean, padded to 505."""
    config = read("advsemiseg/voc_published_checkpoint")
    processor, head = config.model.data_preprocessor, config.model.segmentor.decode_head
    settings = preprocessor(is_rgb=True)
    assert {key: processor[key] for key in settings} == settings
    assert (head.num_active_branches, processor.test_cfg.size) == (2, (505, 505))
    assert head.init_cfg is config.model.segmentor.backbone.init_cfg is None


FUSED = {
    "shapes_1-8": "shapes_1-8",
    **{f"voc_{labels}": f"voc_{labels}" for labels in ("1-50", "1-20", "1-8", "full")},
    **{f"voc_{labels}_coco": f"voc_{labels}" for labels in ("1-50", "1-20", "1-8", "full")},
    **{f"context_{labels}": f"context_{labels}" for labels in ("1-8", "1-4", "full")},
}


def test_fusion_takes_the_scores_of_a_classifier_with_the_same_labels():
    def check(name: str, config: Config):
        stem = FUSED[name.removeprefix("s4gan/").removesuffix("_fused")]
        plain, gated = config.test_evaluator
        gate = dict(classifier=f"configs/mlmt/{stem}.py", threshold=0.2)
        yield from differing(gated, dict(type="GatedIoUMetric", gate=gate))
        if config.val_evaluator != config.test_evaluator:
            yield "the log of a training has no fused evaluation"
        if plain != read(name.removesuffix("_fused")).val_evaluator:
            yield f"beside it, {plain} is measured"
        classifier = read(f"mlmt/{stem}")
        if classifier.train_dataloader.dataset.split != config.train_dataloader.dataset.split:
            yield "the classifier has seen other labels"
        images = [c.val_dataloader.dataset.copy() for c in (classifier, config)]
        for dataset in images:
            dataset.pop("pipeline", None)
        if images[0] != images[1]:
            yield "the classifier scores other images"
        for evaluator in (classifier.val_evaluator, classifier.test_evaluator):
            yield from differing(evaluator, dict(type="ImageLevelMetric", out_file="scores.npz"))

    check_all([f"s4gan/{name}_fused" for name in FUSED], check)


# ---------------------------------------------------------------- MLMT

# Labelled and unlabelled images of a batch, and of the labelled ones all and iterations of a pass, 16 at a time.
MLMT = {
    **{f"voc_1-{r}": (80, n, each) for r, n, each in [(8, 1322, 83), (20, 529, 34), (50, 211, 14)]},
    **{f"context_1-{r}": (80, n, each) for r, n, each in [(8, 624, 39), (4, 1249, 79)]},
    "voc_full": (0, 10582, 662),
    "context_full": (0, 4998, 313),
}


def test_mlmt_protocol():
    def check(name: str, config: Config):
        stem = name.removeprefix("mlmt/")
        data = VOC if stem.startswith("voc") else CONTEXT
        unlabeled, labeled, each = MLMT[stem]
        assert each == math.ceil(labeled / 16)
        has_list = stem.startswith("voc_1-")
        expected = dict(
            batch=(16, unlabeled, 0), total=16 + unlabeled, iterations=100 * each,
            validations_each=5 * each, paramwise={}, pool="rest",
            labels=f"s4gan_{stem.replace('1-', '1of')}" if has_list else None,
            labeled=labeled if has_list else None, optimizer=sgd(0.03, 1e-5, nesterov=True),
        )  # fmt: skip
        yield from differing(settings_of(config), expected)
        split = config.train_dataloader.dataset.split
        ids = [f"{number:05}" for number in range(data.images)]
        if not has_list and labeled != len(TASK_UTILS.build(split)(ids)[0] if split else ids):
            yield f"split={split}"
        (schedule,) = schedules(config)
        cosine = dict(type="CosineAnnealingLR", T_max=100 * each, eta_min=1e-4)
        yield from differing(schedule, cosine)
        model = on_meta(config.model)
        wanted = dict(epochs=100, epoch_iters=each, start_epoch=10, consistency_weight=1.0,
                      momentum=0.001, teacher_mode="train", buffers="keep", predict_on="teacher")  # fmt: skip
        yield from differing(vars(model.settings), wanted)
        if config.val_dataloader.batch_size != 32 or model.num_classes != data.classes:
            yield "validation takes long, or another head"

    check_all([f"mlmt/{stem}" for stem in MLMT], check)
