# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The shipped SegFormer-B0 is mmseg's network, and ``mmsemi init`` finds it with its weights."""

from __future__ import annotations

from pathlib import Path

import mmseg
from mmengine.config import Config
from mmseg.registry import MODELS

from mmsemi.own_data.writing import find_model

ROOT = Path(__file__).resolve().parents[2]


def shapes(segmentor: dict) -> dict[str, tuple[int, ...]]:
    segmentor = Config(dict(net=segmentor)).net
    segmentor.backbone.init_cfg = None
    segmentor.decode_head.num_classes = 3
    segmentor.pop("data_preprocessor", None)
    return {k: tuple(v.shape) for k, v in MODELS.build(segmentor).state_dict().items()}


def test_it_is_the_network_of_mmseg():
    ours = Config.fromfile(ROOT / "configs/_base_/models/segformer_b0.py").model.segmentor
    stock = Path(mmseg.__file__).parent / ".mim/configs/_base_/models/segformer_mit-b0.py"
    assert shapes(ours) == shapes(Config.fromfile(stock).model)


def test_it_is_a_preset_of_init():
    model = find_model("segformer_b0")
    assert model.is_ours and model.heads == ("decode_head",)
    assert [Path(one).name for one in model.weights] == ["mit_b0_20220624-7e0fe6dd.pth"]
