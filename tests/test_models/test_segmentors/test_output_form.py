# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One sigmoid channel for two classes trains every method as two softmax channels (0, z) do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmseg.registry import MODELS
from step_runner import SIZE, NoiseImages, StepRunner, draw_batches
from tiny_nets import FCN
from torch import Tensor, nn

from mmsemi.errors import ConfigError
from mmsemi.models.segmentors.predicting import mean_logits

CUTMIX = dict(type="CutMix")
DISC = dict(unsup_start=0)
METHODS: dict[str, dict[str, Any]] = dict(
    supervised=dict(type="Supervised"),
    cps=dict(type="CPS"),
    cps_cutmix=dict(type="CPS", mix=CUTMIX),
    mean_teacher=dict(
        type="MeanTeacher", confidence_threshold=0.6, strong=dict(type="StrongPhotometric")
    ),
    cutmix_mean_teacher=dict(type="CutMixMeanTeacher", mix=CUTMIX, confidence_threshold=0.6),
    fixmatch=dict(type="FixMatch", threshold=0.6),
    fixmatch_classmix=dict(type="FixMatch", threshold=0.6, mix=dict(type="ClassMix")),
    unimatch=dict(type="UniMatch", threshold=0.6, mix=dict(type="SingleBoxCutMix")),
    advsemiseg=dict(
        type="AdvSemiSeg", discriminator=dict(type="FCDiscriminator"), unsup_adv_start=0, **DISC
    ),
    s4gan=dict(
        type="S4GAN",
        discriminator=dict(type="S4GANDiscriminator", base_channels=4, dropout=0.0),
        threshold=0.0,
        **DISC,
    ),
)


def build(channels: int, loss: dict, **model: Any) -> nn.Module:
    head = dict(
        FCN["decode_head"],
        num_classes=2,
        out_channels=channels,
        threshold=0.5,
        dropout_ratio=0.0,
        loss_decode=loss,
    )
    config = dict(
        segmentor=dict(FCN, decode_head=head),
        data_preprocessor=dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE)),
        **model,
    )
    torch.manual_seed(0)
    built = MODELS.build(copy.deepcopy(config))
    built.init_weights()
    return built


SIGMOID = dict(type="CrossEntropyLoss", use_sigmoid=True)
SOFTMAX = dict(type="CrossEntropyLoss")


def losses(model: nn.Module) -> dict[str, Tensor]:
    """Of one step on a batch of two classes, as floats."""
    runner = StepRunner(model)
    counts = dict(labeled=2, unlabeled=4)
    (collated,) = draw_batches(NoiseImages(), counts, 1)
    for sample in collated["data_samples"]:
        if "gt_sem_seg" in sample:
            sample.gt_sem_seg.data.clamp_(max=1)
    batch = model.data_preprocessor(collated, True)["inputs"]
    runner.start_step()
    torch.manual_seed(1)
    return model.loss(batch)


@pytest.mark.parametrize("name", METHODS)
def test_one_channel_is_two(name: str) -> None:
    binary = build(1, SIGMOID, **METHODS[name])
    double = build(2, SOFTMAX, **METHODS[name])
    weights = binary.state_dict()
    for key in [key for key in weights if "conv_seg" in key]:
        weights[key] = torch.cat([torch.zeros_like(weights[key]), 9 * weights[key]])
    double.load_state_dict(weights)
    weights = {key: weights[key][1:] if "conv_seg" in key else weights[key] for key in weights}
    binary.load_state_dict(weights)
    found, expected = losses(binary), losses(double)
    assert found.keys() == expected.keys()
    for key in found:
        torch.testing.assert_close(
            torch.as_tensor(found[key]), torch.as_tensor(expected[key]), rtol=1e-4, atol=1e-5
        )
    if name != "supervised":
        unsupervised = [found[k] for k in found if "loss" in k and k.startswith(("unsup", "adv"))]
        assert all(float(value) > 0 for value in unsupervised)


def test_ensemble_of_one_channel_networks() -> None:
    model = build(1, SIGMOID, type="CPS", predict_on="ensemble").eval()
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        z = model.encode_decode(x, [dict(img_shape=(SIZE, SIZE))] * 2)
        parts = [
            net.encode_decode(x, [dict(img_shape=(SIZE, SIZE))] * 2).sigmoid()
            for net in model.branches
        ]
    torch.testing.assert_close(z.sigmoid(), torch.stack(parts).mean(0))
    two = [torch.randn(1, 2, 3, 3) for _ in range(2)]
    binary = [one[:, 1:] - one[:, :1] for one in two]
    torch.testing.assert_close(mean_logits(binary).sigmoid(), mean_logits(two).softmax(1)[:, 1:])


# --- What cannot follow ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        SIGMOID,
        dict(type="FocalLoss"),
        [SIGMOID, dict(type="DiceLoss")],
    ],
)
def test_sigmoids_of_several_channels_are_refused(loss) -> None:
    with pytest.raises(ConfigError, match="use_sigmoid"):
        build(2, loss, type="MeanTeacher")
    assert build(2, loss, type="Supervised")


def test_a_dice_loss_beside_a_softmax_loss_is_fine() -> None:
    assert build(2, [SOFTMAX, dict(type="DiceLoss")], type="CPS")


@pytest.mark.parametrize("loss", [SOFTMAX, dict(type="PixelCrossEntropy")])
@pytest.mark.parametrize("kind", ["Supervised", "CPS"])
def test_a_softmax_of_one_channel_is_refused(kind: str, loss: dict) -> None:
    with pytest.raises(ConfigError, match="out_channels"):
        build(1, loss, type=kind)
