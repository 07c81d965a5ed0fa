# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of AdvSemiSeg and s4GAN at work: pipelines, one step, the padded test.

Sizes and scales are typed from adversarial.md and s4gan_mlmt.md, sections 2 and 6.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from config_files import load, read
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

FACTORS = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]

# ---------------------------------------------------------------- pipelines


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict:
    """An image of Cityscapes' shape at a quarter of its size, and its mask."""
    folder = tmp_path_factory.mktemp("image")
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (256, 512, 3), dtype=np.uint8)
    Image.fromarray(image).save(folder / "x.jpg")
    Image.fromarray(image[..., 0] % 19).save(folder / "x.png")
    return dict(img_path=str(folder / "x.jpg"), seg_map_path=str(folder / "x.png"))


def run(pipeline: list, files: dict) -> dict:
    transforms = Compose([TRANSFORMS.build(transform) for transform in pipeline])
    return transforms(dict(**files, seg_fields=[], reduce_zero_label=False, label_map=None))


@pytest.mark.parametrize("name", [
    "advsemiseg/voc_1-8", "advsemiseg/cityscapes_1-8", "advsemiseg/shapes_1-8",
    "advsemiseg/camvid_1-8", "s4gan/voc_1-8", "s4gan/context_1-8", "s4gan/cityscapes_1-8",
])  # fmt: skip
def test_training_pipelines_run(name, files):
    np.random.seed(0)
    config = read(name)
    dataset, crop = config.train_dataloader.dataset, tuple(config.crop_size)
    for part in (dataset.labeled, dataset.unlabeled, dataset.sources.gt):
        for _ in range(4):
            packed = run(part.pipeline, files)
            height, width = packed["inputs"].shape[-2:]
            assert height <= crop[0] and width <= crop[1]
            if "cityscapes" in name or (
                part is dataset.sources.gt and name.startswith("advsemiseg")
            ):
                assert (height, width) == crop, "never padded"
            masked = "gt_sem_seg" in packed["data_samples"]
            assert masked == (part is not dataset.unlabeled)


def test_augmentation_of_voc():
    for name in ("advsemiseg/voc_1-8", "s4gan/voc_1-8"):
        dataset = read(name).train_dataloader.dataset
        for part in (dataset.labeled, dataset.unlabeled):
            scale, crop, flip = part.pipeline[-4:-1]
            drawn = [transforms[0]["scale_factor"] for transforms in scale["transforms"]]
            assert drawn == FACTORS and scale.get("prob") is None
            assert crop == dict(type="RandomCrop", crop_size=(321, 321))
            assert flip == dict(type="RandomFlip", prob=0.5)
    covering = read("advsemiseg/voc_1-8").train_dataloader.dataset.sources.gt.pipeline[2]
    assert (list(covering.ratios), covering.crop_size) == (FACTORS, (321, 321))


def test_augmentation_of_context():
    blur = read("s4gan/context_1-8").train_dataloader.dataset.labeled.pipeline[-2]
    built = TRANSFORMS.build(blur)
    assert (built.prob, built.magnitude_range) == (0.5, (0.0, 1.0))
    resize = read("s4gan/context_1-8").train_dataloader.dataset.labeled.pipeline[2]
    short = [resize.scale[1] * ratio for ratio in resize.ratio_range]
    assert short == [252.5, 1010.0]


@pytest.mark.parametrize(
    ("name", "image", "mask"),
    [
        ("advsemiseg/voc_1-8", (256, 512), (256, 512)),
        ("advsemiseg/cityscapes_1-8", (512, 1024), (512, 1024)),
        ("s4gan/cityscapes_1-8", (512, 1024), (512, 1024)),
        ("s4gan/cityscapes_full-resolution", (512, 1024), (256, 512)),
        ("s4gan/context_1-8", (512, 512), (512, 512)),
    ],
)
def test_scores_compare_predictions_and_masks_of_one_size(name, image, mask, files):
    """Predictions are resized to ``ori_shape``, so it has to be the size of the masks."""
    packed = run(read(name).test_dataloader.dataset.pipeline, files)
    assert packed["inputs"].shape[-2:] == image
    sample = packed["data_samples"]
    assert sample.gt_sem_seg.data.shape[-2:] == sample.metainfo["ori_shape"] == mask
    for key in ("val_dataloader", "test_pipeline"):  # the latter is for new images
        pipeline = read(name)[key]
        pipeline = pipeline if key == "test_pipeline" else pipeline.dataset.pipeline
        assert "gt_sem_seg" in run(pipeline, files)["data_samples"]
    sample = run(read(name).test_pipeline, files)["data_samples"]
    assert sample.metainfo["ori_shape"] == (256, 512)


# ---------------------------------------------------------------- steps


def shrunk(name: str) -> tuple[Config, torch.nn.Module]:
    """A published config with its method, counts and preprocessor, around a very narrow net."""
    config = load(name)
    segmentor = config.model.segmentor
    segmentor.backbone.update(depth=50, base_channels=4, stem_channels=4, init_cfg=None)
    segmentor.decode_head.update(in_channels=128, init_cfg=None)
    config.model.data_preprocessor.update(size=(49, 49))
    if "discriminator" in config.model:
        config.model.discriminator.base_channels = 4
    return config, MODELS.build(config.model)


@pytest.mark.parametrize(
    "name",
    ["advsemiseg/voc_1-8", "advsemiseg/voc_full", "s4gan/voc_1-8", "s4gan/voc_full",
     "s4gan/context_1-8", "s4gan/cityscapes_1-8"],
)  # fmt: skip
def test_a_published_config_trains_one_step(name):
    """Counts, sources and losses fit together; both networks learn."""
    config, model = shrunk(name)
    model.train()
    images, samples = [], []
    for source, count in config.train_dataloader.sampler.num_per_source.items():
        for number in range(count):
            images.append(torch.randint(0, 255, (3, 49, 40 + number % 9), dtype=torch.uint8))
            sample = SegDataSample(metainfo=dict(source=source, img_path=f"{source}{number}"))
            if source != "unlabeled":
                mask = torch.randint(0, 19, (1, 49, 40 + number % 9), dtype=torch.uint8)
                sample.set_data(dict(gt_sem_seg=PixelData(data=mask)))
            samples.append(sample)
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    assert "gt" in batch["inputs"]
    losses = model(**batch, mode="loss")
    assert any(key.startswith("unsup.") for key in losses) == (name != "advsemiseg/voc_full")
    total = sum(value for key, value in losses.items() if "loss" in key)
    assert total.isfinite()
    total.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)


def test_test_images_are_padded_and_cut_back():
    """Section 6 of adversarial.md: padded to 505 with the mean, logits cropped to the image."""
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
