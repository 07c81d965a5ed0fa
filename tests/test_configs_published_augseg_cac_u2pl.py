# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of AugSeg, CAC and U2PL against the numbers of their sources.

The numbers are typed from the papers and released codes, not from the configs; docs/methods cites them.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

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
from test_configs_published_unimatch import UNIMATCH_LABELS

from mmsemi.engine.loops.run_length import iterations_of

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
