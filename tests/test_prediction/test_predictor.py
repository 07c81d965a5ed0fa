# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi.load(checkpoint).predict(image)``: what ``mmsemi test`` predicts, from a checkpoint alone."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmseg.registry import MODELS
from PIL import Image

import mmsemi
from mmsemi.errors import CheckpointError, ConfigError, DataError
from mmsemi.prediction.predictor import Predictor


def by_test(path, config: Config, image) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidences of the stock test step of a method."""
    model = MODELS.build(config.model).eval()
    model.load_state_dict(torch.load(path, weights_only=False)["state_dict"])
    steps = [step for step in config.test_dataloader.dataset.pipeline if "Anno" not in step["type"]]
    sample = Compose(steps)(dict(img_path=str(image), reduce_zero_label=False, seg_fields=[]))
    with torch.no_grad():
        result = model.test_step(pseudo_collate([sample]))[0]
    logits = result.seg_logits.data
    confidence = logits.softmax(0).max(0).values if len(logits) > 1 else logits[0]
    return result.pred_sem_seg.data[0].numpy().astype(np.uint8), confidence.numpy()


RESIZE = dict(type="Resize", scale=(90, 70), keep_ratio=True)


@pytest.mark.parametrize(
    "method, options, resize",
    [
        ("CPS", dict(predict_on=1), None),
        ("CPS", dict(predict_on="ensemble"), RESIZE),
        ("ToyTeacherStudent", {}, RESIZE),
        (
            "Supervised",
            dict(test_cfg=dict(mode="slide", crop_size=(24, 24), stride=(16, 16))),
            None,
        ),
    ],
)
def test_it_is_what_a_test_predicts(make_checkpoint, images, method, options, resize):
    path, config = make_checkpoint(method, step=resize, **options)
    model = mmsemi.load(path, device="cpu")
    result = model.predict(images[0])
    labels, confidence = by_test(path, config, images[0])
    assert result.labels_HW.dtype == np.uint8 and result.confidence_HW.dtype == np.float32
    assert result.labels_HW.shape == cv2.imread(str(images[0])).shape[:2]
    assert len(np.unique(labels)) > 1 and np.array_equal(result.labels_HW, labels)
    np.testing.assert_allclose(result.confidence_HW, confidence, atol=1e-5)
    assert result.classes == ["background", "left", "right"]


def test_one_output_channel(make_checkpoint, images):
    head = dict(
        type="FCNHead", in_channels=8, in_index=1, num_convs=1, num_classes=2, out_channels=1
    )
    sigmoid = dict(type="CrossEntropyLoss", use_sigmoid=True)
    path, config = make_checkpoint("Supervised", dict(**head, threshold=0.6, loss_decode=sigmoid))
    labels, prob = by_test(path, config, images[0])
    result = mmsemi.load(path, device="cpu").predict(images[0])
    assert np.array_equal(result.labels_HW, labels)
    chosen = np.where(labels == 1, prob, 1 - prob)
    np.testing.assert_allclose(result.confidence_HW, chosen, atol=1e-5)


def test_tiles(make_checkpoint, images, tmp_path, monkeypatch):
    path, _ = make_checkpoint()
    large = tmp_path / "large.png"
    picture = np.tile(cv2.imread(str(images[0])), (4, 5, 1))[:150, :230]
    cv2.imwrite(str(large), picture)
    model = mmsemi.load(path, device="cpu")
    whole = model.predict(large)
    model.set_tiles(tile=96, max_pixels=96 * 96)
    tiled = model.predict(large)
    assert tiled.labels_HW.shape == (150, 230) and np.isfinite(tiled.confidence_HW).all()
    assert (tiled.labels_HW == whole.labels_HW).mean() > 0.9
    assert np.abs(tiled.confidence_HW - whole.confidence_HW).mean() < 0.1
    with pytest.raises(ConfigError, match="tile=8"):
        model.set_tiles(tile=8)

    # A GPU without room for the whole image, or for a batch.
    model.set_tiles(max_pixels=10**6)
    logits = Predictor._logits

    def small_gpu(self, inputs, samples):
        if sum(one[0].numel() for one in inputs) > 96 * 96:
            raise torch.OutOfMemoryError("no room")
        return logits(self, inputs, samples)

    monkeypatch.setattr(Predictor, "_logits", small_gpu)
    small = [model.preparation(p) for p in (large, *images, *images, *images)]
    found = model.predict_prepared(small)
    assert np.array_equal(found[0].labels_HW, tiled.labels_HW)
    monkeypatch.undo()
    assert np.array_equal(found[1].labels_HW, model.predict(images[0]).labels_HW)


def test_arrays_are_what_their_files_would_be(make_checkpoint, tmp_path):
    model = mmsemi.load(make_checkpoint()[0], device="cpu")
    generator = np.random.default_rng(0)
    for dtype, shape in ((np.uint8, (30, 40, 3)), (np.uint8, (30, 40)), (np.uint16, (30, 40, 3))):
        array = generator.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
        bgr = array[..., ::-1] if array.ndim == 3 else array
        cv2.imwrite(str(tmp_path / "a.png"), bgr)
        by_file = model.predict(tmp_path / "a.png")
        assert np.array_equal(model.predict(array).confidence_HW, by_file.confidence_HW)
    for wrong in (array.astype(np.float32), array[..., :2], array[0, 0], array[:0]):
        with pytest.raises(DataError):
            model.predict(wrong)


def test_a_turned_image_is_turned_as_in_training(make_checkpoint, tmp_path):
    model = mmsemi.load(make_checkpoint()[0], device="cpu")
    upright = np.random.default_rng(0).integers(0, 255, (24, 40, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).save(tmp_path / "a.jpg", exif=exif)
    prepared = model.preparation(tmp_path / "a.jpg", with_picture=True)
    assert prepared.picture_HW3.shape == (40, 24, 3)
    assert model.predict(tmp_path / "a.jpg").labels_HW.shape == (40, 24)


def test_refusals(make_checkpoint, tmp_path, images):
    path, config = make_checkpoint("CPS", predict_on=1)
    with pytest.raises(ConfigError, match="has no network 'teacher'"):
        mmsemi.load(path, net="teacher")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        mmsemi.load(tmp_path / "iter_8.pth")
    with pytest.raises(DataError, match="v09.png"):
        mmsemi.load(path, device="cpu").predict(images[0].with_name("v09.png"))

    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    content = torch.load(path, weights_only=False)
    torch.save({**content, "code": Code()}, tmp_path / "code.pth", pickle_module=pickle)
    with pytest.raises(CheckpointError, match="refused"):
        mmsemi.load(tmp_path / "code.pth")
    assert not (tmp_path / "executed").exists()

    del content["meta"]["cfg"]
    torch.save(content, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="--config"):
        mmsemi.load(tmp_path / "bare.pth")
    with_config = mmsemi.load(tmp_path / "bare.pth", tmp_path / "semi.py", device="cpu")
    expected = mmsemi.load(path, device="cpu").predict(images[0])
    assert np.array_equal(with_config.predict(images[0]).labels_HW, expected.labels_HW)
