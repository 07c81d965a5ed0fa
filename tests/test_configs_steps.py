# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings at work: pipelines, views, networks, one step, the test.

Sizes, scales and counts are typed from the papers and released codes; docs/methods cites them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from config_files import CONFIGS, check_all, on_meta, pipelines, read
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

FACTORS = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]

# ---------------------------------------------------------------- pipelines


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict:
    """An image of Cityscapes' shape at a quarter of its size; class 18 is one pixel of its mask."""
    folder = tmp_path_factory.mktemp("image")
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (256, 512, 3), dtype=np.uint8)
    mask = image[..., 0] % 5
    mask[128, 301] = 18
    Image.fromarray(image).save(folder / "x.jpg")
    Image.fromarray(mask).save(folder / "x.png")
    return dict(img_path=str(folder / "x.jpg"), seg_map_path=str(folder / "x.png"))


def run(pipeline: list, files: dict) -> dict:
    transforms = Compose([TRANSFORMS.build(transform) for transform in pipeline])
    return transforms(dict(**files, seg_fields=[], reduce_zero_label=False, label_map=None))


def test_training_pipelines_run(files):
    """Images fit the crop, masks are where they belong; ground truth of AdvSemiSeg has no padding."""
    np.random.seed(0)

    def check(name: str, config: Config) -> Iterator[str]:
        crop = config.train_dataloader.dataset.get("crop_size")
        whole = {
            "advsemiseg/cityscapes_1-8": (512, 1024),
            "mlmt/voc_1-8": (320, 320),
            "mlmt/context_1-8": (320, 320),
        }.get(name)
        for source, pipeline in pipelines(config):
            for _ in range(4):
                packed = run(pipeline, files)
                size = packed["inputs"].shape[-2:]
                never_padded = source == "gt" and name.startswith("advsemiseg")
                full = whole or (crop if "s4gan/city" in name or never_padded else None)
                if full and size != full or crop and (size[0] > crop[0] or size[1] > crop[1]):
                    yield f"an image of {source} is {tuple(size)}"
                if ("gt_sem_seg" in packed["data_samples"]) != (source != "unlabeled"):
                    yield f"{source}: a mask too many or too few"

    check_all(
        ["advsemiseg/voc_1-8", "advsemiseg/cityscapes_1-8", "advsemiseg/shapes_1-8",
         "advsemiseg/camvid_1-8", "s4gan/voc_1-8", "s4gan/context_1-8", "s4gan/cityscapes_1-8",
         "unimatch/voc_92", "augseg/voc_92", "augseg/cityscapes_1-8", "cps/voc_1-8", "cac/voc_1-8", "u2pl/voc_92",
         "u2pl/cityscapes_1-8", "cps/voc_1-8_cac", "mlmt/voc_1-8", "mlmt/context_1-8", "mlmt/shapes_1-8"],
        check,
    )  # fmt: skip


def test_augmentations():
    for name in ("advsemiseg/voc_1-8", "s4gan/voc_1-8"):
        found = dict(pipelines(read(name)))
        for source in ("labeled", "unlabeled"):
            scale, crop, flip = found[source][-4:-1]
            drawn = [transforms[0]["scale_factor"] for transforms in scale["transforms"]]
            assert drawn == FACTORS and scale.get("prob") is None
            assert (crop.type, crop.crop_size) == ("RandomCrop", (321, 321))
            assert flip == dict(type="RandomFlip", prob=0.5)
    covering = dict(pipelines(read("advsemiseg/voc_1-8")))["gt"][2]
    assert (list(covering.ratios), covering.crop_size) == (FACTORS, (321, 321))
    resize, *_, blur, _ = read("s4gan/context_1-8").train_dataloader.dataset.labeled.pipeline[2:]
    built = TRANSFORMS.build(blur)
    assert (built.prob, built.magnitude_range) == (0.5, (0.0, 1.0))
    assert [resize.scale[1] * ratio for ratio in resize.ratio_range] == [252.5, 1010.0]


@pytest.mark.parametrize(
    ("name", "size", "scale", "expected"),
    [
        ("augseg/voc_92", (375, 500), (731, 731), (548, 731)),
        ("augseg/voc_92", (500, 375), (250, 250), (250, 188)),
        ("augseg/cityscapes_1-8", (1024, 2048), (1497, 748), (748, 1497)),
    ],
)
def test_sizes_of_augseg(name, size, scale, expected):
    """docs/methods/augseg.md#sizes: height and width of an image, before and after."""
    resize = TRANSFORMS.build(dict(pipelines(read(name)))["unlabeled"][1])
    image = np.zeros((*size, 3), np.uint8)
    resize._random_scale = lambda: scale
    assert resize(dict(img=image, img_shape=size))["img"].shape[:2] == expected


def test_long_sides_of_cac():
    """Of VOC every whole number from 200 or 320 to 800; the short side is rounded half up."""
    np.random.seed(0)
    found = dict(pipelines(read("cac/voc_1-8")))
    for source, position, least in (("labeled", 2, 200), ("unlabeled", 1, 320)):
        resize = TRANSFORMS.build(found[source][position])
        counts = np.bincount([resize._random_scale()[0] for _ in range(20_000)])
        assert len(counts) == 801 and (counts[least:] > 0).all() and not counts[:least].any()
    resize._random_scale = lambda: (333, 333)
    image = np.zeros((375, 500, 3), np.uint8)
    assert resize(dict(img=image, img_shape=(375, 500)))["img"].shape[:2] == (250, 333)


def test_long_sides_of_augseg():
    """Of VOC every whole number from 250 to 1,000; of Cityscapes 0.5 to 2 times the image."""
    np.random.seed(0)
    resize = TRANSFORMS.build(dict(pipelines(read("augseg/voc_92")))["unlabeled"][1])
    drawn = [resize._random_scale() for _ in range(30_000)]
    assert all(width == height for width, height in drawn)
    counts = np.bincount([width for width, _ in drawn])
    assert len(counts) == 1001 and (counts[250:] > 0).all() and not counts[:250].any()
    assert counts[250:].max() < 80 and counts[[250, 1000]].min() > 15, "40 on average"
    resize = TRANSFORMS.build(dict(pipelines(read("augseg/cityscapes_1-8")))["unlabeled"][1])
    drawn = [resize._random_scale() for _ in range(3_000)]
    assert min(drawn) >= (1024, 512) and max(drawn) < (4096, 2048)
    assert all(abs(width - 2 * height) <= 1 for width, height in drawn)


def test_labels_of_a_classifier(files):
    """MLMT: the classes of the full mask, though 320 x 320 loses one; of the crop on the built-in set."""
    whole = run(dict(pipelines(read("mlmt/voc_1-8")))["labeled"], files)["data_samples"]
    assert whole.image_labels == (0, 1, 2, 3, 4, 18) and 18 not in whole.gt_sem_seg.data
    tested = run(read("mlmt/voc_1-8").val_dataloader.dataset.pipeline, files)
    assert tested["inputs"].shape == (3, 320, 320)
    assert tested["data_samples"].gt_sem_seg.shape == (256, 512), "the truth has the file's size"
    steps = [step.type for step in dict(pipelines(read("mlmt/shapes_1-8")))["labeled"]]
    assert steps.index("AddImageLabels") == steps.index("RandomCrop") + 2 == len(steps) - 2


@pytest.mark.parametrize(
    ("name", "image", "mask"),
    [
        ("advsemiseg/voc_1-8", (256, 512), (256, 512)),
        ("advsemiseg/cityscapes_1-8", (512, 1024), (512, 1024)),
        ("advsemiseg/cityscapes_full-resolution", (512, 1024), (256, 512)),
        ("s4gan/cityscapes_1-8", (512, 1024), (512, 1024)),
        ("s4gan/cityscapes_full-resolution", (512, 1024), (256, 512)),
        ("s4gan/context_1-8", (512, 512), (512, 512)),
    ],
)
def test_scores_compare_predictions_and_masks_of_one_size(name, image, mask, files):
    """Predictions are resized to ``ori_shape``, so it has to be the size of the masks."""
    config = read(name)
    packed = run(config.test_dataloader.dataset.pipeline, files)
    assert packed["inputs"].shape[-2:] == image
    sample = packed["data_samples"]
    assert sample.gt_sem_seg.data.shape[-2:] == sample.metainfo["ori_shape"] == mask
    assert "gt_sem_seg" in run(config.val_dataloader.dataset.pipeline, files)["data_samples"]
    sample = run(config.test_pipeline, files)["data_samples"]  # for new images
    assert sample.metainfo["ori_shape"] == (256, 512)


# ---------------------------------------------------------------- views, networks


def test_strong_views():
    """Of UniMatch the defaults of their classes; of MLMT as released."""
    for name, probabilities, jitter, hue in (
        ("unimatch/voc_92", (0.8, 0.2, 0.5), (0.5, 1.5), 0.25),
        ("fixmatch/voc_92", (0.8, 0.2, 0.5), (0.5, 1.5), 0.25),
        ("mlmt/voc_1-8", (1.0, 0.0, 1.0), (0.6, 1.4), 0.1),
    ):
        strong = MODELS.build(read(name).model.strong)
        assert strong.probabilities == probabilities  # jitter, grey, blur
        expected = [jitter] * 3 + [(-hue, hue), (0.1, 2.0)]
        torch.testing.assert_close(strong.ranges, torch.tensor(expected))
    model = on_meta(read("unimatch/voc_92").model)
    mix = model.mix
    assert model.settings.num_views == 2
    assert (mix.prob, mix.area_range, mix.pairing) == (0.5, (0.02, 0.4), "permute")
    assert mix.aspect_range == (0.3, 1 / 0.3)


@pytest.mark.parametrize(
    ("name", "total"), [("voc_92", 59_468_085), ("cityscapes_1-8", 59_467_571)]
)
def test_the_net_of_unimatch_has_the_published_size(name, total):
    """With the published stem and with OpenMMLab's (docs/methods/unimatch.md)."""
    model = read(f"unimatch/{name}").model
    narrow = on_meta(model)
    assert narrow.student.backbone.layer4[0].conv2.dilation == (1, 1)
    assert narrow.student.backbone.layer4[1].conv2.dilation == (2, 2)
    assert not any(m.p for m in narrow.modules() if isinstance(m, nn.Dropout))
    model.segmentor.backbone.stem_channels = 128
    wide = on_meta(model)
    assert sum(p.numel() for p in wide.student.parameters()) == total
    assert sum(p.numel() for p in wide.student.backbone.parameters()) == 42_623_936
    count = sum(p.numel() for p in narrow.student.parameters())
    assert count == total - (23_631_808 - 23_527_264)


@pytest.mark.parametrize(
    ("variant", "total"),
    [
        (None, 24_795_637 - 384 - 73_856),
        ("dinov2_base", 97_528_789 - 768 - 295_168),
        ("dinov3_small", 21_586_944 + 2_665_205),
        ("dinov3_base", 85_641_216 + 10_653_141),
    ],
)
def test_the_nets_of_unimatch_v2_have_the_published_size(variant, total):
    """Without the mask token and the residual unit that nothing trains (docs/encoders.md)."""
    config = read("supervised/voc_92_unimatch_v2")
    if variant is not None:
        base = Config.fromfile(CONFIGS / "_base_" / "models" / "dpt_dino.py")
        config.merge_from_dict(dict(model=dict(segmentor=base[variant].to_dict())))
    net = on_meta(config.model).student
    assert sum(p.numel() for p in net.parameters()) == total


@pytest.mark.parametrize(("depth", "total"), [(50, 40_352_181), (101, 59_344_309)])
def test_the_net_of_cac_has_the_published_size(depth, total):
    """docs/methods/cac.md#known-answers"""
    config = read("cac/voc_1-8").model
    config.segmentor.backbone.depth = depth
    model = on_meta(config)
    assert sum(p.numel() for p in model.student.parameters()) == total
    assert sum(p.numel() for p in model.projector.parameters()) == 98_688
    assert [block.conv2.dilation[0] for block in model.student.backbone.layer4] == [2, 4, 8]
    dropouts = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    assert sorted(dropouts) == [0.1, 0.5, 0.5]
    psp = on_meta(read("cac/voc_1-8_psp").model)
    assert psp.projector[0].in_channels == 512
    assert [block.conv2.dilation[0] for block in psp.student.backbone.layer4] == [4, 4, 4]


@pytest.mark.parametrize("name", ["voc_92", "cityscapes_1-8"])
def test_the_net_of_augseg_is_that_of_unimatch_with_multi_grid(name):
    """The published one has 48 weights more, a bias in front of a norm, which takes it out again."""
    ours, other = (
        on_meta(read(f"{folder}/{name}").model).student for folder in ("augseg", "unimatch")
    )
    assert [block.conv2.dilation[0] for block in ours.backbone.layer4] == [2, 4, 8]
    assert [block.conv2.stride[0] for block in ours.backbone.layer4] == [1, 1, 1]
    sizes = [{key: p.shape for key, p in net.named_parameters()} for net in (ours, other)]
    assert sizes[0] == sizes[1]


def test_the_net_of_mlmt():
    model = on_meta(read("mlmt/voc_1-8").model)
    # torchvision's ResNet-101 has 44,549,160 parameters, 2,049,000 of them in its last layer.
    count = sum(p.numel() for p in model.student.parameters())
    assert count == 44_549_160 - 2_049_000 + 21 * 2049
    assert model.student.backbone.layer1[0].conv2.stride == (1, 1)
    assert model.student.backbone.layer2[0].conv2.stride == (2, 2), "torchvision's place"
    assert (model.teacher.momentum, model.teacher.warmup) == (0.001, True)


# ---------------------------------------------------------------- a step, and a test


def shrunk(name: str) -> tuple[Config, nn.Module]:
    """A published config with its method, counts and preprocessor, around a very narrow net."""
    config = read(name)
    segmentor, bn = config.model.segmentor, dict(type="BN", requires_grad=True)
    segmentor.backbone.update(depth=50, base_channels=4, stem_channels=4, init_cfg=None)
    if segmentor.decode_head.type == "DeepLabV2Head":
        segmentor.decode_head.update(in_channels=128, init_cfg=None)
    else:
        segmentor.backbone.norm_cfg = segmentor.decode_head.norm_cfg = ConfigDict(bn)
        segmentor.decode_head.update(in_channels=[16, 128], channels=8)
        if segmentor.decode_head.type == "DeepLabV3PlusHead":
            segmentor.decode_head.c1_channels = 4
    if "auxiliary_head" in segmentor:
        segmentor.auxiliary_head.update(in_channels=64, channels=4, norm_cfg=ConfigDict(bn))
    config.model.data_preprocessor.update(size=(49, 49))
    if "discriminator" in config.model:
        config.model.discriminator.base_channels = 4
    if config.model.type == "U2PL":
        config.model.total_iters = config.train_cfg.max_iters  # which a loop would tell
    return config, MODELS.build(config.model)


@pytest.mark.parametrize(
    "name",
    [*(f"{folder}/voc_1-8" for folder in ("mean_teacher", "cutmix_mean_teacher", "fixmatch", "unimatch", "cps")),
     "cps/voc_92", "prevmatch/voc_92", "prevmatch/cityscapes_1-8", "augseg/voc_92", "augseg/cityscapes_1-8", "u2pl/cityscapes_1-8", "advsemiseg/voc_1-8", "advsemiseg/voc_full", "s4gan/voc_1-8", "s4gan/voc_full",
     "s4gan/context_1-8", "s4gan/cityscapes_1-8"],
)  # fmt: skip
def test_a_published_config_trains_one_step(name):
    """Counts, views, mixes and losses fit together with the images of one GPU; all networks learn."""
    config, model = shrunk(name)
    model.train()
    images, samples = [], []
    for source, count in config.train_dataloader.sampler.num_per_source.items():
        for number in range(count):
            images.append(torch.randint(0, 255, (3, 49, 40 + number % 9), dtype=torch.uint8))
            meta = dict(source=source, img_path=f"{source}{number}", draw_seed=number)
            sample = SegDataSample(metainfo=meta)
            if source != "unlabeled":
                mask = torch.randint(0, 19, (1, 49, 40 + number % 9), dtype=torch.uint8)
                sample.set_data(dict(gt_sem_seg=PixelData(data=mask)))
            samples.append(sample)
    if model.has_teacher:
        model.teacher.start(model.student)
    if name.startswith("prevmatch"):
        model.previous.length = 1
        model.previous.add(model.student, 0)
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    losses = model(**batch, mode="loss")
    assert any(key.startswith("unsup.") for key in losses) == (name != "advsemiseg/voc_full")
    total = sum(value for key, value in losses.items() if "loss" in key)
    assert total.isfinite()
    total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["cac/voc_1-8", "cac/voc_1-8_psp"])
def test_a_step_of_cac(name, files):
    """Pairs, as the loader makes them at a smaller crop, of two images, and a narrow net."""
    config = read(name)
    config.train_dataloader.dataset.crop_size = (64, 64)
    segmentor, bn = config.model.segmentor, ConfigDict(type="BN", requires_grad=True)
    segmentor.backbone.update(base_channels=4, stem_channels=4, init_cfg=None, norm_cfg=bn)
    is_psp = segmentor.decode_head.type == "PSPHead"
    segmentor.decode_head.update(in_channels=128 if is_psp else [16, 128], channels=8, norm_cfg=bn)
    config.model.update(start_iter=0, threshold=0.0)
    config.model.data_preprocessor.size = (64, 64)
    model = MODELS.build(config.model).train()
    model.prepare_training()
    batch, found = [], dict(pipelines(config))
    for source in ("labeled", "labeled", "unlabeled", "unlabeled"):
        packed = run(found[source], files)
        packed["data_samples"].set_metainfo(dict(source=source, draw_seed=len(batch)))
        batch.append(packed)
    losses = model(**model.data_preprocessor(pseudo_collate(batch), training=True), mode="loss")
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert losses["unsup.loss_dc1"] + losses["unsup.loss_dc2"] > 0
    assert model.memory_bank.steps[0][0].shape == (2 * 2 * 64, 128)
    assert all(p.grad is not None for p in model.parameters())


def test_a_step_of_the_published_classifier(files):
    """Pipelines, preprocessor and a narrow net fit together."""
    config = read("mlmt/voc_1-8")
    backbone, head = config.model.classifier.backbone, config.model.classifier.head
    backbone.update(depth=18, base_channels=4, stem_channels=4, init_cfg=None)
    head.in_channels = 32
    model = MODELS.build(config.model).train()
    model.teacher.start(model.student)
    batch, found = [], dict(pipelines(config))
    for source, count in (("labeled", 2), ("unlabeled", 4)):
        for number in range(count):
            packed = run(found[source], files)
            packed["data_samples"].set_metainfo(dict(source=source, draw_seed=number))
            batch.append(packed)
    data = model.data_preprocessor(pseudo_collate(batch), training=True)
    losses = model(**data, mode="loss")
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert losses["unsup.distance"] > 0 and losses["unsup.loss_consistency"] == 0
    assert all(p.grad is not None for p in model.student.parameters())


def test_test_images_are_padded_and_cut_back():
    """AdvSemiSeg: padded to 505 with the mean, logits cropped to the image."""
    config, model = shrunk("advsemiseg/voc_1-8")
    model.eval()
    sample = SegDataSample(metainfo=dict(ori_shape=(50, 70), img_shape=(50, 70)))
    image = torch.randint(0, 255, (3, 50, 70), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), training=False)
    assert data["inputs"].shape == (1, 3, 505, 505) and not data["inputs"][..., 50:, :].any()
    with torch.no_grad():
        (result,) = model(**data, mode="predict")
        whole = model.student.encode_decode(data["inputs"], [dict(img_shape=(505, 505))])
    assert config.model.data_preprocessor.test_cfg.size == (505, 505)
    torch.testing.assert_close(result.seg_logits.data, whole[0, :, :50, :70])


def test_test_images_are_padded_by_reflection():
    """CAC: to a multiple of 8 at the bottom and right; a border of the image, not the mean colour."""
    preprocessor = MODELS.build(read("cac/voc_1-8").model.data_preprocessor)
    image = torch.randint(0, 255, (3, 50, 72), dtype=torch.uint8)
    sample = SegDataSample(metainfo=dict(ori_shape=(50, 72), img_shape=(50, 72)))
    data = preprocessor(dict(inputs=[image], data_samples=[sample]), training=False)
    padded = data["inputs"][0]
    assert padded.shape == (3, 56, 72)
    assert torch.equal(padded[:, 50:], padded[:, 43:49].flip(1))
    assert list(data["data_samples"][0].metainfo["img_padding_size"]) == [0, 0, 0, 6]
