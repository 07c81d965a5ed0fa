# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which statistics batch norms use and change; what a whole step does is in method_tester.py."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from step_runner import SIZE
from tiny_nets import ARCHITECTURES, FCN
from torch import Tensor, nn

from mmsemi.errors import ConfigError
from mmsemi.models import SemiSegmentor
from mmsemi.models.batch_norm import (
    batch_norms,
    by_batch_statistics,
    follows_batch,
    keep_running_statistics,
    untracked,
)

STRONG = dict(type="StrongPhotometric")


@pytest.fixture
def norm() -> nn.BatchNorm2d:
    """With statistics of its own."""
    norm = nn.BatchNorm2d(2)
    norm.running_mean.copy_(torch.tensor([1.0, -1.0]))
    norm.running_var.copy_(torch.tensor([4.0, 0.25]))
    return norm


def by_hand(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    mean, var = (one.view(1, -1, 1, 1) for one in (mean, var))
    return (x - mean) / (var + 1e-5).sqrt()


def test_running_statistics_are_used_and_kept(norm):
    net = nn.Sequential(norm)
    keep_running_statistics(net)
    x = torch.randn(3, 2, 4, 4)
    before = copy.deepcopy(norm.state_dict())
    out = net.train()(x)
    torch.testing.assert_close(out, by_hand(x, before["running_mean"], before["running_var"]))
    assert all(torch.equal(before[key], value) for key, value in norm.state_dict().items())
    out.square().sum().backward()
    assert (norm.weight.grad != 0).all() and (norm.bias.grad != 0).all(), "trained as ever"


def test_a_copy_and_converted_norms_keep_theirs(norm):
    net = nn.Sequential(nn.Sequential(norm))
    keep_running_statistics(net)
    other = copy.deepcopy(net)
    other.train()(torch.randn(3, 2, 4, 4))
    assert not other[0][0].training and norm.training, "each sets its own"
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    reverted = revert_sync_batchnorm(synced).train()
    reverted(torch.randn(3, 2, 4, 4))
    assert reverted[0][0] is not norm and reverted[0][0].num_batches_tracked == 0


def test_untracked_normalises_by_the_batch_and_forgets_it(norm):
    x = torch.randn(3, 2, 4, 4) * 2 + 3
    before = copy.deepcopy(norm.state_dict())
    with untracked(norm):
        out = norm(x)
    torch.testing.assert_close(out, by_hand(x, x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)))
    assert all(torch.equal(before[key], value) for key, value in norm.state_dict().items())
    with pytest.raises(RuntimeError), untracked(norm):
        raise RuntimeError
    norm(x)
    assert norm.num_batches_tracked == 1 and not torch.equal(
        norm.running_mean, before["running_mean"]
    )


def test_untracked_in_eval_mode_changes_nothing(norm):
    x = torch.randn(3, 2, 4, 4)
    expected = norm.eval()(x)
    with untracked(norm):
        assert torch.equal(norm(x), expected)


def test_eval_mode_by_the_batch(norm):
    net = nn.Sequential(norm, nn.Dropout(0.5))
    assert follows_batch(norm)
    norms = batch_norms(net.eval())
    x = torch.randn(3, 2, 4, 4)
    expected = net(x)
    with by_batch_statistics(norms):
        out = net(x)
    torch.testing.assert_close(out, by_hand(x, x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)))
    assert (
        torch.equal(net(x), expected) and norm.num_batches_tracked == 0 and norm.track_running_stats
    )
    assert not follows_batch(norm) and not follows_batch(
        nn.BatchNorm2d(2, track_running_stats=False)
    )


# --- The settings ---------------------------------------------------------------------------------


def build(method: str = "FixMatch", segmentor: dict = FCN, **settings) -> SemiSegmentor:
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE))
    config = dict(type=method, segmentor=copy.deepcopy(segmentor), data_preprocessor=preprocessor)
    return MODELS.build(dict(config, **copy.deepcopy(settings)))


def with_backbone(**changes) -> dict:
    return dict(FCN, backbone=dict(FCN["backbone"], **changes))


GN_HEAD = dict(FCN, decode_head=dict(FCN["decode_head"], norm_cfg=dict(type="GN", num_groups=2)))


@pytest.mark.parametrize(
    ("named", "settings"),
    [
        ("has no batch norm", dict(segmentor=ARCHITECTURES["segformer"], backbone_norm_eval=True)),
        (
            "MixVisionTransformer",
            dict(method="CPS", segmentor2=ARCHITECTURES["segformer"], backbone_norm_eval=True),
        ),
        ("norm_eval=True", dict(segmentor=with_backbone(norm_eval=True), backbone_norm_eval=True)),
        ("True or False", dict(backbone_norm_eval=1)),
        ("Supervised has no setting", dict(method="Supervised", strong_view_stats=False)),
        ("without strong and mix", dict(strong_view_stats=False)),
        ("without strong and mix", dict(method="CPS", strong_view_stats=False)),
        ("without strong and mix", dict(method="MeanTeacher", strong_view_stats=False)),
        (
            "labeled_forward='alone'",
            dict(strong=STRONG, labeled_forward="strong", strong_view_stats=False),
        ),
        ("labeled_forward='alone'", dict(method="AugSeg", strong=STRONG, strong_view_stats=False)),
        (
            "joint_forward=False",
            dict(
                method="CPS", mix=dict(type="CutMix"), joint_forward=True, strong_view_stats=False
            ),
        ),
        (
            "no batch norm of the network",
            dict(
                segmentor=GN_HEAD, strong=STRONG, backbone_norm_eval=True, strong_view_stats=False
            ),
        ),
        (
            "with_cp",
            dict(segmentor=with_backbone(with_cp=True), strong=STRONG, strong_view_stats=False),
        ),
    ],
)
def test_what_has_no_effect_is_refused(named, settings):
    with pytest.raises(ConfigError, match=named):
        build(**settings)


def test_the_backbones_own_norm_eval_counts():
    """With it and a head without batch norm nothing is left that a view could move."""
    segmentor = dict(GN_HEAD, backbone=dict(FCN["backbone"], norm_eval=True))
    with pytest.raises(ConfigError, match="strong_view_stats"):
        build(segmentor=segmentor, strong=STRONG, strong_view_stats=False)
    build(segmentor=with_backbone(norm_eval=True), strong=STRONG, strong_view_stats=False)


def test_a_timm_backbone_keeps_its_statistics():
    pytest.importorskip("timm", reason="timm is optional")
    model = build(segmentor=ARCHITECTURES["timm"], backbone_norm_eval=True)
    for net in (model.student, model.teacher.module):
        norms = batch_norms(net.backbone)
        net.train()
        net.backbone(torch.randn(2, 3, SIZE, SIZE))
        assert len(norms) > 10 and all(norm.num_batches_tracked == 0 for norm in norms)
        assert not any(follows_batch(norm) for norm in norms)
