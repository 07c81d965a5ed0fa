# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Losses are those of the stock heads."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.losses import accuracy as stock_accuracy
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from mmsemi.models.segmentors.network import (
    accuracy,
    computes_stock_loss,
    decode_stages,
    forward_network,
    hard_labels,
    supervised_losses,
)
from watchers import Waits


def make_samples(count: int = 2, size: int = 24) -> list[SegDataSample]:
    generator = torch.Generator().manual_seed(5)
    samples = []
    for _ in range(count):
        sample = SegDataSample(metainfo=dict(img_shape=(size, size), pad_shape=(size, size)))
        label = torch.randint(0, 3, (1, size, size), generator=generator)
        label[:, :5] = 255
        sample.gt_sem_seg = PixelData(data=label)
        samples.append(sample)
    return samples


def stock_losses(net, x, samples) -> dict:
    """The losses as mmseg's own segmentors compute them, from one forward of the features."""
    feats = net.extract_feat(x)
    losses, output = {}, None
    stages = decode_stages(net)
    for number, stage in enumerate(stages):
        output = stage(feats) if number == 0 else stage(feats, output)
        name = "decode" if len(stages) == 1 else f"decode_{number}"
        losses.update(add_prefix(stage.loss_by_feat(output, samples), name))
    for number, head in enumerate(getattr(net, "auxiliary_head", None) or []):
        losses.update(add_prefix(head.loss(feats, samples, net.train_cfg), f"aux_{number}"))
    return losses


PIXEL = dict(type="PixelCrossEntropy")
STOCK = dict(type="CrossEntropyLoss", avg_non_ignore=True, loss_weight=0.7)
CASES = dict(
    pixel=dict(loss_decode=PIXEL),
    stock=dict(loss_decode=STOCK),
    all_pixels=dict(loss_decode=dict(type="CrossEntropyLoss")),
    two=dict(loss_decode=[PIXEL, dict(type="DiceLoss", loss_weight=0.5)]),
    same_name=dict(loss_decode=[PIXEL, dict(STOCK, loss_name="loss_ce")]),
    sampler=dict(loss_decode=STOCK, sampler=dict(type="OHEMPixelSampler", min_kept=40)),
    corners=dict(loss_decode=PIXEL, align_corners=True),
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["plain", "auxiliary", "cascade"])
def test_losses_and_gradients_equal_those_of_the_stock_heads(segmentor_config, case, kind):
    config = copy.deepcopy(segmentor_config)
    head = config["decode_head"]
    head.update(CASES[case], dropout_ratio=0)
    if kind == "auxiliary":
        config["auxiliary_head"] = [dict(head), dict(head, in_index=0, in_channels=4)]
    if kind == "cascade":
        config.update(type="CascadeEncoderDecoder", num_stages=2)
        ocr = dict(head, type="OCRHead", ocr_channels=8)
        ocr.pop("num_convs")
        config["decode_head"] = [head, ocr]
    torch.manual_seed(0)
    net = MODELS.build(config).train()
    reference = copy.deepcopy(net)
    x, samples = torch.randn(2, 3, 24, 24), make_samples()
    ours = supervised_losses(net, forward_network(net, x), samples)
    theirs = stock_losses(reference, x, samples)
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-6, atol=1e-6, msg=key)
    sum(value for key, value in ours.items() if "loss" in key).backward()
    sum(value for key, value in theirs.items() if "loss" in key).backward()
    for (name, parameter), other in zip(net.named_parameters(), reference.parameters()):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert computes_stock_loss(decode_stages(net)[-1]) == (case != "sampler")


def test_a_head_with_a_loss_of_its_own_keeps_it(segmentor_config):
    segmentor_config["decode_head"].update(
        type="EncHead", num_codes=4, use_se_loss=True, add_lateral=False, in_channels=[4, 8],
        in_index=(0, 1), loss_se_decode=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )  # fmt: skip
    segmentor_config["decode_head"].pop("num_convs")
    net = MODELS.build(segmentor_config).train()
    assert not computes_stock_loss(net.decode_head)
    losses = supervised_losses(net, forward_network(net, torch.randn(2, 3, 24, 24)), make_samples())
    assert "decode.loss_se" in losses


@pytest.mark.parametrize("ignored", [0, 100, 576])
def test_accuracy_is_the_stock_value(ignored):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 4, 24, 24, generator=generator)
    labels = torch.randint(0, 4, (1, 24, 24), generator=generator)
    labels.view(-1)[:ignored] = 255
    want = stock_accuracy(logits, labels, ignore_index=255)
    torch.testing.assert_close(accuracy(logits, labels, 255), want)


def test_hard_labels_are_the_argmax_and_the_first_of_equals():
    logits = torch.randint(0, 3, (2, 5, 9, 7), generator=torch.Generator().manual_seed(0)).float()
    labels = hard_labels(logits.requires_grad_())
    assert torch.equal(labels, logits.argmax(1)) and not labels.requires_grad
    assert hard_labels(torch.zeros(1, 4, 2, 2)).sum() == 0


def test_waits_for_the_device_are_found():
    """The inherited test of every method looks for them; the stock accuracy has one."""
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4).long()
    with Waits() as waits:
        stock_accuracy(logits, labels, ignore_index=255)
    assert waits.found == {"index"}
    with Waits() as waits:
        accuracy(logits, labels, 255)
    assert not waits.found
