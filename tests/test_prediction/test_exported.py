# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A training's checkpoint, the exported one, its ONNX file and its OpenVINO model predict the same."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmsemi
from mmsemi.errors import ConfigError
from mmsemi.export import export_segmentor


def test_checkpoint_export_and_onnx_agree(make_checkpoint, images, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    path, _ = make_checkpoint("CPS", predict_on=1)
    export_segmentor(path, tmp_path / "out", onnx=True, shape=(40, 48))
    own = mmsemi.load(path, device="cpu").predict(images[0])
    assert len(np.unique(own.labels_HW)) > 1

    plain = mmsemi.load(tmp_path / "out/weights.pth", device="cpu")
    result = plain.predict(images[0])
    assert (result.labels_HW == own.labels_HW).mean() >= 0.9999
    np.testing.assert_allclose(result.confidence_HW, own.confidence_HW, atol=1e-5)
    assert plain.classes == own.classes and plain.palette[1] == [9, 9, 9]
    with_config = mmsemi.load(
        tmp_path / "out/weights.pth", tmp_path / "out/config.py", device="cpu"
    )
    assert np.array_equal(with_config.predict(images[0]).labels_HW, result.labels_HW)
    assert mmsemi.load(tmp_path / "out/weights.pth", net=1).origin["networks"] == ["student"]
    with pytest.raises(ConfigError, match="network '1' alone"):
        mmsemi.load(tmp_path / "out/weights.pth", net=0)

    session = runtime.InferenceSession(
        str(tmp_path / "out/net.onnx"), providers=["CPUExecutionProvider"]
    )
    notes = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    inputs = normalised(images[0], notes)
    labels = session.run(None, {"images": inputs})[0][0].argmax(0)
    assert (labels == own.labels_HW).mean() >= 0.9999


def test_checkpoint_and_openvino_agree(make_checkpoint, images, tmp_path):
    """By the lines of docs/deploy.md."""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path, _ = make_checkpoint("CPS", predict_on=1)
    export_segmentor(path, tmp_path / "out", openvino=True, shape=(40, 48))
    own = mmsemi.load(path, device="cpu").predict(images[0])
    assert len(np.unique(own.labels_HW)) > 1

    file = str(tmp_path / "out/net.xml")
    network = openvino.Core().read_model(file)
    names = ("mean", "std", "bgr_to_rgb")
    notes = {k: json.loads(network.get_rt_info(["mmsemi", k]).astype(str)) for k in names}
    net = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    labels = net(normalised(images[0], notes))["logits"].argmax(1)[0]
    assert (labels == own.labels_HW).mean() >= 0.9999


def normalised(path: Path, notes: dict) -> np.ndarray:
    """An image as the files take it."""
    image = cv2.imread(str(path)).astype(np.float32)
    image = image[..., ::-1] if notes["bgr_to_rgb"] else image
    image = (image - np.array(notes["mean"])) / np.array(notes["std"])
    return image.transpose(2, 0, 1)[None].astype(np.float32)
