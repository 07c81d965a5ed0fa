# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DINOv2 and DINOv3: known answers of docs/encoders.md, official files, refusals."""

from __future__ import annotations

import copy

import pytest
import torch
from mmseg.registry import MODELS
from official_files import image, official_tensors, write_official

from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.models.backbones import DINOv2, DINOv3
from mmsemi.models.backbones.dinov2 import resample_positions
from mmsemi.models.backbones.dinov3 import rope_angles, rope_periods
from mmsemi.models.backbones.vision_transformer import rotate

TINY = dict(embed_dims=32, depth=4, num_heads=2)


def tap_values(tap: torch.Tensor) -> list[float]:
    return [tap[0, 0, 0, 0], tap[0, 200, 1, 2], tap[0, 383, -1, -1], tap.abs().mean()]


# --- sizes: official parameters, keys -------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "settings", "parameters", "keys"),
    [
        (DINOv2, dict(size="small"), 22_056_576, 175),
        (DINOv2, dict(size="base"), 86_580_480, 175),
        (DINOv2, dict(size="large"), 304_368_640, 343),
        (DINOv2, dict(size="small", registers=4), 22_058_112, 176),
        (DINOv2, dict(size="base", registers=4), 86_583_552, 176),
        (DINOv2, dict(size="large", registers=4), 304_372_736, 344),
        (DINOv3, dict(size="small"), 21_601_152, 188),
        (DINOv3, dict(size="small_plus"), 28_697_472, 212),
        (DINOv3, dict(size="base"), 85_669_632, 188),
        (DINOv3, dict(size="large"), 303_154_176, 368),
    ],
)
def test_the_released_files_have_these_sizes(family, settings, parameters, keys):
    with torch.device("meta"):
        net = family(**settings)
    shapes = net.official_tensors()
    buffers = ("periods", "bias_mask")
    counted = [torch.Size(s).numel() for n, s in shapes.items() if not n.endswith(buffers)]
    assert (sum(counted), len(shapes)) == (parameters, keys)
    # What is not kept: the mask token, and DINOv3's masked biases.
    left = net.embed_dims * (1 if family is DINOv2 else 1 + 3 * len(net.blocks))
    assert sum(p.numel() for p in net.parameters()) == parameters - left


def test_the_large_ones_are_tapped_as_published():
    with torch.device("meta"):
        assert DINOv2("large").out_indices == DINOv3("large").out_indices == (4, 11, 17, 23)


# --- known answers of whole networks --------------------------------------------------------------

GOLDEN = [
    (
        (DINOv2, dict(size="small"), (70, 98)),
        [[0.143237, -1.260930, -0.671520, 0.827544], [-0.172989, -1.172669, -0.503095, 0.814349]],
    ),
    (
        (DINOv2, dict(size="small", registers=4), (70, 98)),
        [[-1.018590, -1.226236, 0.161096, 0.863076], [-0.938671, -1.376019, 0.046171, 0.843120]],
    ),
    (
        (DINOv3, dict(size="small"), (64, 96)),
        [[0.918605, 0.663260, -0.809852, 0.832400], [0.320099, -0.046755, -0.714655, 0.825981]],
    ),
    (
        (DINOv3, dict(size="small_plus"), (64, 96)),
        [[-0.380718, 0.485711, -1.343810, 0.848461], [-0.299227, 0.222577, -1.351637, 0.819274]],
    ),
]


@pytest.mark.parametrize(("case", "expected"), GOLDEN, ids=["v2", "v2_reg4", "v3", "v3_plus"])
def test_taps_are_those_of_the_official_code(case, expected, tmp_path):
    family, settings, size_hw = case
    with torch.device("meta"):
        probe = family(**settings)
    path = write_official(probe, tmp_path / "official.pth")
    net = family(**settings, init_cfg=dict(type="Pretrained", checkpoint=path))
    drawn = copy.deepcopy(net.cls_token)
    assert torch.equal(drawn, torch.zeros_like(drawn)), "the constructor reads no file"
    net.init_weights()
    with torch.no_grad():
        taps = net(image(*size_hw))
        again = net.eval()(image(*size_hw))
    grid = (size_hw[0] // net.patch_size, size_hw[1] // net.patch_size)
    assert [tuple(tap.shape) for tap in taps] == [(1, 384, *grid)] * 4
    for tap, values in zip((taps[0], taps[3]), expected):
        assert tap_values(tap) == pytest.approx(values, abs=5e-5)
    for one, other in zip(taps, again):
        assert torch.equal(one, other)
    eps = {m.eps for m in net.modules() if isinstance(m, torch.nn.LayerNorm)}
    assert eps == {1e-6 if family is DINOv2 else 1e-5}


def test_the_numbers_of_the_files_are_the_specified_ones():
    x = image(70, 98)
    assert x.flatten()[:3].tolist() == pytest.approx([-2, 0.472136, -1.055728], abs=1e-6)
    assert x.double().sum().item() == pytest.approx(-0.933435, abs=1e-4)
    for family, size, token, total in (
        (DINOv2, "small", 0.638896, -0.168084),
        (DINOv3, "small", 0.755960, -0.066799),
        (DINOv3, "small_plus", 0.990088, -0.066799),
    ):
        with torch.device("meta"):
            probe = family(size)
        tensors = official_tensors(probe, ("cls_token", "blocks.0.attn.qkv.weight"))
        assert tensors["cls_token"].flatten()[0].item() == pytest.approx(token, abs=1e-6)
        found = tensors["blocks.0.attn.qkv.weight"].double().sum().item()
        assert found == pytest.approx(total, abs=1e-4)


# --- positions ------------------------------------------------------------------------------------


def weights_of(n: int, antialias: bool) -> torch.Tensor:
    """(n, 37) weights along one axis: the response to each unit row."""
    table = torch.eye(37).reshape(1, 37, 37, 1).expand(-1, -1, -1, 37)
    return resample_positions(table.contiguous(), (n, 37), antialias)[0, :, :, 5].t()


def test_interpolation_weights():
    plain, reg4 = weights_of(23, False), weights_of(23, True)
    for weights, row, start, values in (
        (plain, 0, 0, [0.720078, 0.327387, -0.047464]),
        (plain, 11, 16, [-0.004425, 0.069044, 0.986211, -0.050829]),
        (plain, 22, 34, [-0.085920, 0.542118, 0.543802]),
        (reg4, 0, 0, [0.607804, 0.431621, -0.015966, -0.023460]),
        (reg4, 11, 15, [-0.004834, -0.042640, 0.241373, 0.612202]),
    ):
        found = weights[row, start : start + len(values)].tolist()
        assert found == pytest.approx(values, abs=1e-5)
        others = [*range(start), *range(start + len(values), 37)]
        if weights is plain:
            assert weights[row, others].abs().max() < 1e-5


def test_positions_of_a_small_table():
    i, j = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    table = ((3 * i + 5 * j) % 7)[None, None]
    plain, reg4 = (resample_positions(table, (3, 3), a)[0, 0].flatten() for a in (False, True))
    expected = "0.852577 4.612061 1.884222 4.550710 2.993437 2.953565 2.843511 2.343996 2.705363"
    assert plain.tolist() == pytest.approx([float(v) for v in expected.split()], abs=1e-5)
    expected = "1.370484 4.090545 2.471993 4.105419 3.241326 2.580092 2.501741 2.594966 2.688190"
    assert reg4.tolist() == pytest.approx([float(v) for v in expected.split()], abs=1e-5)
    plain, reg4 = (resample_positions(table, (6, 3), a)[0, 0] for a in (False, True))
    assert plain[0].tolist() == pytest.approx([0.461946, 4.979478, 1.130811], abs=1e-5)
    assert reg4[0].tolist() == pytest.approx([1.292906, 4.295514, 1.156148], abs=1e-5)
    assert plain.sum().item() == pytest.approx(51.467005, abs=1e-4)
    assert reg4.sum().item() == pytest.approx(50.835186, abs=1e-4)
    assert resample_positions(table, (4, 4), False) is table


def test_every_grid_gets_its_size():
    table = torch.zeros(1, 1, 37, 37)
    for n in range(1, 200):
        assert resample_positions(table, (n, 1), False).shape == (1, 1, n, 1)


def test_positions_on_the_grid_of_the_file_are_untouched():
    net = DINOv2(TINY)
    torch.nn.init.normal_(net.pos_embed)
    assert torch.equal(net.positions((37, 37)), net.pos_embed)


def test_rope():
    periods = rope_periods(64)
    expected = [1, 1.3359375, 1.78125, 2.375, 3.15625, 4.21875, 5.625, 7.5, 10, 13.3125, 17.75]
    assert periods.tolist() == [*expected, 23.75, 31.625, 42.25, 56.25, 75]
    angles = rope_angles((2, 3), periods)
    rows = [-3.141593, -2.351602, -1.763701, -0.041888]
    columns = [-4.188790, -3.135469, -2.351602, -0.055851]
    assert angles[0, [0, 1, 2, 15]].tolist() == pytest.approx(rows, abs=1e-5)
    assert angles[0, [16, 17, 18, 31]].tolist() == pytest.approx(columns, abs=1e-5)
    assert torch.equal(angles[:, :32], angles[:, 32:])
    assert torch.allclose(angles[5], -angles[0], atol=1e-6)
    assert angles.sin().sum().item() == pytest.approx(0, abs=1e-4)
    assert angles.cos().sum().item() == pytest.approx(237.586989, abs=1e-4)


def test_rotation_of_a_token():
    periods = torch.tensor([1.0, 10.0])
    angles = rope_angles((2, 3), periods)
    x = torch.zeros(1, 1, 7, 8)
    x[0, 0, 0] = 7  # a token without position
    x[0, 0, 1] = torch.arange(1.0, 9.0)
    out = rotate(x, angles.sin(), angles.cos())
    assert torch.equal(out[0, 0, 0], x[0, 0, 0])
    expected = [-1, 3.756215, -7.562178, 6.908075, -5, 5.088305, -0.901924, 5.681417]
    assert out[0, 0, 1].tolist() == pytest.approx(expected, abs=1e-5)


# --- files ----------------------------------------------------------------------------------------


def load(net, path: str):
    net = copy.deepcopy(net)
    net.init_cfg = dict(type="Pretrained", checkpoint=path)
    net.init_weights()
    return net


@pytest.mark.parametrize("family", [DINOv2, DINOv3])
def test_a_file_that_is_not_of_the_network_is_refused(family, tmp_path):
    net, path = family(TINY), tmp_path / "file.pth"
    name = "blocks.1.ls2.gamma"
    for changes, named in (
        ({name: None}, f"{name}'"),
        ({"blocks.4.ls2.gamma": torch.ones(32)}, "'blocks.4.ls2.gamma'"),
        ({name: torch.ones(31)}, f"'{name}' is (31,)"),
        ({name: torch.full((32,), torch.nan)}, f"'{name}'"),
    ):
        with pytest.raises(CheckpointError) as error:
            load(net, write_official(net, path, **changes))
        assert named in str(error.value) and str(path) in str(error.value)
    torch.save(dict(state_dict=official_tensors(net)), path)
    with pytest.raises(CheckpointError, match="load_from"):
        load(net, str(path))
    other = family(dict(TINY, embed_dims=64))
    with pytest.raises(CheckpointError, match="size"):
        load(net, write_official(other, path))
    with pytest.raises(CheckpointError, match="nowhere"):
        load(net, str(tmp_path / "nowhere.pth"))


def test_registers_and_families_are_told_apart(tmp_path):
    plain, reg4, v3 = DINOv2(TINY), DINOv2(TINY, registers=4), DINOv3(TINY)
    for net, other in ((plain, reg4), (reg4, plain), (plain, v3), (v3, reg4)):
        with pytest.raises(CheckpointError):
            load(net, write_official(other, tmp_path / "file.pth"))


def test_dinov3_refuses_what_it_would_compute_otherwise(tmp_path):
    net, path = DINOv3(TINY), tmp_path / "file.pth"
    unrounded = {"rope_embed.periods": 100 ** (torch.arange(4) / 4)}
    with pytest.raises(CheckpointError, match="periods"):
        load(net, write_official(net, path, **unrounded))
    with pytest.raises(CheckpointError, match="bias"):
        load(net, write_official(net, path, **{"blocks.2.attn.qkv.bias_mask": torch.ones(96)}))
    # The norm that only the satellite file has is of its pre-training.
    extra = {f"local_cls_norm.{name}": torch.ones(32) for name in ("weight", "bias")}
    load(net, write_official(net, path, **extra))


def test_only_what_is_tapped_is_kept(tmp_path):
    net = DINOv2(TINY, out_indices=[0, 2], final_norm=False)
    net = load(net, write_official(net, tmp_path / "file.pth"))
    whole = load(DINOv2(TINY), write_official(DINOv2(TINY), tmp_path / "file.pth"))
    assert len(net.blocks) == 3 and net.norm is None
    x = image(28, 42)
    raw = net(x)
    for tap, normed in zip(raw, (whole(x)[0], whole(x)[2])):
        assert torch.allclose(whole.norm(tap.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), normed)
    sum(tap.sum() for tap in raw).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_drop_path_grows_in_dinov2_and_not_in_dinov3():
    rates = [[net.block_drop_path(i) for i in range(4)] for net in
             (DINOv2(TINY, drop_path_rate=0.3), DINOv3(TINY, drop_path_rate=0.3))]  # fmt: skip
    assert rates[0] == pytest.approx([0, 0.1, 0.2, 0.3]) and rates[1] == [0.3] * 4


def test_settings_are_checked():
    for settings in (
        dict(size="smal"),
        dict(size=dict(depth=4)),
        dict(size=dict(embed_dims=30, depth=4, num_heads=2)),
        dict(out_indices=[3, 1]),
        dict(out_indices=[12]),
        dict(registers=3),
        dict(drop_path_rate=1.0),
    ):
        with pytest.raises(ConfigError):
            DINOv2(**settings)
    with pytest.raises(ConfigError, match="load_from"):
        load_prefix = dict(type="Pretrained", checkpoint="x.pth", prefix="backbone.")
        DINOv2(TINY, init_cfg=load_prefix).init_weights()


def test_sides_are_multiples_of_the_patch():
    with pytest.raises(ConfigError, match="75x98.* 70x98 and 84x98"):
        DINOv2(TINY)(torch.zeros(1, 3, 75, 98))
    with pytest.raises(ConfigError, match="10x100.* 16x96 and 16x112"):
        DINOv3(TINY)(torch.zeros(1, 3, 10, 100))


def test_they_are_registered():
    assert isinstance(MODELS.build(dict(type="DINOv2", size=TINY)), DINOv2)
    assert isinstance(MODELS.build(dict(type="mmseg.DINOv3", size=TINY)), DINOv3)
