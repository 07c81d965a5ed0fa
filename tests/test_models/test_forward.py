# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Losses are those of the stock heads; labels, binary heads, forwards without gradient."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.models.losses import accuracy as stock_accuracy
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from recorded import check_step, make_images, make_method, make_recorded
from reference.fixmatch import fixmatch_step
from torch import Tensor, nn
from watchers import Waits

from mmsemi.errors import ConfigError
from mmsemi.models.forward import (
    accuracy,
    call_frozen,
    check_per_pixel_logits,
    complete_labels,
    computes_stock_loss,
    decode,
    decode_stages,
    encode,
    eval_mode,
    forward,
    hard_labels,
    image_certainty,
    join_labels,
    label_pasted,
    pseudo_labels,
    supervised_losses,
    two_class_logits,
)
from mmsemi.structures import Images, PseudoLabels


def make_labeled(num_classes: int = 3) -> Images:
    """Two images, the first five rows without labels."""
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randn(2, 3, 24, 24, generator=generator)
    labels = torch.randint(0, num_classes, (2, 24, 24), generator=generator)
    labels[:, :5] = 255
    return make_images(pixels, labels)


def stock_losses(net: nn.Module, labeled: Images) -> dict:
    """The losses as mmseg's own segmentors compute them, from one forward of the features."""
    samples = labeled.samples
    feats = net.extract_feat(labeled.pixels_NCHW)
    losses, output = {}, None
    stages = decode_stages(net)
    for number, stage in enumerate(stages):
        output = stage(feats) if number == 0 else stage(feats, output)
        name = "decode" if len(stages) == 1 else f"decode_{number}"
        losses.update(add_prefix(stage.loss_by_feat(output, samples), name))
    for number, head in enumerate(getattr(net, "auxiliary_head", None) or []):
        losses.update(add_prefix(head.loss(feats, samples, net.train_cfg), f"aux_{number}"))
    return losses


def assert_same_losses_and_gradients(net: nn.Module, labeled: Images, part: str = "") -> None:
    """The supervised losses of a forward are the stock ones; values whose key has ``part``."""
    reference = copy.deepcopy(net)
    ours = supervised_losses(net, forward(net, labeled.pixels_NCHW), labeled)
    theirs = stock_losses(reference, labeled)
    assert list(ours) == list(theirs)
    for key in (key for key in theirs if part in key):
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-6, atol=1e-6, msg=key)
    sum(value for key, value in ours.items() if "loss" in key).backward()
    sum(value for key, value in theirs.items() if "loss" in key).backward()
    for (name, parameter), other in zip(net.named_parameters(), reference.parameters()):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


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
    assert_same_losses_and_gradients(net, make_labeled())
    assert computes_stock_loss(decode_stages(net)[-1]) == (case != "sampler")


def test_a_head_with_a_loss_of_its_own_keeps_it(segmentor_config):
    segmentor_config["decode_head"].update(
        type="EncHead", num_codes=4, use_se_loss=True, add_lateral=False, in_channels=[4, 8],
        in_index=(0, 1), loss_se_decode=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )  # fmt: skip
    segmentor_config["decode_head"].pop("num_convs")
    net = MODELS.build(segmentor_config).train()
    assert not computes_stock_loss(net.decode_head)
    labeled = make_labeled()
    losses = supervised_losses(net, forward(net, labeled.pixels_NCHW), labeled)
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


def test_pseudo_labels_are_class_and_probability_of_the_softmax():
    logits = (9 * torch.randn(2, 5, 9, 7, generator=torch.Generator().manual_seed(0))).double()
    pseudo = pseudo_labels(logits.requires_grad_())
    want, label = logits.softmax(1).max(1)
    assert torch.equal(pseudo.label_NHW, label) and pseudo.certainty_N is None
    assert pseudo.confidence_NHW.dtype == torch.float32 and not pseudo.confidence_NHW.requires_grad
    torch.testing.assert_close(pseudo.confidence_NHW, want.float(), rtol=1e-6, atol=1e-7)


def test_the_certainty_of_an_image():
    """docs/methods/augseg.md#confidence"""
    rows = [(0.7, 0.2, 0.05, 0.05), (0.25,) * 4, (1, 0, 0, 0), (0.5, 0.5, 0, 0)]
    logits = torch.tensor(rows).clamp(min=1e-30).log().t()[None, :, None]  # 4 pixels, one image
    pseudo = pseudo_labels(logits, with_certainty=True)
    assert pseudo.certainty_N.tolist() == pytest.approx([0.3775318], abs=1e-6)
    by_pixel = image_certainty(logits.permute(3, 1, 2, 0))
    assert by_pixel.tolist() == pytest.approx([0.2601271, 0, 1, 0.25], abs=1e-6)


def some_labels(count: int, first: int, certainty: bool = False) -> PseudoLabels:
    label = torch.arange(first, first + count)[:, None, None].expand(-1, 2, 2)
    return PseudoLabels(label, label / 10, torch.arange(count) / 10 if certainty else None)


@pytest.mark.parametrize("certainty", [True, False])
def test_pseudo_labels_of_all_images_from_those_of_parts(certainty):
    """Halves: the pasted ones are images of their own. Else both speak about the same images."""
    first, second = some_labels(2, 0, certainty), some_labels(2, 2, certainty)
    pseudo, pasted = complete_labels(first, second, 4)
    assert pseudo is pasted and pseudo.label_NHW[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert (pseudo.certainty_N is not None) == certainty
    assert torch.equal(join_labels(first, second).confidence_NHW, pseudo.confidence_NHW)
    assert complete_labels(first, second, 2) == (first, second)
    assert complete_labels(first, None, 2) == (first, first)


@pytest.mark.parametrize(
    ("mode", "num_mixed", "labelled"),
    [("eval", 2, 2), ("eval", 4, 4), ("train", 2, 2), ("train", 4, None)],
)
def test_labels_of_images_that_are_pasted(segmentor_config, mode, num_mixed, labelled):
    """Only images that nothing starts from, or all; 'train' needs no forward for the latter."""
    torch.manual_seed(0)
    net = MODELS.build(segmentor_config).train()
    net.decode_head.dropout.p = 0.0
    reference, x = copy.deepcopy(net), torch.randn(4, 3, 24, 24)
    found = label_pasted(net, x, num_mixed, mode, pseudo_labels)
    assert all(module.training for module in net.modules())
    passes = int(mode == "train" and labelled is not None)
    assert net.backbone.bn1.num_batches_tracked == passes
    if labelled is None:
        assert found is None
        return
    want = pseudo_labels(forward(reference.train(mode == "train"), x[-labelled:]).logits_NCHW)
    assert torch.equal(found.label_NHW, want.label_NHW)
    torch.testing.assert_close(found.confidence_NHW, want.confidence_NHW)


def test_eval_mode_has_no_gradient_and_ends_with_an_error(segmentor_config):
    net = MODELS.build(segmentor_config).train()
    with pytest.raises(KeyError), eval_mode(net):
        assert not any(module.training for module in net.modules())
        assert not forward(net, torch.zeros(1, 3, 24, 24)).logits_NCHW.requires_grad
        raise KeyError
    assert all(module.training for module in net.modules())
    with eval_mode(net.eval()):
        pass
    assert not net.training


def test_a_frozen_call_gives_gradient_to_its_inputs_alone():
    net = nn.Linear(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    call_frozen(net, x).sum().backward()
    assert net.weight.grad is None and net.bias.grad is None
    torch.testing.assert_close(x.grad, net.weight.detach().sum(0).expand(4, 3))
    assert net.weight.requires_grad


def test_encoded_and_decoded_is_the_forward_and_parts_are_views(segmentor_config):
    net = MODELS.build(segmentor_config).eval()
    x = torch.randn(3, 3, 24, 24)
    whole = forward(net, x)
    torch.testing.assert_close(decode(net, encode(net, x), (24, 24)).logits_NCHW, whole.logits_NCHW)
    parts = whole.split([1, 2])
    assert [len(part.logits_NCHW) for part in parts] == [1, 2]
    assert torch.equal(torch.cat([part.heads[0] for part in parts]), whole.heads[0])
    for index, feat in enumerate(whole.feats):
        assert torch.equal(torch.cat([part.feats[index] for part in parts]), feat)
    assert parts[1].logits_NCHW.data_ptr() == whole.logits_NCHW[1:].data_ptr()


def test_heads_without_pixel_logits_are_refused_by_their_class(segmentor_config):
    check_per_pixel_logits(segmentor_config)
    with pytest.raises(ConfigError, match="PointHead"):
        check_per_pixel_logits(dict(decode_head=[dict(type="FCNHead"), dict(type="PointHead")]))


def test_waits_for_the_device_are_found():
    """The inherited test of every method looks for them; the stock accuracy has one."""
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4).long()
    with Waits() as waits:
        stock_accuracy(logits, labels, ignore_index=255)
    assert waits.found == {"index"}
    with Waits() as waits:
        accuracy(logits, labels, 255)
    assert not waits.found


# --- Binary heads ---------------------------------------------------------------------------------


@pytest.fixture
def binary_config(segmentor_config) -> dict:
    """mmseg's form of a binary problem: two classes, one output channel."""
    segmentor_config["decode_head"].update(
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        dropout_ratio=0,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )
    return segmentor_config


def test_two_class_logits_have_the_sigmoid_as_softmax():
    z = torch.linspace(-9, 9, 12).view(1, 1, 3, 4).requires_grad_()
    logits = two_class_logits(z)
    assert logits.shape == (1, 2, 3, 4) and (logits[:, 0] == 0).all()
    torch.testing.assert_close(logits.softmax(1)[:, 1:], z.sigmoid())
    logits[:, 1].sum().backward()
    assert (z.grad == 1).all()
    more = torch.randn(1, 2, 3, 4)
    assert two_class_logits(more) is more


@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_supervised_loss_of_a_binary_head_is_mmseg_s_own(binary_config, auxiliary):
    """Its accuracy is that of the likelier class; the stock one counts everything as class 0."""
    if auxiliary:
        head = dict(binary_config["decode_head"], in_index=0, in_channels=4)
        binary_config["auxiliary_head"] = [head]
    torch.manual_seed(0)
    net = MODELS.build(binary_config).train()
    labeled = make_labeled(2)
    assert_same_losses_and_gradients(net, labeled, "loss")
    outputs = forward(net, labeled.pixels_NCHW)
    assert outputs.logits_NCHW.shape == (2, 2, 24, 24) and outputs.heads[0].shape[1] == 1
    found = supervised_losses(net, outputs, labeled)["decode.acc_seg"]
    known = labeled.labels_NHW != 255
    right = (outputs.logits_NCHW[:, 1] > 0).long() == labeled.labels_NHW
    torch.testing.assert_close(found, 100 * right[known].float().mean()[None])


def test_pseudo_labels_of_a_binary_head_are_the_sigmoid_s(binary_config):
    """As mmseg predicts with the threshold 0.5."""
    torch.manual_seed(0)
    net = MODELS.build(ConfigDict(binary_config)).eval()
    x, metas = torch.randn(2, 3, 24, 24), [dict(img_shape=(24, 24))] * 2
    with torch.no_grad():
        net.decode_head.conv_seg.weight.normal_(0, 9)
        net.decode_head.conv_seg.bias.sub_(net.encode_decode(x, metas).median())
        pseudo = pseudo_labels(forward(net, x).logits_NCHW)
        probability = net.encode_decode(x, metas).sigmoid()[:, 0]
        predicted = torch.stack([sample.pred_sem_seg.data[0] for sample in net.predict(x)])
    assert 0.4 < pseudo.label_NHW.float().mean() < 0.6 and pseudo.confidence_NHW.max() > 0.6
    assert torch.equal(pseudo.label_NHW, (probability > 0.5).long())
    assert torch.equal(pseudo.label_NHW, predicted.long())
    torch.testing.assert_close(pseudo.confidence_NHW, torch.maximum(probability, 1 - probability))


class TwoLogits(nn.Module):
    """A binary head as the reference steps take it: two logits (0, z), a softmax for its loss."""

    class MeanOfAllPixels(nn.Module):
        """As mmseg: a mean over all pixels, ignored ones are 0."""

        def forward(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
            return F.cross_entropy(
                logits, labels, ignore_index=ignore_index, reduction="none"
            ).mean()

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head, self.loss_decode = head, self.MeanOfAllPixels()
        self.ignore_index, self.align_corners = head.ignore_index, head.align_corners

    def forward(self, feats: Tensor) -> Tensor:
        z = self.head(feats)
        return torch.cat([0 * z, z], 1)


def with_two_logits(net: nn.Module) -> nn.Module:
    """The network's own modules behind a head with two logits."""
    wrapped = nn.Module()
    wrapped.backbone, wrapped.decode_head = net.backbone, TwoLogits(net.decode_head)
    return wrapped


@pytest.mark.parametrize("labels_from", ["teacher", "student"])
def test_fixmatch_steps_with_a_binary_head(binary_config, preprocessor_config, labels_from):
    runner = make_method(
        binary_config,
        preprocessor_config,
        type="FixMatch",
        threshold=0.7,
        labels_from=labels_from,
    )
    recorded = make_recorded("permute")
    labels = recorded.batch.labeled.labels_NHW
    labels[labels == 2] = 0
    reference = copy.deepcopy(runner.model)
    expected = recorded.reference(
        fixmatch_step,
        with_two_logits(reference.student),
        with_two_logits(reference.teacher.module) if reference.has_teacher else None,
        settings=reference.settings,
    )
    losses = check_step(runner, recorded, expected, reference)
    assert 0.02 < losses["unsup.mask_ratio"] < 0.98
