# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Safe checkpoints, the mmcv.ops stand-in and package-name configs."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from urllib.error import URLError

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader, load_checkpoint, save_checkpoint
from torch import nn

from mmsemi import compat, compat_checkpoints, compat_configs
from mmsemi.errors import CheckpointError, InstallationError

needs_lite = pytest.mark.skipif(
    find_spec("mmcv._ext") is not None, reason="mmcv has its own operators here"
)


class Executes:
    """Pickles as a call of ``os.mkdir``: loading it without care leaves a folder behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class ReadsAttribute:
    """Pickles as ``getattr(owner, name)``."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


@pytest.fixture
def training_state():
    """What mmengine writes beside the weights: history buffers, numpy scalars, meta data."""
    hub = MessageHub.get_instance("test_compat")
    for value in (3.0, 1.0, 2.0):
        hub.update_scalar("train/loss", value)
    hub.update_scalar("train/lr", np.float64(0.5))
    hub.update_info("iter", np.int64(7))
    hub.update_info("eta", np.float64(1.5))
    return {
        "meta": {"iter": 7, "dataset_meta": {"classes": ("a", "b"), "palette": [[1, 2, 3]]}},
        "state_dict": nn.Linear(2, 2).state_dict(),
        "message_hub": hub.state_dict(),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
    }


# --- Checkpoints ----------------------------------------------------------------------------------


def test_training_checkpoint_loads(tmp_path, training_state):
    path = str(tmp_path / "iter_7.pth")
    save_checkpoint(training_state, path)
    net = nn.Linear(2, 2)
    loaded = load_checkpoint(net, path, map_location="cpu")
    assert torch.equal(net.weight, training_state["state_dict"]["weight"])
    np.testing.assert_array_equal(loaded["array"], training_state["array"])
    loss = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(loss, HistoryBuffer)
    assert (loss.max(), loss.min(), loss.current(), loss.mean()) == (3.0, 1.0, 2.0, 2.0)
    assert loaded["message_hub"]["runtime_info"]["eta"] == 1.5


def test_allow_list_survives_a_foreign_safe_globals_context(tmp_path, training_state):
    path = str(tmp_path / "iter_7.pth")
    save_checkpoint(training_state, path)
    with torch.serialization.safe_globals([HistoryBuffer, np.ndarray, np.dtype]):
        pass
    assert CheckpointLoader.load_checkpoint(path)["meta"]["iter"] == 7


@pytest.mark.parametrize("place", ["meta", "state_dict"])
def test_pickled_callable_is_refused_unexecuted(tmp_path, training_state, place):
    path, trace = tmp_path / "bad.pth", tmp_path / "executed"
    training_state[place]["x"] = Executes(trace)
    torch.save(training_state, path)
    with pytest.raises(CheckpointError) as caught:
        CheckpointLoader.load_checkpoint(str(path), map_location="cpu")
    message = str(caught.value)
    assert not trace.exists()
    assert "\n" not in message and str(path) in message
    assert "mkdir" in message and "weights_only=False" not in message


def test_environment_variable_does_not_switch_the_check_off(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, trace = tmp_path / "bad.pth", tmp_path / "executed"
    torch.save({"x": Executes(trace)}, path)
    with pytest.raises(CheckpointError, match=r"bad\.pth.*mkdir"):
        CheckpointLoader.load_checkpoint(str(path))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (HistoryBuffer, "__init__"),
        (HistoryBuffer, "register_statistics"),
        (HistoryBuffer, "__subclasses__"),
        (torch.Tensor, "max"),
        ({}, "clear"),
    ],
)
def test_getattr_gives_history_statistics_only(tmp_path, owner, name):
    path = tmp_path / "bad.pth"
    torch.save({"x": ReadsAttribute(owner, name)}, path)
    with pytest.raises(CheckpointError, match=r"bad\.pth.*getattr"):
        compat.load_checkpoint_file(str(path))
    assert compat_checkpoints.get_history_statistic(HistoryBuffer, "mean") is HistoryBuffer.mean


def test_cut_off_checkpoint_is_named(tmp_path):
    path = tmp_path / "cut.pth"
    torch.save({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        CheckpointLoader.load_checkpoint(str(path))


def test_missing_checkpoint_names_close_files(tmp_path):
    torch.save({}, tmp_path / "iter_2000.pth")
    with pytest.raises(CheckpointError, match=r"iter_200\.pth.*iter_2000\.pth"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "iter_200.pth"))


def test_url_checkpoint_is_read_with_weights_only(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    trace = tmp_path / "executed"
    torch.save({"x": Executes(trace)}, tmp_path / "checkpoints" / "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth.*mkdir"):
        CheckpointLoader.load_checkpoint("https://example.invalid/bad.pth")
    assert not trace.exists()
    torch.save({"w": torch.ones(2)}, tmp_path / "checkpoints" / "good.pth")
    assert CheckpointLoader.load_checkpoint("https://example.invalid/good.pth")["w"].sum() == 2


def test_weights_without_network_say_where_to_put_them(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(CheckpointError) as caught:
        CheckpointLoader.load_checkpoint("https://example.invalid/resnet50-0123abcd.pth")
    message = str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)  # which callers of the stock loader expect
    assert "no route to host" in message
    assert str(tmp_path / "checkpoints" / "resnet50-0123abcd.pth") in message


# --- mmcv.ops -------------------------------------------------------------------------------------


def test_point_sample_reads_bilinear_values():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 3, 4, 5))
    points = rng.uniform(-0.1, 1.1, size=(2, 6, 2))  # outside reads zeros
    expected = np.zeros((2, 3, 6))
    for n in range(2):
        for p, (x, y) in enumerate(points[n]):
            column, row = x * 5 - 0.5, y * 4 - 0.5
            for j in (int(np.floor(row)), int(np.floor(row)) + 1):
                for i in (int(np.floor(column)), int(np.floor(column)) + 1):
                    if 0 <= j < 4 and 0 <= i < 5:
                        share = (1 - abs(row - j)) * (1 - abs(column - i))
                        expected[n, :, p] += share * features[n, :, j, i]
    result = compat.point_sample(torch.from_numpy(features), torch.from_numpy(points))
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)
    grid = torch.from_numpy(points).reshape(2, 2, 3, 2)
    gridded = compat.point_sample(torch.from_numpy(features), grid)
    np.testing.assert_allclose(gridded.reshape(2, 3, 6).numpy(), expected, atol=1e-12)


def focal_reference(logits, target, gamma, alpha, weight=None):
    loss = np.zeros_like(logits)
    for n in range(logits.shape[0]):
        for c in range(logits.shape[1]):
            p = 1 / (1 + np.exp(-logits[n, c]))
            if target[n] == c:
                loss[n, c] = -alpha * (1 - p) ** gamma * np.log(p)
            else:
                loss[n, c] = -(1 - alpha) * p**gamma * np.log(1 - p)
        if weight is not None and 0 <= target[n] < logits.shape[1]:
            loss[n] *= weight[target[n]]
    return loss


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.5), (0.0, 0.9)])
def test_sigmoid_focal_loss_values(gamma, alpha):
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(7, 4)) * 3, np.array([0, 1, 2, 3, 4, -1, 2])
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    inputs = torch.from_numpy(logits), torch.from_numpy(target), gamma, alpha
    expected = focal_reference(logits, target, gamma, alpha)
    np.testing.assert_allclose(compat.sigmoid_focal_loss(*inputs, None, "none"), expected)
    np.testing.assert_allclose(compat.sigmoid_focal_loss(*inputs, None, "sum"), expected.sum())
    np.testing.assert_allclose(compat.sigmoid_focal_loss(*inputs), expected.sum() / 7)
    weighted = compat.sigmoid_focal_loss(*inputs, torch.from_numpy(weight), "none")
    np.testing.assert_allclose(weighted, focal_reference(logits, target, gamma, alpha, weight))


def test_sigmoid_focal_loss_gradient():
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 1])
    assert torch.autograd.gradcheck(lambda x: compat.sigmoid_focal_loss(x, target, 1.5), logits)
    extreme = torch.tensor([[500.0, -500.0]], requires_grad=True)
    compat.sigmoid_focal_loss(extreme, torch.tensor([1]), 0.5).backward()
    assert torch.isfinite(extreme.grad).all()


def test_sigmoid_focal_loss_names_a_wrong_shape():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        compat.sigmoid_focal_loss(torch.zeros(2, 3, 4), torch.zeros(2))


@needs_lite  # the compiled operator has no CPU form
def test_mmseg_focal_loss_uses_it():
    from mmseg.models.losses.focal_loss import sigmoid_focal_loss

    loss = sigmoid_focal_loss(torch.zeros(4, 2), torch.zeros(4).long(), None, alpha=0.25)
    # p = 1/2 everywhere: mean of 0.25 * 0.25 * ln 2 and 0.75 * 0.25 * ln 2.
    torch.testing.assert_close(loss, torch.tensor(0.125 * np.log(2), dtype=torch.float32))


@needs_lite
def test_other_operators_raise_on_use_only():
    import mmcv
    from mmcv.ops import CrissCrossAttention, DeformConv2d, nms

    class Custom(DeformConv2d):
        pass

    assert mmcv.ops.nms is nms
    assert not isinstance(3, DeformConv2d)
    for use in (CrissCrossAttention, Custom, nms, lambda: nms.apply):
        with pytest.raises(InstallationError, match=r"mmcv\.ops\.\w+ "):
            use()
    with pytest.raises(ImportError):
        from mmcv.ops import no_such_operator  # noqa: F401


@needs_lite
def test_collect_env_works():
    from mmcv.utils import collect_env

    assert "mmcv-lite" in collect_env()["MMCV Compiler"]


def test_full_mmcv_is_left_alone(monkeypatch):
    import mmcv

    before = getattr(mmcv, "ops", None)
    monkeypatch.setattr(compat, "find_spec", lambda name: object())
    compat.install_ops_stand_in()
    assert getattr(mmcv, "ops", None) is before


# --- Package-name configs -------------------------------------------------------------------------


@pytest.fixture
def no_pkg_resources(monkeypatch):
    """As with recent setuptools: importing it fails."""
    monkeypatch.setitem(sys.modules, "pkg_resources", None)


def test_base_from_installed_package(tmp_path, no_pkg_resources):
    path = tmp_path / "child.py"
    path.write_text(
        "_base_ = 'mmseg::_base_/models/fcn_r50-d8.py'\nmodel = dict(pretrained=None)\n"
    )
    config = Config.fromfile(path)
    assert config.model.type == "EncoderDecoder" and config.model.pretrained is None
    path.write_text("_base_ = 'mmpretrain::_base_/models/resnet18.py'\n")
    assert Config.fromfile(path).model.backbone.depth == 18


@pytest.mark.parametrize("layout", ["wheel", "checkout"])
def test_base_from_mmsemi(tmp_path, monkeypatch, no_pkg_resources, layout):
    package = tmp_path / "site" / "mmsemi"
    configs = (package / ".mim" if layout == "wheel" else package.parent) / "configs"
    (configs / "cps").mkdir(parents=True)
    package.mkdir(exist_ok=True)
    (configs / "cps" / "x.py").write_text("model = dict(type='CPS')\n")
    if layout == "wheel":
        (package / ".mim" / "model-index.yml").write_text("Import: []\n")
    for module in ("mmengine.config.config", "mmengine.hub.hub"):
        monkeypatch.setattr(f"{module}.get_installed_path", lambda name: str(package))
        monkeypatch.setattr(f"{module}.is_installed", lambda name: True, raising=False)
    path = tmp_path / "child.py"
    path.write_text("_base_ = 'mmsemi::cps/x.py'\n")
    config = Config.fromfile(path)
    assert config.model.type == "CPS"
    # mmsemi registers in mmseg's registries, so the scope of its configs is mmseg.
    assert config.model._scope_ == "mmseg"

    from mmengine.hub import get_config

    assert get_config("mmsemi::cps/x.py").model.type == "CPS"
    with pytest.raises(FileNotFoundError, match=r"mmsemi::cps/y\.py.*'cps/x\.py'"):
        get_config("mmsemi::cps/y.py")


def test_get_config_of_stock_package(no_pkg_resources):
    from mmengine.hub import get_config

    config = get_config("mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py")
    assert config.model.decode_head.type == "FCNHead"


def test_package_paths(no_pkg_resources):
    import mmseg
    from mmengine.utils import get_installed_path, is_installed

    folder = os.path.dirname(mmseg.__file__)
    for name in ("mmsegmentation", "onedl-mmsegmentation", "mmseg"):
        assert get_installed_path(name) == folder
    assert is_installed("mmseg") and not is_installed("mmsemi_absent")
    with pytest.raises(ModuleNotFoundError, match="mmsemi_absent"):
        get_installed_path("mmsemi_absent")


def test_apply_twice_changes_nothing():
    patched = Config._get_cfg_path
    compat.apply()
    assert Config._get_cfg_path is patched


def test_nothing_in_the_package_loads_unsafely():
    from pathlib import Path

    package = Path(compat.__file__).parent
    reads_pickles = ("compat_checkpoints.py", "plain_pickles.py")  # with allow-lists of their own
    for path in package.glob("**/*.py"):
        text = path.read_text(encoding="utf-8")
        assert "weights_only=False)" not in text, path
        assert "import pickle" not in text or path.name in reads_pickles, path
        assert "pickle.load(" not in text and "pickle.loads(" not in text, path


def test_a_config_is_formatted_once(monkeypatch):
    from mmengine.config import config as module

    calls = []
    monkeypatch.setattr(
        module, "FormatCode", lambda text, **_: (calls.append(text), (text, True))[1]
    )
    compat_configs.format_once()
    config = Config(dict(a=1, b=dict(type="x")))
    texts = {config.pretty_text for _ in range(20)}
    assert len(texts) == len(calls) == 1
    config.a = 2  # another config has another text
    assert "a=2" in config.pretty_text.replace(" ", "") and len(calls) == 2
