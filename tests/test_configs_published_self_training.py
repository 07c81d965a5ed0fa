# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of DST-CBC, DMT, ST and ST++: batches, lengths, rates, rounds, networks, views.

The numbers are typed from the papers' released codes, not from the configs; docs/methods cites them.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from config_files import check_all, differing, on_meta, read, schedules, sgd
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.optim import PolyLR
from mmseg.registry import MODELS, TRANSFORMS

from mmsemi.datasets.splits.protocols import get_protocol
from mmsemi.self_training.plan import Plan
from mmsemi.utils.config_files import set_options

# Labelled images, passes and iterations of the baseline, iterations of a round of DST-CBC, published mIoU: baseline,
# DST-CBC, DMT.
DST_CBC = {
    "voc_1-106": (100, 300, 3900, 15726, 45.7, 61.6, 63.04),
    "voc_1-50": (211, 212, 5724, 15558, 55.4, 65.5, 67.15),
    "voc_1-20": (530, 134, 8978, 15078, 62.2, 69.3, 69.92),
    "voc_1-8": (1322, 85, 14110, 13890, 66.2, 70.7, 72.70),
    "voc_1-4": (2645, 60, 19860, 11910, 68.7, 71.8, None),
    "cityscapes_1-30": (100, 330, 4290, 4314, 45.5, 48.7, None),
    "cityscapes_1-8": (371, 170, 7990, 3906, 56.7, 60.5, 63.03),
    "cityscapes_1-4": (743, 120, 11160, 3348, 61.1, 64.4, None),
}
SQUASHED = ("voc_1-20", "cityscapes_1-8")
# Iterations of a round, and the list of the first baseline.
DMT = {
    "voc_1-106": (5992, "dmt_voc_1of106_left"),
    "voc_1-50": (5928, "dmt_voc_1of50_left"),
    "voc_1-20": (5744, "dstcbc_voc_1of20"),
    "voc_1-8": (5292, "dstcbc_voc_1of8"),
    "voc_1464": (6515, "classic_voc_1464"),
    "cityscapes_1-8": (4340, "dstcbc_city_1of8"),
}
# Other baselines: passes and iterations.
BASELINES = {
    "voc_full": (30, 39690),
    "cityscapes_full": (60, 22320),
    "voc_1464": (85, 15555),
    "voc_80_left": (300, 3000),
    "voc_80_right": (300, 3000),
    "voc_168_left": (212, 4452),
    "voc_168_right": (212, 4452),
}
# List; labelled and unlabelled images; iterations of the three trainings; published mIoU.
ST = {
    "voc_92": ("classic_voc_92", 92, 10490, (880, 52880, 105280), 65.2),
    "voc_183": ("classic_voc_183", 183, 10399, (1760, 52480, 104080), 71.0),
    "voc_366": ("classic_voc_366", 366, 10216, (1760, 51120, 102320), 74.6),
    "voc_732": ("classic_voc_732", 732, 9850, (3600, 50240, 100480), 77.3),
    "voc_1464": ("classic_voc_1464", 1464, 9118, (7280, 52000, 96800), 79.1),
    "voc_1-16": ("cac_voc_662_d0", 662, 9920, (3280, 51280, 99200), 72.6),
    "voc_1-8": ("cac_voc_1323_d0", 1323, 9259, (6560, 49600, 92560), 74.4),
    "voc_1-4": ("cac_voc_2645_d0", 2645, 7937, (13200, 46240, 92560), 75.4),
    "cityscapes_1-30": ("unimatch_city_1of30", 100, 2875, (2880, 43920, 86400), None),
    "cityscapes_1-8": ("cac_city_372_d0", 372, 2603, (5520, 41760, 78000), None),
    "cityscapes_1-4": ("cac_city_744_d0", 744, 2231, (11040, 38880, 66720), None),
}
FILES = {
    "dst_cbc": {*DST_CBC, *(f"{stem}_squashed" for stem in SQUASHED)},
    "dmt": {*DMT},
    "st_plus_plus": {*ST},
    "supervised": {
        *(f"{stem}_dst_cbc" for stem in (*DST_CBC, *BASELINES)),
        *(f"{stem}_squashed_dst_cbc" for stem in SQUASHED),
        *(f"{stem}_st_plus_plus" for stem in ST),
    },
}
MIOU = {
    **{f"dst_cbc/{stem}": row[5] for stem, row in DST_CBC.items()},
    **{f"dst_cbc/{stem}_squashed": DST_CBC[stem][5] for stem in SQUASHED},
    **{f"dmt/{stem}": DST_CBC[stem][6] for stem in DMT if "1-" in stem},
    "dmt/voc_1464": 74.85,
    **{f"supervised/{stem}_dst_cbc": row[4] for stem, row in DST_CBC.items()},
    **{f"supervised/{stem}_squashed_dst_cbc": DST_CBC[stem][4] for stem in SQUASHED},
    "supervised/voc_full_dst_cbc": 73.5,
    "supervised/cityscapes_full_dst_cbc": 66.9,
    "supervised/voc_1464_dst_cbc": 72.1,
    **{f"st_plus_plus/{stem}": row[4] for stem, row in ST.items() if row[4]},
}


def common(config: Config) -> dict:
    dataset = config.train_dataloader.dataset
    return dict(
        counts=dict(config.train_dataloader.sampler.num_per_source),
        iterations=config.train_cfg.max_iters,
        optimizer=config.optim_wrapper.optimizer.to_dict(),
        heads=config.optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult,
        wrapper=config.optim_wrapper.type,  # float32
        hooks=[hook.type for hook in config.custom_hooks],
        crop=tuple(dataset.crop_size),
        labels=dataset.split and dataset.split.name,
        power=[schedule["power"] for schedule in schedules(config)],
    )


def dst_cbc_values(stem: str, lr: float, counts: dict) -> dict:
    city = stem.startswith("cityscapes")
    crop = (256, 512) if city else (321, 321)
    if "squashed" in stem:
        crop = (257, 513) if city else crop
    return dict(counts=counts, optimizer=sgd(lr, 5e-4), heads=1, wrapper="OptimWrapper",
                hooks=["ExactFloat32Hook"], crop=crop, power=[0.9])  # fmt: skip


def test_dst_cbc_protocol():
    def check_baseline(name: str, config: Config):
        stem = name.split("/")[1].removesuffix("_dst_cbc")
        lr = 0.004 if stem.startswith("cityscapes") else 0.002
        expected = dst_cbc_values(stem, lr, dict(labeled=8, unlabeled=0))
        ratio = stem.removesuffix("_squashed")
        passes, iterations = DST_CBC[ratio][1:3] if ratio in DST_CBC else BASELINES[ratio]
        yield from differing(common(config), dict(expected, iterations=iterations))
        labels = common(config)["labels"]
        total = 10582 if stem.startswith("voc") else 2975
        labeled = get_protocol(labels).labeled.count if labels else total
        if passes * math.ceil(labeled / 8) != iterations:
            yield f"{labels} gives another number of iterations"
        head = config.model.segmentor.decode_head
        if (head.num_active_branches, config.model.segmentor.backbone.norm_cfg.requires_grad) != (2, True):  # fmt: skip
            yield "another network"

    def check_rounds(name: str, config: Config):
        stem = name.split("/")[1]
        ratio, data = stem.removesuffix("_squashed"), stem.split("_")[0]
        lr = 0.004 if data == "cityscapes" else 0.002
        expected = dst_cbc_values(stem, lr, dict(labeled=4, unlabeled=0, pseudo=4))
        expected.update(iterations=DST_CBC[ratio][3])
        yield from differing(common(config), expected)
        unlabeled = get_protocol(common(config)["labels"]).unlabeled.count
        if 6 * math.ceil(unlabeled / 4) != DST_CBC[ratio][3]:
            yield "another number of passes"
        plan, model = Plan.read(config), on_meta(config.model)
        wanted = dict(ratios=(0.2, 0.4, 0.6, 0.8, 1.0), mode="self", start="previous", select="best",
                      carry_best=True, baseline=f"supervised/{stem}_dst_cbc")  # fmt: skip
        yield from differing(dict(vars(plan), ratios=tuple(plan.ratios)), wanted)
        labels = dict(assign="ratio", sampling="batch", exact=True)
        if "squashed" in stem:
            labels["resize"] = dict(voc=(321, 321), cityscapes=(513, 257))[data]
        if Config(dict(plan.labels)).to_dict() != labels:
            yield f"labels are made by {plan.labels}"
        if (type(model.weight).__name__, model.weight.gamma) != ("DynamicWeight", 9):
            yield f"weight is {model.weight}"
        baseline = read(plan.baseline)
        for key in ("segmentor", "data_preprocessor"):
            if baseline.model[key] != config.model[key]:
                yield f"model.{key} is not that of the baseline"
        if baseline.train_dataloader.dataset.labeled != config.train_dataloader.dataset.labeled:
            yield "the baseline has other images"

    check_all(
        [f"supervised/{s}" for s in FILES["supervised"] if s.endswith("dst_cbc")], check_baseline
    )
    check_all([f"dst_cbc/{stem}" for stem in FILES["dst_cbc"]], check_rounds)


def test_dmt_protocol():
    def check(name: str, config: Config):
        stem = name.split("/")[1]
        city = stem.startswith("cityscapes")
        pseudo, passes, gamma = (6, 10, 3) if city else (7, 5 if stem == "voc_1464" else 4, 5)
        counts = dict(labeled=8 - pseudo, unlabeled=0, pseudo=pseudo)
        expected = dst_cbc_values(stem, 0.004 if city else 0.001, counts)
        iterations, first = DMT[stem]
        yield from differing(common(config), dict(expected, iterations=iterations))
        unlabeled = get_protocol(common(config)["labels"]).unlabeled.count
        if passes * math.ceil(unlabeled / pseudo) != iterations:
            yield "another number of passes"
        plan, model = Plan.read(config), on_meta(config.model)
        wanted = dict(
            ratios=(0.2, 0.4, 0.6, 0.8, 1.0), mode="mutual", select="best", carry_best=False
        )
        yield from differing(dict(vars(plan), ratios=tuple(plan.ratios)), wanted)
        if (model.weight.gamma1, model.weight.gamma2) != (gamma, gamma):
            yield f"gamma is {model.weight.gamma1}, {model.weight.gamma2}"
        if common(read(plan.baseline))["labels"] != first:
            yield f"the first baseline is {plan.baseline}"
        second = copy.deepcopy(config)
        set_options(second, plan.second.get("options") or {})
        if "left" in first:
            if common(read(plan.second["baseline"]))["labels"] != first.replace("left", "right"):
                yield "the second baseline has other labels"
        elif (second.model.segmentor.backbone.init_cfg.checkpoint, second.model.segmentor.decode_head.init_cfg,
              second.model.data_preprocessor.bgr_to_rgb) != ("torchvision://resnet101", None, True):  # fmt: skip
            yield "the second model starts otherwise"

    check_all([f"dmt/{stem}" for stem in DMT], check)


def test_st_plus_plus_protocol():
    def check(name: str, config: Config):
        folder, stem = name.split("/")
        stem = stem.removesuffix("_st_plus_plus")
        city = stem.startswith("cityscapes")
        split, labeled, unlabeled, lengths, _ = ST[stem]
        is_baseline = folder == "supervised"
        expected = dict(
            labels=split, iterations=lengths[0 if is_baseline else 2], heads=10,
            optimizer=sgd(0.004 if city else 0.001, 1e-4), wrapper="OptimWrapper", power=[0.9],
            crop=(721, 721) if city else (321, 321),
            counts=dict(labeled=16, unlabeled=0) if is_baseline else dict(labeled=8, unlabeled=0, pseudo=8),
        )  # fmt: skip
        yield from differing(common(config), expected)
        # The lists of a stage: labelled images repeated, then the pseudo-labelled ones; 16 a batch, the rest dropped.
        passes, sizes = (240 if city else 80), [labeled * (2 if labeled < 200 else 1)]
        for count in (unlabeled // 2, unlabeled):
            sizes.append(labeled * math.ceil(count / labeled) + count)
        if tuple(passes * (size // 16) for size in sizes) != lengths:
            yield "the lists give another number of iterations"
        resize = config.train_dataloader.dataset.labeled.pipeline[2]
        sides = [resize.scale[0] * ratio for ratio in resize.ratio_range]
        if [round(side) for side in sides] != ([1024, 4097] if city else [200, 801]):
            yield f"long sides of {sides}"
        if config.model.segmentor.backbone.depth != (101 if stem.startswith("voc") and "1-" not in stem else 50):  # fmt: skip
            yield "another backbone"
        if is_baseline:
            return
        plan, model = Plan.read(config), on_meta(config.model)
        wanted = dict(
            start="pretrained", select="best", images=dict(shares=(0.5, 1.0), checkpoints=3)
        )
        yield from differing(vars(plan), wanted)
        if tuple(plan.iterations) != lengths[1:] or model.weight is not None:
            yield f"rounds of {plan.iterations}, weight {model.weight}"
        labels = dict(assign="all", scales=(0.5, 0.75, 1.0, 1.5, 2.0), flip=True, confidence=False)
        if Config(dict(plan.labels)).to_dict() != labels:
            yield f"labels are made by {plan.labels}"

    check_all(
        [
            f"{f}"
            for stem in ST
            for f in (f"supervised/{stem}_st_plus_plus", f"st_plus_plus/{stem}")
        ],
        check,
    )


def test_parameters_of_the_networks():
    """Networks of ST++ and DST-CBC: docs/methods."""
    counts = {
        "supervised/voc_1-8_st_plus_plus": 40_352_181,
        "supervised/voc_92_st_plus_plus": 59_344_309,
        "supervised/cityscapes_1-8_st_plus_plus": 40_351_667,
        "supervised/voc_1-8_dst_cbc": 44_048_532,
    }
    for name, expected in counts.items():
        assert sum(p.numel() for p in on_meta(read(name).model).student.parameters()) == expected


TEN = (1, 0.909533, 0.818052, 0.725418, 0.631446, 0.535887, 0.438383, 0.338383, 0.234924, 0.125893)


@pytest.mark.parametrize(
    "name, rate, length, expected",
    [
        ("dst_cbc/voc_1-8", 1.0, 10, dict(enumerate(TEN))),
        (
            "st_plus_plus/voc_1-8",
            0.001,
            6560,
            {0: 1e-3, 1: 9.998628038e-4, 3280: 5.358867313e-4, 6559: 3.671018259e-7},
        ),
        (
            "st_plus_plus/cityscapes_1-8",
            0.004,
            5520,
            {1: 3.999347820e-3, 2760: 2.143546925e-3, 5519: 1.715200211e-6},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Detected call of")
def test_poly_schedule(name, rate, length, expected):
    """What the schedule of a config gives in the last steps, too."""
    config = read(name)
    config.train_cfg.max_iters = length
    (settings,) = schedules(config)
    settings = {key: value for key, value in settings.items() if key != "type"}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    schedule = PolyLR(optimizer, **settings)
    for step in range(length):
        if step in expected:
            found = optimizer.param_groups[0]["lr"]
            assert found == pytest.approx(expected[step], rel=5e-6), step
        schedule.step()


@pytest.mark.parametrize(
    "size, long, expected",
    [
        ((500, 375), 200, (200, 150)),
        ((500, 375), 333, (333, 250)),
        ((375, 500), 333, (250, 333)),
        ((500, 334), 271, (271, 181)),
        ((2048, 1024), 1024, (1024, 512)),
    ],
)
def test_sizes_of_st_plus_plus(size, long, expected):
    """Width and height by the long side, rounded as released."""
    data = "cityscapes" if size[0] == 2048 else "voc"
    resize = read(f"st_plus_plus/{data}_1-8").train_dataloader.dataset.labeled.pipeline[2]
    fixed = TRANSFORMS.build(dict(type="Resize", scale=(long, long), keep_ratio=resize.keep_ratio))
    image = np.zeros((*size[::-1], 3), np.uint8)
    assert fixed(dict(img=image, img_shape=image.shape[:2]))["img_shape"] == expected[::-1]


@pytest.mark.parametrize("active, expected", [(4, 15.0), (2, 3.0)])
def test_head_with_biases_of_powers_of_two(active, expected):
    """All weights 0, biases 1, 2, 4, 8: the released head sums two branches of four."""
    config = dict(type="DeepLabV2Head", in_channels=4, in_index=0, num_classes=2)
    head = MODELS.build(dict(config, num_active_branches=active))
    for branch, bias in zip(head.branches, (1.0, 2.0, 4.0, 8.0)):
        torch.nn.init.zeros_(branch.weight)
        torch.nn.init.constant_(branch.bias, bias)
    assert head([torch.randn(1, 4, 5, 5)]).unique().tolist() == [expected]


def test_squashed_images_lose_their_aspect_ratio():
    """Height and width are drawn on their own, all whole numbers of [321, 505] alike."""
    resize = read("dst_cbc/voc_1-20_squashed").train_dataloader.dataset.labeled.pipeline[2]
    squash = Compose([TRANSFORMS.build(resize)])
    np.random.seed(0)
    image = np.zeros((375, 500, 3), np.uint8)
    sizes = [squash(dict(img=image, img_shape=image.shape[:2]))["img_shape"] for _ in range(400)]
    heights, widths = np.asarray(sizes).T
    for sides in (heights, widths):
        assert 321 <= sides.min() < 325 and 501 < sides.max() <= 505
        assert abs(sides.mean() - 413) < 12
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.15
