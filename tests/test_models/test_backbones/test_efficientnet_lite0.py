# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The model base with EfficientNet-Lite0: its maps, its norms, any image size."""

from __future__ import annotations

import pytest
import torch
from config_files import CONFIGS
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsemi.models.forward import forward

pytest.importorskip("timm", reason="timm is optional")


def test_the_net_of_the_base():
    config = Config.fromfile(CONFIGS / "_base_/models/deeplabv3plus_efficientnet_lite0.py").model
    config.segmentor.backbone.init_cfg = None
    config.segmentor.decode_head.num_classes = 2
    net = MODELS.build(config).student
    head, norms = net.decode_head, (nn.GroupNorm, _BatchNorm)
    kinds = {type(module) for module in head.modules() if isinstance(module, norms)}
    assert kinds == {nn.GroupNorm}
    net.train()
    image = torch.randn(1, 3, 70, 90)  # one image: nothing in the head needs a second one
    outputs = forward(net, image)
    assert outputs.logits_NCHW.shape == (1, 2, 70, 90)
    low, deep = (outputs.feats[index] for index in head.in_index)
    assert low.shape == (1, 24, 18, 23) and deep.shape == (1, 320, 5, 6)
    outputs.logits_NCHW.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
