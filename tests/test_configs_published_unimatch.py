# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of UniMatch, FixMatch, PrevMatch and UniMatch V2 against the numbers of their sources.

The numbers are typed from the papers and released codes, not from the configs; docs/methods cites them.
"""

from __future__ import annotations

import math

from config_files import (
    POLY,
    RATIOS,
    check_all,
    differing,
    on_meta,
    pipelines,
    read,
    settings_of,
    sgd,
)
from mmengine.config import Config

from mmsemi.datasets.splits.protocols import get_protocol

# ---------------------------------------------------------------- UniMatch, FixMatch, PrevMatch

# Images, epochs, crop, lr of the backbone, factor of the head, tau, classes.
UNIMATCH = {
    "voc": (10582, 80, 321, 0.001, 10, 0.95, 21),
    "cityscapes": (2975, 240, 801, 0.005, 1, 0.0, 19),
    "coco": (118287, 30, 513, 0.004, 10, 0.95, 81),
    "ade20k": (20210, 60, 513, 0.001, 10, 0.95, 150),  # ours, after VOC
}
UNIMATCH_LABELS = {
    **{f"voc_{n}": (f"classic_voc_{n}", n) for n in (92, 183, 366, 732, 1464)},
    **{f"voc_1-{r}": (f"cps_voc_1of{r}", n) for r, n in {16: 662, 8: 1323, 4: 2646}.items()},
    **{f"cityscapes_1-{r}": (f"cps_city_1of{r}", n) for r, n in zip(RATIOS, (186, 372, 744, 1488))},
    **{
        f"coco_1-{r}": (f"unimatch_coco_1of{r}", n)
        for r, n in {512: 232, 256: 463, 128: 925, 64: 1849, 32: 3697}.items()
    },
    **{
        f"ade20k_1-{r}": (f"v2_ade_1of{r}", n)
        for r, n in {64: 316, 32: 631, 16: 1263, 8: 2526, 4: 5052, 2: 10105}.items()
    },
}
PREVMATCH_LABELS = [
    stem for stem in UNIMATCH_LABELS if stem.startswith(("voc_", "city")) and "voc_1-" not in stem
]


def test_unimatch_protocol():
    gpus, per_gpu = 4, 2  # labelled, and as many unlabelled

    def check(name: str, config: Config):
        stem = name.split("/")[1].removesuffix("_unimatch")
        labels, count = UNIMATCH_LABELS[stem]
        images, epochs, crop, lr, factor, tau, classes = UNIMATCH[stem.split("_")[0]]
        per_epoch = math.floor(math.ceil((images - count) / gpus) / per_gpu)
        unlabeled = 0 if name.startswith("supervised") else per_gpu
        multiplied = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
        expected = dict(
            batch=(per_gpu, unlabeled, 0), total=gpus * (per_gpu + unlabeled),
            iterations=epochs * per_epoch, validations_each=per_epoch,
            optimizer=sgd(lr * factor, 1e-4), paramwise=multiplied if factor == 10 else {},
            schedule=POLY, labels=labels, labeled=count, pool="rest", crop=(crop, crop),
        )  # fmt: skip
        yield from differing(settings_of(config), expected)
        if get_protocol(labels).unlabeled.count != images - count:
            yield "the split has other images"
        for source, pipeline in pipelines(config):
            resize, cut, flip = pipeline[-4:-1]
            if (resize != dict(type="RandomRelativeResize", ratio_range=(0.5, 2.0))
                or (cut.type, cut.crop_size) != ("RandomCrop", (crop, crop))
                or flip != dict(type="RandomFlip", prob=0.5)):  # fmt: skip
                yield f"{source}: {pipeline}"
        if unlabeled:
            released = dict(joint_decoder=True)
            if name.startswith("fixmatch"):
                released = dict(labels_from="student")
            if name.startswith("prevmatch"):
                is_city = stem.startswith("city")
                released |= dict(
                    num_networks=8, max_drawn=3, copies="val_best", copy_start=0,
                    previous_threshold=0.9, previous_curve="raised_cosine",
                    previous_loss="image_mean_released" if is_city else "pixel",
                )  # fmt: skip
            wanted = dict(released, threshold=tau, labeled_forward="weak")
            yield from differing(vars(on_meta(config.model).settings), wanted)
        head, test = config.model.segmentor.decode_head, config.model.segmentor.test_cfg
        if head.num_classes != classes or config.model.data_preprocessor.get("test_cfg"):
            yield "another head, or padded in tests"
        if stem.startswith("cityscapes"):
            ohem = dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=200_000)
            window = dict(mode="slide", crop_size=(801, 801), stride=(534, 534))
            yield from differing(
                dict(loss=head.loss_decode, test=test, type=config.model.segmentor.type),
                dict(loss=ohem, test=window, type="ProbabilityWindowEncoderDecoder"),
            )
        elif (head.loss_decode.type, test.mode) != ("PixelCrossEntropy", "whole"):
            yield "another loss or test"

    names = [f"supervised/{stem}_unimatch" for stem in UNIMATCH_LABELS]
    names += [f"{folder}/{stem}" for folder in ("fixmatch", "unimatch") for stem in UNIMATCH_LABELS]
    names += [f"prevmatch/{stem}" for stem in PREVMATCH_LABELS]
    check_all(names, check)
    # The one number that the sources state themselves.
    assert read("unimatch/voc_92").train_cfg.max_iters == 104_880


# ---------------------------------------------------------------- UniMatch V2

# Images, epochs, images of each source a GPU, crop.
UNIMATCH_V2 = {"voc": (10582, 60, 4, 518), "cityscapes": (2975, 180, 2, 798)}
UNIMATCH_V2_LABELS = {
    stem: labels
    for stem, labels in UNIMATCH_LABELS.items()
    if stem.startswith(("voc", "cityscapes")) and "voc_1-" not in stem
}


def test_unimatch_v2_protocol():
    """docs/encoders.md: the labelled-only baselines, with the methods' batch and length."""

    def check(name: str, config: Config):
        stem = name.split("/")[1].removesuffix("_unimatch_v2")
        labels, count = UNIMATCH_V2_LABELS[stem]
        images, epochs, per_gpu, crop = UNIMATCH_V2[stem.split("_")[0]]
        per_epoch = math.ceil((images - count) / 4) // per_gpu
        adamw = dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.01)
        expected = dict(
            batch=(per_gpu, 0, 0), total=4 * per_gpu, iterations=epochs * per_epoch,
            validations_each=per_epoch, optimizer=adamw,
            paramwise=dict(custom_keys=dict(backbone=dict(lr_mult=0.025))),
            schedule=POLY, labels=labels, labeled=count, crop=(crop, crop),
        )  # fmt: skip
        found = settings_of(config)
        yield from differing({key: found[key] for key in expected}, expected)
        network = config.model.segmentor
        test, loss = dict(mode="whole"), dict(type="PixelCrossEntropy")
        if stem.startswith("cityscapes"):
            test = dict(mode="slide", crop_size=(798, 798), stride=(532, 532))
            loss = dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=200_000)
        yield from differing(
            dict(test=network.test_cfg, loss=network.decode_head.loss_decode, type=network.type),
            dict(test=test, loss=loss, type="PatchGridEncoderDecoder"),
        )

    check_all([f"supervised/{stem}_unimatch_v2" for stem in UNIMATCH_V2_LABELS], check)


# ---------------------------------------------------------------- UniMatch V2 and its methods

# Images, epochs, images of each source on one of four GPUs, crop; V2 in all its data sets.
V2 = {"voc": (10582, 60, 4, 518), "cityscapes": (2975, 180, 2, 798), "ade20k": (20210, 60, 2, 518),
      "coco": (118287, 20, 4, 518)}  # fmt: skip
V2_LABELS = [x for x in UNIMATCH_LABELS if not x.startswith("voc_1-") and x != "ade20k_1-2"]


def test_unimatch_v2_itself():
    """What its configs have beside those of the labelled-only baselines."""

    def check(name: str, config: Config):
        stem = name.split("/")[1].removesuffix("_unimatch_v2")
        labels, count = UNIMATCH_LABELS[stem]
        images, epochs, per_gpu, crop = V2[stem.split("_")[0]]
        per_epoch = math.ceil((images - count) / 4) // per_gpu
        unlabeled = per_gpu if name.startswith("unimatch_v2") else 0
        found, split = settings_of(config), config.train_dataloader.dataset.split.name
        if (split, found["iterations"], found["crop"]) != (
            labels,
            epochs * per_epoch,
            (crop, crop),
        ):
            yield f"{split}, {found}"
        if found["batch"] != (per_gpu, unlabeled, 0) or found["validations_each"] != per_epoch:
            yield f"{found}"
        optimizer = config.optim_wrapper
        adamw = dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.01)
        slower = dict(custom_keys=dict(backbone=dict(lr_mult=1 / 40)))
        yield from differing(
            dict(optimizer=optimizer.optimizer, paramwise=optimizer.paramwise_cfg),
            dict(optimizer=adamw, paramwise=slower),
        )
        if unlabeled:
            wanted = dict(threshold=0.95, momentum=0.004, kept_pairs=0.5, labeled_forward="strong")
            wanted |= dict(sup_weight=0.5, unsup_weight=0.5, rampup_iters=0)
            yield from differing(vars(on_meta(config.model).settings), wanted)
            if config.model.mix != dict(type="SingleBoxCutMix", pairing="reverse"):
                yield f"mixes by {config.model.mix}"

    names = [f"unimatch_v2/{stem}" for stem in V2_LABELS]
    names += [f"supervised/{x}_unimatch_v2" for x in V2_LABELS if x.startswith(("ade20k", "coco"))]
    check_all(names, check)
