# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of AdvSemiSeg and s4GAN against the numbers of their sources.

The numbers are typed from adversarial.md sections 2 to 7 and 9, and s4gan_mlmt.md sections 3 to 7 and 9,
not from the configs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from config_files import CONFIGS, header, load, on_meta, read
from mmengine.optim import build_optim_wrapper
from mmseg.registry import TASK_UTILS

from mmsemi.checkpoint_converters.deeplabv2 import preprocessor
from mmsemi.datasets.splits.protocols import get_protocol


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


PUBLISHED = {
    **{
        f"advsemiseg/voc_{name}": Setting(VOC, n, (10, u, 10), 20000, "coco")
        for name, n, u in [
            ("1-8", 1322, 10), ("1-4", 2645, 10), ("1-2", 5291, 10), ("full", 10582, 0),
            ("1-8_adversarial", 1322, 0), ("1-8_legacy-lr", 1322, 10),
        ]
    },
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
            ("1-8_coco", 1322, "coco", "s4gan_voc_1of8"),
            ("full", 10582, "imagenet", None),
        ]
    },
    **{
        f"s4gan/context_1-{r}": Setting(CONTEXT, n, (8, 8, 8), 40000, "imagenet")
        for r, n in {8: 624, 4: 1249}.items()
    },
    **{
        f"s4gan/cityscapes_1-{r}": Setting(CITY, n, (8, 8, 8), 40000, "imagenet", 2.5e-4, 1e-5, 0.7)
        for r, n in {8: 371, 4: 743}.items()
    },
    "s4gan/cityscapes_1-10_wrn38": Setting(
        CITY, 297, (8, 8, 8), 40000, "wrn38", 1e-3, 1e-5, 0.55
    ),
}  # fmt: skip
FUSED = {
    "voc_1-8": "voc_1-8",
    "voc_1-20": "voc_1-20",
    "voc_1-50": "voc_1-50",
    "voc_1-8_coco": "voc_1-8",
    "shapes_1-8": "shapes_1-8",
}
RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
CAFFE = dict(mean=[104.00698793, 116.66876762, 122.67891434], std=[1.0] * 3, bgr_to_rgb=False)


def test_the_folders_have_these_files():
    tests_only = {"advsemiseg/voc_published_checkpoint", "advsemiseg/cityscapes_full-resolution",
                  "s4gan/cityscapes_full-resolution", *(f"s4gan/{x}_fused" for x in FUSED if "voc" in x)}  # fmt: skip
    for folder in ("advsemiseg", "s4gan"):
        found = {f"{folder}/{path.stem}" for path in (CONFIGS / folder).glob("[vc][oi]*.py")}
        assert found == {x for x in {*PUBLISHED, *tests_only} if x.startswith(folder)}
        assert {"shapes_1-8", "camvid_1-8"} <= {p.stem for p in (CONFIGS / folder).glob("*.py")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name):
    setting, config = PUBLISHED[name], load(name)
    data = setting.data
    method = dict(advsemiseg="AdvSemiSeg", s4gan="S4GAN")[name.split("/")[0]]
    assert config.model.type == method
    loader = config.train_dataloader
    counts = loader.sampler.num_per_source
    assert (counts.labeled, counts.unlabeled, counts.gt) == setting.batch
    assert loader.batch_size == config.auto_scale_lr.base_batch_size == sum(setting.batch)
    assert config.train_cfg.max_iters == setting.iterations
    assert config.train_cfg.val_interval == config.default_hooks.checkpoint.interval == 5000

    main = config.optim_wrapper.optimizer
    assert main == dict(type="SGD", lr=setting.lr, momentum=0.9, weight_decay=5e-4)
    other = config.optim_wrapper.discriminator.optimizer
    assert other == dict(type="Adam", lr=setting.lr_discriminator, betas=(0.9, 0.99))
    (schedule,) = config.param_scheduler  # a list holds for both optimisers
    assert (schedule.power, schedule.begin, schedule.end) == (0.9, 0, setting.iterations + 1)

    dataset = loader.dataset
    ids = [f"{number:05}" for number in range(data.images)]
    if dataset.split is None:
        labeled, unlabeled = ids, (ids if counts.unlabeled else [])
        assert dataset.unlabeled.pool == ("all" if counts.unlabeled else "rest")
    elif setting.split:
        assert dataset.split == dict(type="PublishedSplit", name=setting.split)
        protocol = get_protocol(setting.split)
        labeled, unlabeled = ids[: protocol.labeled.count], ids[protocol.labeled.count :]
        assert len(unlabeled) == protocol.unlabeled.count
        assert f"--protocol {setting.split} --file-labeled split_0.pkl" in import_of(name)
    else:
        assert (dataset.split.type, dataset.split.seed) == ("RatioSplit", 0)
        labeled, unlabeled = TASK_UTILS.build(dataset.split)(ids)
    assert len(labeled) == setting.labeled
    assert dataset.sources.gt.pool == "labeled"

    text = header(name)
    assert f"{setting.labeled:,} labelled" in text and f"{setting.iterations:,} iterations" in text
    if counts.unlabeled and dataset.split is not None and "legacy" not in name:
        assert f"{len(unlabeled):,} unlabelled" in text
    assert "ublished" in text

    model = on_meta(config.model)
    defaults = dict(AdvSemiSeg=0.2, S4GAN=0.6)
    assert model.semi_train_cfg["threshold"] == (setting.threshold or defaults[method])
    if method == "AdvSemiSeg":
        published = dict(adv_weight=0.01, unsup_adv_weight=0.001, unsup_weight=0.1,
                         unsup_start=5000, unsup_adv_start=0, judge_unlabeled=True)  # fmt: skip
        parameters = 2_783_169 - (21 - data.classes) * 64 * 16
    else:
        published = dict(matching_weight=0.1, unsup_weight=1.0, unsup_start=1, score_mode="train")
        parameters = {21: 2_778_561, 60: 2_818_497, 19: 2_776_513}[data.classes]
    assert published.items() <= model.semi_train_cfg.items()
    assert sum(p.numel() for p in model.discriminator.parameters()) == parameters
    assert model.num_classes == data.classes


def import_of(name: str) -> str:
    """The headers where a labelled list is named: the config's and its baseline's."""
    folder, stem = name.split("/")
    baseline = f"supervised/{stem.removesuffix('_legacy-lr')}_{folder}"
    return header(name) + header(baseline)


@pytest.mark.parametrize("name", PUBLISHED)
def test_net_weights_and_input(name):
    """Which weights, and the input that they were trained with (T2, T3, T12)."""
    setting, config = PUBLISHED[name], load(name)
    segmentor, processor = config.model.segmentor, config.model.data_preprocessor
    backbone, head = segmentor.backbone, segmentor.decode_head
    expected = CAFFE if setting.weights == "coco" else RGB
    assert {key: processor[key] for key in expected} == expected
    assert tuple(processor.size) == setting.data.crop
    padded = (processor.get("test_cfg") or {}).get("size")
    assert padded == setting.data.padded
    assert segmentor.test_cfg == dict(mode="whole") and head.align_corners
    assert head.loss_decode == dict(type="PixelCrossEntropy")
    if setting.weights == "wrn38":
        assert backbone.type == "WiderResNet38" and backbone.norm_cfg.requires_grad
        return
    assert (backbone.style, backbone.norm_cfg.requires_grad, backbone.norm_eval) == (
        "caffe" if setting.weights == "coco" else "pytorch", False, False
    )  # fmt: skip
    checkpoint = "checkpoints/deeplabv2_r101_coco.pth"
    assert backbone.init_cfg.checkpoint == (
        checkpoint if setting.weights == "coco" else "torchvision://resnet101"
    )
    # MS-COCO's head has VOC's 21 classes.
    has_head = setting.weights == "coco" and setting.data is VOC
    init = dict(type="Pretrained", checkpoint=checkpoint, prefix="decode_head.")
    assert head.get("init_cfg") == (init if has_head else None)
    assert head.get("num_active_branches") is None, "all four"


@pytest.mark.parametrize(
    ("name", "backbone", "shortcut", "stem"),
    [
        ("advsemiseg/voc_1-8", 1, 1, 1),
        ("advsemiseg/voc_1-8_legacy-lr", 3, 4, 1),
        ("s4gan/voc_1-8_legacy-lr", 3, 4, 1),
        ("s4gan/cityscapes_1-10_wrn38", 1, 1, 1),
    ],
)
def test_learning_rates(name, backbone, shortcut, stem):
    """Each weight once; the head 10 times as fast; weight decay on all but the discriminator."""
    config = load(name)
    model = on_meta(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    for member, decay in (("segmentor", 5e-4), ("discriminator", 0.0)):
        groups = wrapper[member].optimizer.param_groups
        owner = {id(p): group for group in groups for p in group["params"]}
        assert len(owner) == sum(len(group["params"]) for group in groups)
        module = model.student if member == "segmentor" else model.discriminator
        trained = {key: p for key, p in module.named_parameters() if p.requires_grad}
        assert {id(p) for p in trained.values()} == set(owner)
        for key, parameter in trained.items():
            factor = 1.0
            if member == "segmentor":
                factor = backbone
                for part, own in (("decode_head", 10), ("downsample", shortcut),
                                  ("backbone.conv1", stem)):  # fmt: skip
                    factor = own if part in key else factor
            base = config.optim_wrapper
            base = base.optimizer.lr if member == "segmentor" else base.discriminator.optimizer.lr
            assert owner[id(parameter)]["lr"] == pytest.approx(factor * base), key
            assert owner[id(parameter)]["weight_decay"] == decay, key


def test_the_published_checkpoints_run_as_they_were_trained():
    """What the converter prints: two branches, RGB minus the mean, padded to 505."""
    config = load("advsemiseg/voc_published_checkpoint")
    processor, head = config.model.data_preprocessor, config.model.segmentor.decode_head
    settings = preprocessor(is_rgb=True)
    assert {key: processor[key] for key in settings} == settings
    assert (head.num_active_branches, processor.test_cfg.size) == (2, (505, 505))
    assert head.init_cfg is config.model.segmentor.backbone.init_cfg is None


# ---------------------------------------------------------------- fusion and documents


@pytest.mark.parametrize(("name", "classifier"), FUSED.items())
def test_fusion_takes_the_scores_of_a_classifier_with_the_same_labels(name, classifier):
    config, alone, mlmt = (
        load(f"s4gan/{name}_fused"),
        load(f"s4gan/{name}"),
        load(f"mlmt/{classifier}"),
    )
    plain, gated = config.test_evaluator
    assert plain == alone.test_evaluator == dict(type="IoUMetric", iou_metrics=["mIoU"])
    scores = f"work_dirs/mlmt/{classifier}/scores.npz"
    assert gated == dict(
        type="GatedIoUMetric", iou_metrics=["mIoU"], gate=dict(scores=scores, threshold=0.2)
    )
    evaluators = mlmt.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    assert scores in [evaluator.get("out_file") for evaluator in evaluators]
    assert mlmt.train_dataloader.dataset.split == config.train_dataloader.dataset.split
    for one in (config, alone):
        one.pop("test_evaluator")
    assert config.to_dict() == alone.to_dict()


def test_baselines_name_their_publication():
    for path in (*(CONFIGS / "supervised").glob("*_advsemiseg.py"),
                 *(CONFIGS / "supervised").glob("*_s4gan.py")):  # fmt: skip
        text = header(f"supervised/{path.stem}")
        config = read(f"supervised/{path.stem}")
        assert f"{config.train_cfg.max_iters:,} iterations" in text and "ublished" in text
        folder = path.stem.rsplit("_", 1)[1]
        assert f"{folder}/{path.stem.removesuffix('_' + folder)}" in PUBLISHED


@pytest.mark.parametrize("folder", ["advsemiseg", "s4gan"])
def test_quoted_results_carry_their_mark(folder):
    """Each mIoU in a header is in the README, too, with the same mark."""
    readme = (CONFIGS / folder / "README.md").read_text()
    quoted = set()
    for name in [name for name in PUBLISHED if name.startswith(folder)]:
        quoted |= set(re.findall(r"\b(\d\d\.\d)(?: mIoU)? (\[[VQAR]\])", header(name)))
        baseline = CONFIGS / "supervised" / f"{name.split('/')[1]}_{folder}.py"
        if baseline.is_file():
            text = header(f"supervised/{baseline.stem}")
            quoted |= set(re.findall(r"\b(\d\d\.\d)(?: mIoU)? (\[[VQAR]\])", text))
    assert len(quoted) > 8
    missing = {pair for pair in quoted if " ".join(pair) not in readme}
    assert not missing
