# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Exported segmentors: what is in the files, who can load them, what they predict."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS

from mmsemi.errors import ConfigError
from mmsemi.export import export_segmentor, natural_shape
from mmsemi.export.config import plain_config, plain_dataset
from mmsemi.export.requirements import packages_of, requirements
from mmsemi.utils.literals import to_plain

REPOSITORY = Path(__file__).resolve().parents[2]
OWN_HEAD = dict(type="DeepLabV3PlusHead", in_channels=[4, 8], in_index=[0, 1], c1_channels=4)


@torch.no_grad()
def logits(model, x: torch.Tensor) -> torch.Tensor:
    metas = [dict(ori_shape=x.shape[-2:], img_shape=x.shape[-2:])] * len(x)
    return model.eval().encode_decode(x, metas)


def load_semi(path: Path, config: Config):
    model = MODELS.build(copy.deepcopy(config.model))
    model.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    return model


def load_plain(folder: Path):
    config = Config.fromfile(folder / "config.py")
    init_default_scope("mmseg")
    model = MODELS.build(config.model)
    model.load_state_dict(torch.load(folder / "weights.pth", weights_only=True)["state_dict"])
    return model


def run_python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "nets"),
    [
        ("CPS", {}, {None: 0, "0": 0, 1: 1}),
        ("CPS", dict(predict_on=1), {None: 1}),
        ("ToyTeacherStudent", {}, {None: "teacher", "student": "student"}),
        ("Supervised", dict(test_cfg=dict(mode="whole")), {None: "student"}),
    ],
)
def test_logits_are_those_of_the_semi_model(make_run, tmp_path, method, options, nets):
    path, config = make_run(method, **options)
    semi, x = load_semi(path, config), torch.randn(2, 3, 24, 40)
    seen = []
    for asked, name in nets.items():
        result = export_segmentor(path, tmp_path / f"out{asked}", asked)
        assert result.net == str(name) and result.own_parts == []
        plain = load_plain(tmp_path / f"out{asked}")
        with semi.predicting_on(name):
            assert torch.equal(logits(plain, x), logits(semi, x))
        seen.append(logits(plain, x))
    if len(set(nets.values())) > 1:
        assert not torch.equal(seen[0], seen[-1])


def test_the_config_is_that_of_a_plain_model(make_run, tmp_path):
    path, _ = make_run(unsup_weight=2.0)
    export_segmentor(path, tmp_path / "out")
    config = Config.fromfile(tmp_path / "out/config.py")
    assert config.model.type == "EncoderDecoder" and config.model.backbone.init_cfg is None
    assert config.model.decode_head.loss_decode == dict(
        type="CrossEntropyLoss", avg_non_ignore=True
    )
    assert config.model.data_preprocessor == dict(
        type="SegDataPreProcessor",
        mean=[120.0, 110.0, 100.0],
        std=[60.0, 55.0, 50.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=8),
    )
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "custom_imports", "val_cfg"):
        assert key not in config
    assert config.default_hooks == dict(visualization=dict(type="SegVisualizationHook"))
    assert "mmsemi" not in config.pretty_text and "Semi" not in config.pretty_text


def test_own_parts_are_named_and_imported(make_run, tmp_path):
    path, config = make_run(head=OWN_HEAD)
    result = export_segmentor(path, tmp_path / "out", net=1)
    assert result.own_parts == ["DeepLabV3PlusHead"]
    plain = Config.fromfile(tmp_path / "out/config.py")
    assert plain.custom_imports == dict(imports=["mmsemi"], allow_failed_imports=False)
    with (semi := load_semi(path, config)).predicting_on(1):
        x = torch.randn(1, 3, 32, 32)
        assert torch.equal(logits(load_plain(tmp_path / "out"), x), logits(semi, x))


def test_what_a_network_needs_is_written_beside_it(make_run, tmp_path):
    path, config = make_run()
    result = export_segmentor(path, tmp_path / "stock")
    lines = (tmp_path / "stock/requirements.txt").read_text().splitlines()
    assert lines[1:] == result.needs
    names = [line.partition("==")[0] for line in result.needs]
    assert {"torch", "mmcv", "mmengine", "mmsegmentation"} <= set(names) and "mmsemi" not in names
    assert not any(name in names for name in ("mmcv-lite", "mmpretrain", "timm"))

    path, config = make_run(head=OWN_HEAD)
    found = export_segmentor(path, tmp_path / "own").needs
    assert any(line.startswith(("mmsemi==", "# mmsemi")) for line in found)


def test_a_part_of_another_package_is_needed(make_run, tmp_path):
    path, config = make_run()
    net = MODELS.build(dict(type="mmpretrain.GlobalAveragePooling"))
    assert packages_of(net) == ["mmpretrain", "torch"]
    assert any(line.startswith("mmpretrain==") for line in requirements(packages_of(net)))
    assert "# no_such_package: of no installed distribution" in requirements(["no_such_package"])


def test_a_stock_name_with_code_of_mmsemi_is_refused(make_run, tmp_path, monkeypatch):
    path, _ = make_run()
    stock = MODELS.get("SegDataPreProcessor")
    monkeypatch.setattr(stock, "__init__", _with_own_child(stock.__init__))
    with pytest.raises(ConfigError, match="mmsemi"):
        export_segmentor(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _with_own_child(constructor):
    from mmsemi.models import PixelCrossEntropy

    def construct(self, *args, **kwargs):
        constructor(self, *args, **kwargs)
        self.own = PixelCrossEntropy()

    return construct


def test_a_given_config_replaces_the_stored_one(make_run, tmp_path):
    path, config = make_run()
    config.model.segmentor.test_cfg = dict(mode="slide", crop_size=(16, 16), stride=(8, 8))
    export_segmentor(path, tmp_path / "out", config=config)
    assert Config.fromfile(tmp_path / "out/config.py").model.test_cfg.mode == "slide"


@pytest.mark.parametrize("name", ["cps/camvid_1-8.py", "cps/shapes_1-8.py", "cps/voc_1-8.py"])
def test_data_sets_of_the_shipped_configs_become_stock_ones(name):
    config = Config.fromfile(REPOSITORY / "configs" / name)
    plain, own_parts, notes = plain_config(config)
    assert own_parts == ["DeepLabV3PlusHead"] and notes == []
    dataset, before = plain["test_dataloader"]["dataset"], config.test_dataloader.dataset
    if name == "cps/voc_1-8.py":
        assert dataset == before.to_dict()
        return
    assert dataset["type"] == "BaseSegDataset" and dataset["data_root"] == before.data_root
    kind = DATASETS.get(before.type)
    assert dataset["metainfo"] == to_plain({k: kind.METAINFO[k] for k in ("classes", "palette")})
    stock = DATASETS.build({**dataset, "lazy_init": True})
    own = DATASETS.build({**before, "lazy_init": True})
    for key in ("ann_file", "data_prefix", "img_suffix", "seg_map_suffix", "reduce_zero_label"):
        ours, theirs = getattr(stock, key), getattr(own, key)
        if isinstance(ours, dict):
            assert {k: os.path.normpath(v) for k, v in ours.items()} == {
                k: os.path.normpath(v) for k, v in theirs.items() if v
            }
        else:
            assert ours == theirs


def test_a_data_set_with_code_of_its_own_stays_and_is_an_optional_import(make_run):
    from mmsemi.datasets import CamVidDataset

    @DATASETS.register_module(force=True)
    class OtherSet(CamVidDataset):
        def load_data_list(self):
            raise AssertionError

    OtherSet.__module__ = "mmsemi.datasets.other"
    assert plain_dataset(dict(type="OtherSet"))["type"] == "OtherSet"
    _, config = make_run()
    config.test_dataloader.dataset = dict(type="OtherSet", pipeline=[])
    plain, own_parts, notes = plain_config(config)
    assert own_parts == [] and notes == ["only tools/test.py needs mmsemi: OtherSet"]
    assert plain["custom_imports"] == dict(imports=["mmsemi"], allow_failed_imports=True)


# --- Loading --------------------------------------------------------------------------------------


def test_weights_load_in_a_fresh_process_with_nothing_allowed(make_run, tmp_path):
    path, _ = make_run()
    export_segmentor(path, tmp_path / "out")
    printed = run_python(
        "import sys, json, torch\n"
        "torch.serialization.clear_safe_globals()\n"
        "c = torch.load('out/weights.pth', weights_only=True)\n"
        "names = [m for m in sys.modules if m.split('.')[0] in ('mmsemi', 'mmengine', 'mmseg')]\n"
        "assert names == [], names\n"
        "print(json.dumps([sorted(c), c['meta'], sorted(c['state_dict'])]))",
        tmp_path,
    )
    keys, meta, entries = json.loads(printed)
    assert keys == ["meta", "state_dict"]
    assert meta["dataset_meta"] == dict(
        classes=["background", "left", "right"],
        palette=[[0, 0, 0], [9, 9, 9], [99, 99, 99]],
        label_map=None,
    )
    assert (meta["iter"], meta["net"], meta["exported_from"]) == (7, "0", "iter_7.pth")
    assert entries == sorted(load_plain(tmp_path / "out").state_dict())


WITHOUT_MMSEMI = """
import runpy, sys, types
class Blocked:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "mmsemi":
            raise ModuleNotFoundError("mmsemi is not installed here")
sys.meta_path.insert(0, Blocked())
# In place of a full mmcv's operators, which the installed mmcv-lite lacks.
import mmcv
ops = types.ModuleType("mmcv.ops")
ops.__getattr__ = lambda name: type(name, (), {}) if name[0] != "_" else missing(name)
def missing(name): raise AttributeError(name)
sys.modules["mmcv.ops"] = mmcv.ops = ops
import mmseg, numpy, torch
from mmseg.apis import MMSegInferencer, inference_model, init_model
model = init_model("out/config.py", "out/weights.pth", device="cpu")
result = inference_model(model, "set/images/val/v00.png")
assert model.dataset_meta["classes"] == ("background", "left", "right"), model.dataset_meta
torch.save(result.seg_logits.data, "logits.pth")
inferencer = MMSegInferencer(model="out/config.py", weights="out/weights.pth", device="cpu")
found = inferencer("set/images/val/v00.png", return_datasamples=False)["predictions"]
assert numpy.array_equal(found, result.pred_sem_seg.data[0].numpy())
tool = mmseg.__path__[0] + "/.mim/tools/test.py"
sys.argv = [tool, "out/config.py", "out/weights.pth", "--work-dir", "test"]
runpy.run_path(tool, run_name="__main__")
assert not [name for name in sys.modules if name.split(".")[0] == "mmsemi"]
"""


def test_mmseg_runs_a_stock_net_without_mmsemi(make_run, tmp_path, data_root):
    from mmseg.apis import inference_model, init_model

    path, _ = make_run()
    export_segmentor(path, tmp_path / "out", net=1)
    run_python(WITHOUT_MMSEMI, tmp_path)
    semi = init_model(str(tmp_path / "semi.py"), str(path), device="cpu")
    with semi.predicting_on(1):
        expected = inference_model(semi, str(data_root / "images/val/v00.png"))
    assert torch.equal(torch.load(tmp_path / "logits.pth"), expected.seg_logits.data)
    metrics = [json.loads(file.read_text()) for file in tmp_path.glob("test/*/*.json")]
    assert 0 < metrics[0]["mIoU"] <= 100


# --- ONNX -----------------------------------------------------------------------------------------


def test_onnx_agrees_with_torch_at_other_sizes(make_run, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path, _ = make_run()
    result = export_segmentor(path, tmp_path / "out", onnx=True)
    assert result.onnx.startswith("takes any batch and image size; largest difference")
    x = torch.randn(3, 3, 50, 70)
    session = runtime.InferenceSession(str(tmp_path / "out/net.onnx"))
    found = session.run(["logits"], {"images": x.numpy()})[0]
    expected = logits(load_plain(tmp_path / "out"), x)
    assert np.abs(found - expected.numpy()).max() < 1e-4
    facts = {p.key: p.value for p in onnx.load(str(tmp_path / "out/net.onnx")).metadata_props}
    assert json.loads(facts["mean"]) == [120.0, 110.0, 100.0]
    assert json.loads(facts["classes"]) == ["background", "left", "right"]


def test_the_traced_size_is_the_window_or_the_crop():
    segmentor = dict(data_preprocessor=dict(type="SegDataPreProcessor"))
    own_data = dict(train_dataloader=dict(dataset=dict(crop_size=(96, 128))))
    assert natural_shape(dict(segmentor=segmentor), own_data) == (96, 128)
    assert natural_shape(dict(segmentor=segmentor), {}) == (512, 512)
    model = dict(segmentor=segmentor, data_preprocessor=dict(size=(64, 80)))
    assert natural_shape(model, own_data) == (64, 80)
    window = dict(mode="slide", crop_size=(48, 40), stride=(8, 8))
    assert natural_shape(dict(model, test_cfg=window), own_data) == (48, 40)


@pytest.mark.parametrize("bins", [1, 2, 3, 6, (2, None)])
@pytest.mark.parametrize("size", [(7, 11), (6, 12), (4, 5)])
def test_traceable_pooling_is_adaptive_pooling(bins, size):
    pytest.importorskip("onnx")
    from mmsemi.export.onnx_file import TraceablePool

    x = torch.randn(2, 3, *size, dtype=torch.float64)
    assert torch.allclose(
        TraceablePool(bins)(x), torch.nn.AdaptiveAvgPool2d(bins)(x), atol=1e-12, rtol=0
    )


def test_a_network_that_onnx_gets_wrong_is_not_written(tmp_path, segmentor_config, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from mmsemi.export import agreement, onnx_file

    monkeypatch.setattr(agreement, "TOLERANCE", -1.0)
    net = MODELS.build({**segmentor_config}).eval()
    model = onnx_file.Logits(net, (32, 32))
    with pytest.raises(ConfigError, match="no ONNX form at 32x32: largest difference to torch"):
        onnx_file.write_onnx(model, tmp_path / "net.onnx", (32, 32), {})
    assert list(tmp_path.glob("*.onnx")) == []


def test_the_split_stays_with_the_weights(make_run, tmp_path):
    """A fusion with image-level scores compares it with the classifier's."""
    path, _ = make_run()
    checkpoint = torch.load(path, weights_only=True)
    split = dict(name="mine", labeled=4, labeled_sha256="ab", unlabeled=8, unlabeled_sha256="cd")
    checkpoint["meta"]["split"] = split
    torch.save(checkpoint, path)
    export_segmentor(path, tmp_path / "out")
    assert torch.load(tmp_path / "out" / "weights.pth", weights_only=True)["meta"]["split"] == split


def test_modules_of_the_user_come_by_the_config_that_they_name(make_run, tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(
        "from mmseg.models import FCNHead\n"
        "from mmseg.registry import MODELS\n\n\n"
        "@MODELS.register_module()\n"
        "class MyOwnHead(FCNHead):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path, config = make_run()
    config.custom_imports.imports.append("my_parts")
    config.model.segmentor.decode_head.type = "MyOwnHead"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["meta"]["cfg"] = config.pretty_text
    torch.save(checkpoint, path)
    config.dump(tmp_path / "semi.py")
    with pytest.raises(ConfigError, match=r"decode_head\.type='MyOwnHead'.*--config"):
        export_segmentor(path, tmp_path / "out")
    result = export_segmentor(
        path, tmp_path / "out", config=Config.fromfile(tmp_path / "semi.py"), net=0
    )
    assert result.own_parts == ["MyOwnHead"] and "my_parts" in result.imports
