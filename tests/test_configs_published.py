# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of the consistency methods against the numbers of their sources.

The numbers are typed from the papers and released codes, not from the configs; docs/methods cites them.
"""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

from config_files import (
    CONFIGS,
    NAMES,
    POLY,
    check_all,
    differing,
    on_meta,
    pipelines,
    read,
    settings_of,
    sgd,
)
from mmengine.config import Config
from mmseg.registry import DATASETS
from test_configs_published_adversarial import ADVERSARIAL, FUSED, MLMT
from test_configs_published_self_training import FILES as SELF_TRAINING
from test_configs_published_self_training import MIOU as SELF_TRAINING_MIOU

from mmsemi.datasets.splits.protocols import get_protocol
from mmsemi.engine.loops.run_length import iterations_of

RATIOS = (16, 8, 4, 2)
# ---------------------------------------------------------------- CPS, mean teacher, CutMix mean teacher

# GPUs, labelled images a GPU, crop, weight decay, lambda; passes and iterations of each by labels.
CPS = {"voc": (4, 2, 512, 4e-4, 1.5), "cityscapes": (8, 1, 800, 8e-4, 6.0)}
CPS_LENGTHS = {
    **dict(zip((f"voc_1-{r}" for r in RATIOS), [(1240, 39680), (1157, 39338), (992, 39680), (661, 39660)])),
    # A validation every 5 passes.
    **dict(zip((f"cityscapes_1-{r}" for r in RATIOS), [(1740, 44544), (1625, 44525), (1395, 44640), (930, 44640)])),
    **{f"voc_{count}": (1322, 39660) for count in (92, 183, 366, 732)},
}  # fmt: skip
CPS_LABELS = {
    **{f"voc_1-{r}": (f"cps_voc_1of{r}", n) for r, n in zip(RATIOS, (662, 1323, 2646, 5291))},
    **{f"cityscapes_1-{r}": (f"cps_city_1of{r}", n) for r, n in zip(RATIOS, (186, 372, 744, 1488))},
    **{
        f"voc_{count}": (f"cps_voc_pseudoseg_1of{r}", count)
        for count, r in zip((92, 183, 366, 732), RATIOS)
    },
}
TEACHER = dict(momentum=0.01, rampup_iters=0, ema_when="mid", buffers="keep", teacher_mode="train")


def test_cps_protocol():
    def check(name: str, config: Config):
        folder, stem = name.split("/")
        gpus, labeled, crop, decay, weight = CPS[stem.split("_")[0]]
        is_few = "-" not in stem
        unlabeled = labeled * (2 if is_few or folder.startswith("cutmix") else 1)
        if folder == "supervised":
            unlabeled = 0
        each, iterations = CPS_LENGTHS[stem]
        labels, count = CPS_LABELS[stem]
        expected = dict(
            batch=(labeled, unlabeled, 0), total=gpus * (labeled + unlabeled), iterations=iterations,
            validations_each=each, optimizer=sgd(0.0025, decay), schedule=POLY, labels=labels,
            labeled=count, pool="all" if is_few else "rest", crop=(crop, crop),
            paramwise=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        )  # fmt: skip
        yield from differing(settings_of(config), expected)
        model = on_meta(config.model)
        found, wanted = dict(vars(model.settings)), {}
        if folder == "cps":
            wanted = dict(unsup_weight=0.1 if is_few else weight, predict_on=0, rampup_iters=0)
            if (model.mix is not None) != is_few:
                yield f"mix is {model.mix}"
        if folder == "mean_teacher":
            wanted = dict(TEACHER, unsup_weight=100.0, consistency="mse", confidence_threshold=None,
                          consistency_on_labeled=True, predict_on="student", strong=None, mix=None)  # fmt: skip
        if folder == "cutmix_mean_teacher":
            wanted = dict(TEACHER, unsup_weight=1.0, consistency="squared_distance",
                          confidence_threshold=0.97, confidence_mode="mean", ignore_padding=True,
                          consistency_on_labeled=False, predict_on="teacher")  # fmt: skip
            mix = model.mix
            if (mix.num_boxes, mix.area_range, mix.pairing) != (1, (0.5, 0.5), "halves"):
                yield f"mix is {vars(mix)}"
        yield from differing(found, wanted)
        head, test = config.model.segmentor.decode_head, config.model.segmentor.test_cfg
        if stem.startswith("cityscapes"):
            ohem = dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=50_000)
            window = dict(mode="slide", crop_size=(800, 800), stride=(534, 534))
            yield from differing(
                dict(loss=head.loss_decode, test=test, type=config.model.segmentor.type),
                dict(loss=ohem, test=window, type="EncoderDecoder"),
            )
        elif config.model.data_preprocessor.test_cfg.size != (512, 512) or test.mode != "whole":
            yield "images are padded to 512 in tests"

    names = [f"{folder}/{stem}" for folder in ("supervised", "cps") for stem in CPS_LENGTHS]
    names += [
        f"{folder}/{stem}"
        for folder in ("mean_teacher", "cutmix_mean_teacher")
        for stem in CPS_LENGTHS
        if "-" in stem
    ]
    check_all(names, check)


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


# ---------------------------------------------------------------- AugSeg

# Images, epochs, GPUs, images of each source a GPU, crop, lr of the backbone, factor of the head, weight
# decay, tau, weight of the new value in the average.
AUGSEG = {
    "voc": (10582, 80, 2, 8, 513, 0.001, 10, 1e-4, 0.95, 0.001),
    "cityscapes": (2975, 240, 4, 4, 800, 0.01, 1, 5e-4, -0.1, 0.004),
}
AUGSEG_LABELS = {x: y for x, y in UNIMATCH_LABELS.items() if x.startswith(("voc", "cityscapes"))}
# Iterations of an epoch, from the logs.
AUGSEG_EPOCHS = {
    **{"voc_92": 655, "voc_183": 650, "voc_366": 638, "voc_732": 615, "voc_1464": 569},
    **{"voc_1-16": 620, "voc_1-8": 578, "voc_1-4": 496},
    **{f"cityscapes_1-{r}": n for r, n in zip(RATIOS, (174, 162, 139, 93))},
}


def test_augseg_protocol():
    def check(name: str, config: Config):
        stem = name.split("/")[1].removesuffix("_augseg")
        labels, count = AUGSEG_LABELS[stem]
        data = stem.split("_")[0]
        images, epochs, gpus, per_gpu, crop, lr, factor, decay, tau, momentum = AUGSEG[data]
        per_epoch = AUGSEG_EPOCHS[stem]
        if per_epoch != math.floor(math.ceil((images - count) / gpus) / per_gpu):
            yield "the logs count otherwise"
        sampler = SimpleNamespace(
            num_per_source=dict(unlabeled=per_gpu), copies=dict(unlabeled=1), world_size=gpus
        )
        dataset = SimpleNamespace(source_ranges=dict(unlabeled=range(images - count)))
        if iterations_of(1, "unlabeled", dataset, sampler) != per_epoch:
            yield "a pass has another length than in the logs"
        unlabeled = 0 if name.startswith("supervised") else per_gpu
        multiplied = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
        expected = dict(
            batch=(per_gpu, unlabeled, 0), total=gpus * (per_gpu + unlabeled),
            iterations=epochs * per_epoch, validations_each=per_epoch * (1 if data == "voc" else 10),
            optimizer=sgd(lr * factor, decay), paramwise=multiplied if factor == 10 else {},
            schedule=POLY, labels=labels, labeled=count, pool="rest", crop=(crop, crop),
        )  # fmt: skip
        yield from differing(settings_of(config), expected)
        if unlabeled:
            model = on_meta(config.model)
            wanted = dict(threshold=tau, unsup_weight=1.0, momentum=momentum, copy_passes=1,
                          rampup_iters=0, ignore_padding=False)  # fmt: skip
            yield from differing(vars(model.settings), wanted)
            mix, strong = model.mix, model.strong
            if (mix.paste_prob, mix.paste_beta, mix.mix_beta) != (None, (8, 2), (4, 4)):
                yield f"mix is {vars(mix)}"
            if (strong.num_ops, strong.random_num, len(strong.operations)) != (3, True, 11):
                yield f"strong is {vars(strong)}"
        head, test = config.model.segmentor.decode_head, config.model.segmentor.test_cfg
        if data == "cityscapes":
            ohem = dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=100_000)
            window = dict(mode="slide", crop_size=(800, 800), stride=(533, 533))
            yield from differing(
                dict(loss=head.loss_decode, test=test, type=config.model.segmentor.type),
                dict(loss=ohem, test=window, type="ProbabilityWindowEncoderDecoder"),
            )
        elif (head.loss_decode.type, test.mode) != ("PixelCrossEntropy", "whole"):
            yield "another loss or test"

    names = [f"supervised/{stem}_augseg" for stem in AUGSEG_LABELS]
    check_all([*names, *(f"augseg/{stem}" for stem in AUGSEG_LABELS)], check)
    assert AUGSEG_EPOCHS.keys() == AUGSEG_LABELS.keys()


# ---------------------------------------------------------------- CAC

# GPUs, images of each source a GPU, crop, learning rate, past steps in the bank; long sides of labelled images,
# least one of unlabelled ones.
CAC = {
    "voc": (2, 4, 320, 0.01, 1, (200, 800), 320),
    "cityscapes": (4, 2, 720, 0.1, 0, (1024, 4096), 1638),
}
CAC_LABELS = {
    **{f"voc_1-{r}": (f"cac_voc_{n}_d0", n) for r, n in {16: 662, 8: 1323, 4: 2645}.items()},
    **{f"cityscapes_1-{r}": (f"cac_city_{n}_d0", n) for r, n in {8: 372, 4: 744}.items()},
    "voc_full": (None, None),
}
CAC_FILES = [*CAC_LABELS, *(f"{stem}_psp" for stem in CAC_LABELS if stem.startswith("voc"))]
CAC_CPS = [f"{stem}{mix}_cac" for stem in ("voc_1-8", "cityscapes_1-8") for mix in ("", "_cutmix")]


def test_cac_protocol():
    def check(name: str, config: Config):
        folder, stem = name.split("/")
        stem = stem.removesuffix("_cac").removesuffix("_cutmix")
        labels, count = CAC_LABELS[stem.removesuffix("_psp")]
        data = stem.split("_")[0]
        gpus, per_gpu, crop, lr, steps, (low, high), least = CAC[data]
        factor = {"supervised": 0, "cac": 1, "cps": 2 if "cutmix" in name else 1}[folder]
        expected = dict(
            batch=(per_gpu, factor * per_gpu, 0), total=gpus * per_gpu * (1 + factor),
            iterations=80 * 1157, validations_each=1157, optimizer=sgd(lr, 1e-4), schedule=POLY,
            paramwise=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))), labels=labels, labeled=count,
            pool="all" if stem.startswith("voc_full") else "rest", crop=(crop, crop),
        )  # fmt: skip
        yield from differing(settings_of(config), expected)
        found = dict(pipelines(config))
        types = [step.type for step in found["labeled"]]
        if ("ColorJitter" in types) != (data == "cityscapes"):
            yield f"labelled images go through {types}"
        for source, shortest in (("labeled", low), ("unlabeled", least)):
            resize = next(step for step in found[source] if step.type == "RandomResize")
            sides = [resize.scale[0] * ratio for ratio in resize.ratio_range]
            if folder != "cps" and [round(side, 6) for side in sides] != [shortest, high + 1]:
                yield f"{source}: long sides of {sides}"
            if (resize.backend, resize.interpolation) != ("pillow", "bicubic"):
                yield f"{source}: {resize}"
        if folder == "cac":
            model = on_meta(config.model)
            wanted = dict(unsup_weight=0.1, temperature=0.1, threshold=0.75, start_iter=5 * 1157,
                          step_save=steps, selected_num=None, stride=8, projector_channels=128,
                          rampup_iters=0, ignore_padding=False, eps=0.0)  # fmt: skip
            yield from differing(vars(model.settings), wanted)
            pair, strong = found["unlabeled"][-2], model.strong
            if (pair.crop_size, pair.stride, pair.iou_range) != ((crop, crop), 8, (0.1, 1.0)):
                yield f"pairs are {pair}"
            if (strong.probabilities, strong.blur_radius, strong.blur_first) != (
                (0.8, 0.2, 0.5),
                2,
                True,
            ):
                yield f"views are {vars(strong)}"
        if folder == "cps":
            wanted = dict(unsup_weight=1.5, rampup_iters=0, predict_on=0, strong=None)
            model = on_meta(config.model)
            yield from differing(vars(model.settings), wanted)
            if (model.mix is None) == ("cutmix" in name) or "OverlappingCropPair" in str(
                found["unlabeled"]
            ):
                yield "mixes otherwise, or gets pairs"
        head, test = config.model.segmentor.decode_head, config.model.segmentor.test_cfg
        padding = config.model.data_preprocessor
        if (head.loss_decode.type, test.mode, padding.test_cfg.size_divisor, padding.test_padding) != (
            "PixelCrossEntropy", "whole", 8, "reflect"):  # fmt: skip
            yield "another loss or test"

    names = [f"supervised/{stem}_cac" for stem in CAC_FILES]
    names += [f"cac/{stem}" for stem in CAC_FILES] + [f"cps/{stem}" for stem in CAC_CPS]
    check_all(names, check)


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


# ---------------------------------------------------------------- U2PL

# GPUs, images of each source a GPU, crop, learning rate of the head, that of the backbone in its terms, weight decay,
# passes, passes without unlabelled images, passes between validations.
U2PL = {
    "voc": (4, 4, 513, 0.01, 0.1, 1e-4, 80, 1, 1),
    "cityscapes": (8, 2, 769, 0.01, 1, 5e-4, 200, 0, 10),
}
U2PL_LABELS = {
    **{f"voc_{n}": (f"classic_voc_{n}", n) for n in (92, 183, 366, 732, 1464)},
    **{f"voc_1-{r}": (f"u2pl_voc_blender_{n}", n) for r, n in zip(RATIOS, (662, 1323, 2646, 5291))},
    **{f"cityscapes_1-{r}": (f"u2pl_city_{n}", n) for r, n in zip(RATIOS, (186, 372, 744, 1488))},
}
# Iterations as the page counts them.
U2PL_LENGTHS = {
    92: 52400, 183: 52000, 366: 51040, 732: 49200, 1464: 45600, 662: 49600, 1323: 46240, 2646: 39680,
    5291: 26400, 186: 34800, 372: 32600, 744: 27800, 1488: 18600,
}  # fmt: skip


def test_u2pl_protocol():
    def check(name: str, config: Config):
        stem = name.split("/")[1].removesuffix("_u2pl")
        labels, count = U2PL_LABELS[stem]
        data = stem.split("_")[0]
        gpus, per_gpu, crop, lr, factor, decay, passes, without, each = U2PL[data]
        per_pass = U2PL_LENGTHS[count] // passes
        unlabeled = 0 if name.startswith("supervised") else per_gpu
        multiplied = dict(custom_keys=dict(backbone=dict(lr_mult=factor)))
        expected = dict(
            batch=(per_gpu, unlabeled, 0), total=gpus * (per_gpu + unlabeled),
            iterations=U2PL_LENGTHS[count], validations_each=each * per_pass,
            optimizer=sgd(lr, decay), paramwise=multiplied if factor != 1 else {},
            schedule=POLY, labels=labels, labeled=count, pool="rest", crop=(crop, crop),
        )  # fmt: skip
        yield from differing(settings_of(config), expected)
        head, test = config.model.segmentor.decode_head, config.model.segmentor.test_cfg
        if unlabeled:
            model = on_meta(config.model)
            wanted = dict(unsup_weight=1.0, contrast_weight=0.1, warmup_iters=without * per_pass,
                          unreliable_percent=20.0, percent_iters=per_pass, total_iters=None,
                          threshold=0.3, low_rank=3, high_rank=20, temperature=0.5, num_anchors=256,
                          num_negatives=50, bank_size=30_000, first_bank_size=50_000, rampup_iters=0,
                          representation_channels=256, labeled_forward="strong", strong=None,
                          released_contrast=False, momentum=0.01, teacher_mode="train",
                          buffers="keep")  # fmt: skip
            yield from differing(vars(model.settings), wanted)
            if model.mix.prob != 0.5 or type(model.mix).__name__ != "HalfCutMix":
                yield f"mix is {vars(model.mix)}"
        resize = next(
            step for step in dict(pipelines(config))["labeled"] if hasattr(step, "transforms")
        )
        found = [[step.ratio_range for step in one] for one in resize.transforms]
        if found != [[(0.5, 1.0)], [(1.0, 2.0)]] or resize.get("prob"):
            yield f"images are resized by {found}"
        if data == "cityscapes":
            ohem = dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=100_000)
            window = dict(mode="slide", crop_size=(769, 769), stride=(513, 513))
            auxiliary = config.model.segmentor.auxiliary_head
            yield from differing(
                dict(loss=head.loss_decode, test=test, aux=auxiliary.loss_decode),
                dict(loss=ohem, test=window, aux=dict(ohem, loss_weight=0.4)),
            )
        elif (head.loss_decode.type, test.mode) != ("PixelCrossEntropy", "whole"):
            yield "another loss or test"

    names = [f"supervised/{stem}_u2pl" for stem in U2PL_LABELS]
    check_all([*names, *(f"u2pl/{stem}" for stem in U2PL_LABELS)], check)


def test_u2pl_network():
    """docs/methods/u2pl.md#network: without the biases in front of norms, which do nothing."""
    for name, head, classes in (("voc_92", 21_836_053, 21), ("cityscapes_1-8", 21_835_539, 19)):
        model = on_meta(read(f"u2pl/{name}").model)
        net = model.student
        layers = [
            sum(p.numel() for p in part.parameters())
            for part in (net.decode_head, model.representation)
        ]
        assert layers[1] == 1_836_800 - 2 * 256
        assert sum(layers) == head - (2 + 2 + 1) * 256 and net.decode_head.num_classes == classes
        blocks = [block.conv2.dilation[0] for block in net.backbone.layer4]
        assert blocks == [4, 8, 16] and net.backbone.layer3[1].conv2.dilation == (2, 2)
    auxiliary = net.auxiliary_head
    # Its classifier has 19 x 256 weights and 19 biases.
    assert sum(p.numel() for p in auxiliary.parameters()) == 2_364_947 - 256


# ---------------------------------------------------------------- ours, and all


def test_our_settings():
    """CamVid and the built-in set: batches, and ramp-ups over half of the run from random weights."""

    def check(name: str, config: Config):
        folder, stem = name.split("/")
        labeled = 4 if stem.endswith("small") else 8
        twice = folder.startswith("cutmix") or (folder == "cps" and stem.startswith("camvid"))
        unlabeled = 0 if folder == "supervised" else labeled * (2 if twice else 1)
        counts = config.train_dataloader.sampler.num_per_source
        if (counts.labeled, counts.unlabeled) != (labeled, unlabeled):
            yield f"draws {counts}"
        if config.model.segmentor.backbone.get("init_cfg") is not None:
            yield "starts from weights"
        ramp = config.model.get("rampup_iters")
        if stem.startswith("camvid") and ramp not in (None, config.train_cfg.max_iters // 2):
            yield f"ramped up over {ramp} iterations"
        if folder == "fixmatch" and config.model.labels_from != "teacher":
            yield "the student labels"

    check_all(
        [
            name
            for name in NAMES
            if re.search(
                r"^(?!mlmt|dst_cbc|dmt|st_plus_plus).*/(camvid|shapes)_1-8(_small)?$", name
            )
        ],
        check,
    )


def test_each_method_has_exactly_its_files():
    real = {"nuclei_4", "camvid_6"}
    ours = {"shapes_1-8", "camvid_1-8", "camvid_1-8_small", *real}
    ratios = {stem for stem in CPS_LENGTHS if "-" in stem}
    gans = {"shapes_1-8", "camvid_1-8", "cityscapes_full-resolution", *real}
    plateau = {f"shapes_plateau_{kind}" for kind in ("baseline", "adversarial", "semi")}
    published = {folder: {name.split("/")[1] for name in ADVERSARIAL if name.startswith(folder)}
                 for folder in ("advsemiseg", "s4gan")}  # fmt: skip
    baselines = {f"{stem}_{folder}" for folder, stems in published.items() for stem in stems
                 if not stem.endswith(("_legacy-lr", "_adversarial"))}  # fmt: skip
    expected = {
        "supervised": {*ours, *CPS_LENGTHS, *(f"{x}_unimatch" for x in UNIMATCH_LABELS),
                       *(f"{x}_augseg" for x in AUGSEG_LABELS), *(f"{x}_cac" for x in CAC_FILES),
                       *(f"{x}_unimatch_v2" for x in V2_LABELS), *(f"{x}_u2pl" for x in U2PL_LABELS),
                       *baselines, *SELF_TRAINING["supervised"]},
        "cps": {*ours, *CPS_LENGTHS, *CAC_CPS},
        "cac": {*ours, *CAC_FILES},
        "u2pl": {*ours, *U2PL_LABELS},
        "mean_teacher": {*ours, *ratios},
        "cutmix_mean_teacher": {*ours, *ratios},
        "fixmatch": {*ours, *UNIMATCH_LABELS},
        "unimatch": {*ours, *UNIMATCH_LABELS},
        "unimatch_v2": {"shapes_1-8", *real, *V2_LABELS},
        "prevmatch": {"shapes_1-8", *real, *PREVMATCH_LABELS},
        "augseg": {*ours, *AUGSEG_LABELS},
        "advsemiseg": {*gans, *plateau, *published["advsemiseg"], "shapes_1-8_adversarial",
                       "voc_published_checkpoint"},
        "s4gan": {*gans, *published["s4gan"], *(f"{stem}_fused" for stem in FUSED)},
        "mlmt": {"shapes_1-8", *MLMT},
        **{folder: {"shapes_1-8", "camvid_1-8", *real, *SELF_TRAINING[folder]}
           for folder in ("dst_cbc", "dmt", "st_plus_plus")},
    }  # fmt: skip
    found = {
        folder: {x.split("/")[1] for x in NAMES if x.startswith(f"{folder}/")}
        for folder in expected
    }
    for folder, stems in expected.items():
        assert found[folder] == stems, folder


# The main number of each header: CPS, then re-runs in its paper; UniMatch's README and logs; AugSeg's logs, R101,
# best teacher epoch; CAC's tables, as marked; AdvSemiSeg and s4GAN as marked there.
MIOU = {
    "cps/voc_1-": dict(zip(RATIOS, (68.21, 73.20, 74.24, 75.91))),
    "cps/cityscapes_1-": dict(zip(RATIOS, (69.79, 74.39, 76.85, 78.64))),
    "cps/voc_": {92: 64.07, 183: 67.42, 366: 71.71, 732: 75.88},
    "supervised/voc_1-": {8: 69.43},
    "supervised/cityscapes_1-": dict(zip(RATIOS, (64.90, 70.32, 74.11, 76.22))),
    "mean_teacher/voc_1-": dict(zip(RATIOS, (66.77, 70.78, 73.22, 75.41))),
    "mean_teacher/cityscapes_1-": dict(zip(RATIOS, (66.14, 72.03, 74.47, 77.43))),
    "cutmix_mean_teacher/voc_1-": dict(zip(RATIOS, (68.90, 70.70, 72.46, 74.49))),
    "cutmix_mean_teacher/cityscapes_1-": dict(zip(RATIOS, (67.06, 71.83, 76.36, 78.25))),
    "unimatch/voc_": {92: 75.2, 183: 77.2, 366: 78.8, 732: 79.9, 1464: 81.2},
    "unimatch/voc_1-": {16: 77.0, 8: 77.4, 4: 77.4},
    "unimatch/cityscapes_1-": dict(zip(RATIOS, (76.6, 77.9, 79.2, 79.5))),
    "unimatch/coco_1-": {512: 31.9, 256: 38.9, 128: 44.4, 64: 48.2, 32: 49.8},
    "prevmatch/voc_": {92: 77.0, 183: 78.5, 366: 79.6, 732: 80.4, 1464: 81.6},
    "prevmatch/cityscapes_1-": dict(zip(RATIOS, (77.7, 78.9, 80.1, 80.1))),
    "unimatch_v2/voc_": {92: 79.0, 183: 85.5, 366: 85.9, 732: 86.7, 1464: 87.8},
    "unimatch_v2/cityscapes_1-": dict(zip(RATIOS, (80.6, 81.9, 82.4, 82.6))),
    "unimatch_v2/ade20k_1-": {64: 31.5, 32: 38.1, 16: 40.7, 8: 44.4, 4: 45.8},
    "unimatch_v2/coco_1-": {512: 39.3, 256: 45.4, 128: 53.2, 64: 55.0, 32: 57.0},
    "augseg/voc_": {92: 71.09, 183: 75.45, 366: 78.66, 732: 80.33, 1464: 81.36},
    "augseg/voc_1-": {16: 77.01, 8: 77.31, 4: 78.82},
    "augseg/cityscapes_1-": dict(zip(RATIOS, (75.22, 77.82, 79.56, 80.43))),
    "u2pl/voc_": {92: 67.98, 183: 69.15, 366: 73.66, 732: 76.16, 1464: 79.49},
    "u2pl/voc_1-": dict(zip(RATIOS, (77.21, 79.01, 79.30, 80.50))),
    "u2pl/cityscapes_1-": dict(zip(RATIOS, (70.30, 74.37, 76.47, 79.05))),
    "cac/voc_": {"1-16": 70.1, "1-8": 72.4, "1-4": 74.0, "full": 76.5, "1-16_psp": 67.1, "1-8_psp": 71.3,
                 "1-4_psp": 72.5, "full_psp": 76.4},
    "cac/cityscapes_1-": {8: 69.7, 4: 72.7},
    "supervised/voc_{}_cac": {"1-16": 63.9, "1-8": 68.3, "1-4": 71.2, "full": 76.3, "1-16_psp": 57.4,
                              "1-8_psp": 65.0, "1-4_psp": 68.3, "full_psp": 75.1},
    "supervised/cityscapes_{}_cac": {"1-8": 66.0, "1-4": 70.7},
    "advsemiseg/voc_": {"1-8": 69.5, "1-4": 72.1, "1-2": 73.8, "full": 74.9, "1-8_adversarial": 67.6,
                        "1464": 68.4, "published_checkpoint": 68.8},
    "advsemiseg/cityscapes_": {"1-8": 58.8, "1-4": 62.3, "1-2": 65.7, "full": 67.7},
    "supervised/voc_{}_advsemiseg": {"1-8": 66.0, "1-4": 68.3, "1-2": 69.8, "full": 73.6, "1464": 66.3},
    "supervised/cityscapes_{}_advsemiseg": {"1-8": 55.5, "1-4": 59.9, "1-2": 64.1, "full": 66.4},
    "s4gan/voc_": {"1-8": 65.4, "1-8_coco": 69.8},
    "s4gan/voc_{}_fused": {"1-50": 60.4, "1-20": 62.9, "1-8": 67.3, "full": 73.2,
                           "1-50_coco": 63.3, "1-20_coco": 67.2, "1-8_coco": 71.4, "full_coco": 75.6},
    "s4gan/context_{}_fused": {"1-8": 35.3, "1-4": 37.8, "full": 41.1},
    "s4gan/cityscapes_": {"1-8": 59.3, "1-4": 61.9, "full": 65.8},
    "supervised/voc_{}_s4gan": {"1-50": 48.3, "1-20": 56.8, "1-8": 62.0, "full": 70.7},
    "supervised/cityscapes_{}_s4gan": {"1-8": 56.2, "1-4": 60.2, "full": 66.0},
    "supervised/context_{}_s4gan": {"1-8": 32.1, "1-4": 35.4, "full": 41.0},
}  # fmt: skip


def test_published_numbers():
    expected = {
        pattern.format(labels) if "{}" in pattern else f"{pattern}{labels}": number
        for pattern, numbers in MIOU.items()
        for labels, number in numbers.items()
    } | SELF_TRAINING_MIOU
    found = {}
    for name in NAMES:
        text = (CONFIGS / f"{name}.py").read_text()
        published = re.search(r"^# Published: (.*)$", text, re.MULTILINE)
        number = published and re.search(r"(\d\d\.\d\d?) mIoU", published[1])
        if number:
            found[name] = float(number[1])
    assert found == expected


def test_classes_of_the_data_sets():
    for stem in UNIMATCH_LABELS:
        dataset = read(f"supervised/{stem}_unimatch").val_dataloader.dataset
        classes = DATASETS.get(dataset.type).METAINFO["classes"]
        assert len(classes) == UNIMATCH[stem.split("_")[0]][6]
