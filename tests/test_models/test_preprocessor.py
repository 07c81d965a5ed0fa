# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


def sample(source: str, height: int, width: int, seed: int, mask: bool | None = None) -> dict:
    """A packed sample with known pixels; its mask is the row number modulo 3."""
    generator = np.random.default_rng(seed)
    image = torch.from_numpy(generator.integers(0, 256, (3, height, width), dtype=np.uint8))
    data_sample = SegDataSample(
        metainfo=dict(img_path=f"{source}{seed}.png", source=source, draw_seed=seed)
    )
    if mask if mask is not None else source != "unlabeled":
        rows = (torch.arange(height, dtype=torch.uint8) % 3)[:, None].expand(height, width)
        data_sample.gt_sem_seg = PixelData(data=rows[None].contiguous())
    return dict(inputs=image, data_samples=data_sample)


def batch(*samples: dict) -> dict:
    return {key: [one[key] for one in samples] for key in ("inputs", "data_samples")}


def normalised(image: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 55.0, 50.0])
    return (image.flip(0).float() - mean[:, None, None]) / std[:, None, None]


def test_branches_pixels_padding_and_masks(preprocessor_config):
    model = MODELS.build(preprocessor_config)
    first, second = sample("labeled", 32, 20, 1), sample("unlabeled", 30, 32, 2)
    third = sample("unlabeled", 32, 32, 3)
    out = model(batch(first, second, third), training=True)
    inputs = out["inputs"]
    assert set(inputs) == {"sup", "unsup_teacher", "unsup_student", "mix", "valid"}
    assert inputs["sup"].shape == (1, 3, 32, 32) and inputs["unsup_teacher"].shape == (2, 3, 32, 32)
    torch.testing.assert_close(inputs["sup"][0, :, :, :20], normalised(first["inputs"]))
    assert (inputs["sup"][0, :, :, 20:] == 0).all(), "padding is the mean colour"
    torch.testing.assert_close(inputs["unsup_teacher"][0, :, :30], normalised(second["inputs"]))
    assert inputs["unsup_student"] is inputs["unsup_teacher"] and inputs["mix"] is None
    want = torch.ones(2, 32, 32, dtype=torch.bool)
    want[0, 30:] = False
    assert torch.equal(inputs["valid"], want)
    label = out["data_samples"]["sup"][0].gt_sem_seg.data
    assert label.dtype == torch.int64 and label.shape == (1, 32, 32)
    assert (label[..., 20:] == 255).all() and label[0, :4, 0].tolist() == [0, 1, 2, 0]
    assert out["data_samples"]["sup"][0].pad_shape == (32, 32)


def test_the_source_decides_not_the_mask(preprocessor_config):
    model = MODELS.build(preprocessor_config)
    masked = sample("unlabeled", 32, 32, 2, mask=True)
    out = model(batch(sample("labeled", 32, 32, 1), masked, sample("gt", 32, 32, 3)), training=True)
    assert len(out["inputs"]["unsup_teacher"]) == 1 and len(out["inputs"]["sup"]) == 1
    assert out["inputs"]["gt"].shape == (1, 3, 32, 32)
    assert out["data_samples"]["gt"][0].gt_sem_seg.data.dtype == torch.int64
    with pytest.raises(ValueError, match="'labeled9.png' came without a mask"):
        model(batch(sample("labeled", 32, 32, 9, mask=False)), training=True)


def test_interleaved_sources_are_gathered(preprocessor_config):
    model = MODELS.build(preprocessor_config)
    parts = [sample(name, 32, 32, i) for i, name in enumerate(["unlabeled", "labeled"] * 2)]
    out = model(batch(*parts), training=True)
    torch.testing.assert_close(out["inputs"]["sup"][1], normalised(parts[3]["inputs"]))
    assert [s.img_path for s in out["data_samples"]["unsup_teacher"]] == [
        "unlabeled0.png",
        "unlabeled2.png",
    ]


def test_a_mixed_view_repeats_for_the_same_draws(preprocessor_config):
    model = MODELS.build({**preprocessor_config, "mix": dict(type="CutMix")})

    def views(seed: int) -> dict:
        parts = [sample("unlabeled", 32, 32, seed + i) for i in range(4)]
        return model(batch(sample("labeled", 32, 32, 1), *parts), training=True)["inputs"]

    torch.manual_seed(1)
    first = views(10)
    torch.manual_seed(2)
    again, other = views(10), views(20)
    recipe = first["mix"]
    assert first["unsup_student"].shape[0] == 2 and recipe.second.min() >= 2
    assert torch.equal(first["unsup_student"], again["unsup_student"])
    assert not torch.equal(recipe.mask_B1HW, other["mix"].mask_B1HW)
    weak = first["unsup_teacher"]
    want = torch.where(recipe.mask_B1HW, weak[recipe.second], weak[recipe.first])
    assert torch.equal(first["unsup_student"], want)


def test_a_strong_view_differs_inside_and_not_on_padding(preprocessor_config):
    strong = dict(type="StrongPhotometric", p_jitter=1.0)
    model = MODELS.build({**preprocessor_config, "strong": strong})
    parts = [sample("unlabeled", 20, 32, 5), sample("unlabeled", 32, 32, 6)]
    inputs = model(batch(sample("labeled", 32, 32, 1), *parts), training=True)["inputs"]
    assert not torch.allclose(
        inputs["unsup_student"][0, :, :20], inputs["unsup_teacher"][0, :, :20]
    )
    assert (inputs["unsup_student"][0, :, 20:] == 0).all()


SINGLE_BOX = dict(type="SingleBoxCutMix", prob=1.0)


def student_views(config: dict, seed: int = 10, num_images: int = 4) -> dict:
    """Branches of one labelled and some unlabelled images, the second one padded."""
    parts = [sample("unlabeled", 28 if i == 1 else 32, 32, seed + i) for i in range(num_images)]
    model = MODELS.build(config)
    return model(batch(sample("labeled", 32, 32, 1), *parts), training=True)["inputs"]


@pytest.mark.parametrize("pairing", ["halves", "permute", "reverse"])
def test_several_views_share_partners_and_have_boxes_of_their_own(preprocessor_config, pairing):
    mix = dict(SINGLE_BOX, pairing=pairing)
    inputs = student_views({**preprocessor_config, "mix": mix, "num_student_views": 3})
    weak, student, recipe = inputs["unsup_teacher"], inputs["unsup_student"], inputs["mix"]
    num = 2 if pairing == "halves" else 4
    assert len(weak) == 4 and len(student) == len(recipe.first) == 3 * num
    for indices in (recipe.first, recipe.second):
        assert torch.equal(indices, indices[:num].repeat(3)), "view after view"
    assert recipe.first[:num].tolist() == list(range(num))
    masks = recipe.mask_B1HW.chunk(3)
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[1], masks[2])
    for view, mask in zip(student.chunk(3), masks):
        want = torch.where(mask, weak[recipe.second[:num]], weak[recipe.first[:num]])
        assert torch.equal(view, want)


def test_several_strong_views_differ_and_leave_weak_view_and_padding_alone(preprocessor_config):
    strong = dict(type="StrongPhotometric", p_jitter=1.0)
    config = {**preprocessor_config, "strong": strong, "num_student_views": 2}
    inputs, plain = student_views(config), student_views(preprocessor_config)
    assert inputs["mix"] is None and len(inputs["unsup_student"]) == 8
    first, second = inputs["unsup_student"].chunk(2)
    assert all(not torch.equal(a, b) for a, b in zip(first, second))
    assert torch.equal(inputs["unsup_teacher"], plain["unsup_teacher"])
    assert torch.equal(inputs["valid"], plain["valid"]) and len(inputs["valid"]) == 4
    assert all((view[1, :, 28:] == 0).all() for view in (first, second))


def test_several_views_are_a_function_of_the_draws(preprocessor_config):
    config = {**preprocessor_config, "mix": SINGLE_BOX, "num_student_views": 2}
    config["strong"] = dict(type="StrongPhotometric")
    torch.manual_seed(1)
    views = student_views(config)["unsup_student"]
    torch.manual_seed(2)
    assert torch.equal(student_views(config)["unsup_student"], views)
    assert not torch.equal(student_views(config, seed=20)["unsup_student"], views)


@pytest.mark.parametrize("settings", [dict(num_student_views=0), dict(num_student_views=2)])
def test_views_that_would_be_equal_are_refused(preprocessor_config, settings):
    number = settings["num_student_views"]
    with pytest.raises(ValueError, match=f"num_student_views={number}: must be at least 1, and"):
        MODELS.build({**preprocessor_config, **settings})


def test_one_unlabelled_image_cannot_be_mixed(preprocessor_config):
    model = MODELS.build({**preprocessor_config, "mix": dict(type="CutMix")})
    with pytest.raises(ValueError, match="num_per_source.unlabeled"):
        model(batch(sample("labeled", 32, 32, 1), sample("unlabeled", 32, 32, 2)), training=True)


def test_an_image_larger_than_the_batch_is_named(preprocessor_config):
    model = MODELS.build(preprocessor_config)
    with pytest.raises(
        ValueError, match=r"'unlabeled2.png' is 40x32 .*RandomCrop\(crop_size=\(32, 32\)"
    ):
        model(batch(sample("labeled", 32, 32, 1), sample("unlabeled", 40, 32, 2)), training=True)


def test_size_divisor_and_free_size(preprocessor_config):
    config = {**preprocessor_config, "size": None, "size_divisor": 16}
    out = MODELS.build(config)(batch(sample("labeled", 30, 17, 1)), training=True)
    assert out["inputs"]["sup"].shape == (1, 3, 32, 32)
    out = MODELS.build({**config, "size_divisor": None})(
        batch(sample("labeled", 30, 17, 1), sample("labeled", 20, 19, 2)), training=True
    )
    assert out["inputs"]["sup"].shape == (2, 3, 30, 19)


def test_outside_training_it_is_the_stock_preprocessor(preprocessor_config):
    stock = {k: v for k, v in preprocessor_config.items() if k != "type"}
    stock = MODELS.build(dict(type="SegDataPreProcessor", **stock))
    one = sample("labeled", 30, 20, 1)
    ours = MODELS.build(preprocessor_config)(batch(one), training=False)
    theirs = stock(batch(one), training=False)
    assert torch.equal(ours["inputs"], theirs["inputs"]) and ours["inputs"].shape == (1, 3, 30, 20)
