# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The DeepLabv2 converters on files with the released names: all tensors, input, refusals."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, DictAction
from mmseg.datasets import PascalVOCDataset
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsemi.checkpoint_converters import advsemiseg, deeplabv2_coco
from mmsemi.checkpoint_converters.deeplabv2 import rename
from mmsemi.errors import CheckpointError
from mmsemi.models.heads import DeepLabV2Head

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS, TOOLS = REPOSITORY / "configs", REPOSITORY / "tools" / "checkpoint_converters"
MEAN_BGR = [104.00698793, 116.66876762, 122.67891434]


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def expected_names(tensors: dict) -> dict[str, str]:
    """Released name -> ours, written out here on its own."""
    return {
        name: name.replace("layer5.conv2d_list.", "decode_head.branches.")
        if name.startswith("layer5")
        else "backbone." + name
        for name in tensors
    }


@pytest.mark.parametrize(
    ("prefix", "wrap", "legacy"),
    [("", "", False), ("Scale.", "", True), ("module.Scale.", "state_dict", False)],
)
def test_all_528_tensors_of_the_coco_file(released, tmp_path, capsys, prefix, wrap, legacy):
    source, tensors = released(prefix=prefix, wrap=wrap, legacy=legacy)
    assert len(tensors) == 528
    out = tmp_path / "new" / "coco.pth"
    deeplabv2_coco.convert(source, out)
    text = capsys.readouterr().out
    assert "matched 528 of the network's 528 tensors; in the file and not used: none" in text
    assert "BGR images, 0-255, minus (104.00698793, 116.66876762, 122.67891434)" in text
    content = load(out)
    assert set(content["state_dict"]) == set(expected_names(tensors).values())
    for old, new in expected_names(tensors).items():
        assert torch.equal(content["state_dict"][new], tensors[old]), new
    assert content["meta"]["data_preprocessor"] == dict(
        mean=MEAN_BGR, std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    )
    assert content["meta"]["converted_from"]["file"] == "released.pth"
    assert len(content["meta"]["converted_from"]["sha256"]) == 64
    assert [path.name for path in out.parent.iterdir()] == ["coco.pth"]


def test_the_head_is_left_out_for_another_number_of_classes(released, tmp_path, capsys):
    source, tensors = released()
    out = tmp_path / "coco19.pth"
    deeplabv2_coco.convert(source, out, num_classes=19)
    text = capsys.readouterr().out
    assert "matched 520 of the network's 520 tensors" in text
    assert "layer5.conv2d_list.0.weight" in text and "(8 in all)" in text
    assert "the file has 21 classes, you want 19" in text
    state_dict = load(out)["state_dict"]
    assert len(state_dict) == 520 and all(name.startswith("backbone.") for name in state_dict)


def test_the_result_loads_into_the_network_and_its_parts(released, tmp_path):
    """What the base config does with it, and a strict load, which knows of batch counters."""
    source, tensors = released()
    out = tmp_path / "coco.pth"
    deeplabv2_coco.convert(source, out)
    state_dict = load(out)["state_dict"]
    with torch.device("meta"):
        parts = dict(backbone=ResNet(depth=101), decode_head=DeepLabV2Head(num_classes=21))
    for name, part in parts.items():
        own = {k.removeprefix(f"{name}."): v for k, v in state_dict.items() if k.startswith(name)}
        part.load_state_dict(own, strict=True, assign=True)
    weight = parts["decode_head"].branches[3].bias
    assert torch.equal(weight, tensors["layer5.conv2d_list.3.bias"])

    # Through an init_cfg, at a width that costs nothing.
    narrow = dict(depth=50, base_channels=4, stem_channels=4)
    donor, head = ResNet(**narrow), DeepLabV2Head(8, num_classes=3)
    file = tmp_path / "narrow.pth"
    weights = {rename(key): value for key, value in donor.state_dict().items()}
    weights.update({f"decode_head.{key}": value for key, value in head.state_dict().items()})
    torch.save(dict(state_dict=weights), file)
    init_cfg = dict(type="Pretrained", checkpoint=str(file), prefix="backbone.")
    net = ResNet(**narrow, init_cfg=init_cfg)
    net.init_weights()
    assert all(torch.equal(v, donor.state_dict()[k]) for k, v in net.state_dict().items())
    init_cfg["prefix"] = "decode_head."
    same = DeepLabV2Head(8, num_classes=3, init_cfg=init_cfg)
    same.init_weights()
    assert all(torch.equal(v, head.state_dict()[k]) for k, v in same.state_dict().items())


def test_a_published_voc_net_says_how_it_must_be_run(released, tmp_path, capsys):
    source, tensors = released(prefix="module.")
    out = tmp_path / "voc.pth"
    advsemiseg.convert(source, out)
    text = capsys.readouterr().out
    assert "matched 528 of the network's 528 tensors" in text
    assert "RGB images" in text
    for option in (
        "model.segmentor.decode_head.num_active_branches=2",
        "model.data_preprocessor.bgr_to_rgb=True",
        "model.data_preprocessor.mean=[122.67891434,116.66876762,104.00698793]",
        "model.data_preprocessor.std=[1.0,1.0,1.0]",
        "model.data_preprocessor.test_cfg.size=[505,505]",
    ):
        assert option in text
    meta = load(out)["meta"]
    assert meta["data_preprocessor"] == dict(
        mean=MEAN_BGR[::-1], std=[1.0, 1.0, 1.0], bgr_to_rgb=True
    )
    assert meta["num_active_branches"] == 2
    assert tuple(meta["dataset_meta"]["classes"]) == PascalVOCDataset.METAINFO["classes"]
    palette = meta["dataset_meta"]["palette"]  # known answer K11 of adversarial.md
    assert [palette[i] for i in (1, 3, 8, 15, 20)] == [
        [128, 0, 0],
        [128, 128, 0],
        [64, 0, 0],
        [192, 128, 128],
        [0, 64, 128],
    ]
    assert len(load(out)["state_dict"]) == len(tensors)


def test_the_printed_options_fit_the_base_config(released, tmp_path, capsys):
    source, _ = released()
    advsemiseg.convert(source, tmp_path / "voc.pth")
    printed = capsys.readouterr().out.split("--cfg-options")[1].replace("\\\n", " ")
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    options = parser.parse_args(["--cfg-options", *printed.split()]).cfg_options
    config = Config.fromfile(CONFIGS / "supervised" / "voc_1-8_advsemiseg.py")
    config.merge_from_dict(options)
    config.model.segmentor.backbone.init_cfg = None
    with torch.device("meta"):
        preprocessor = MODELS.build(config.model.data_preprocessor)
        head = MODELS.build(config.model.segmentor.decode_head)
    assert preprocessor.channel_conversion and head.num_active_branches == 2
    image = torch.zeros(3, 375, 500, dtype=torch.uint8)
    sample = SegDataSample(metainfo=dict(img_shape=(375, 500), ori_shape=(375, 500)))
    real = MODELS.build(config.model.data_preprocessor)
    inputs = real(dict(inputs=[image], data_samples=[sample]), training=False)["inputs"]
    assert inputs.shape == (1, 3, 505, 505)
    assert inputs[0, :, 0, 0].tolist() == pytest.approx([-mean for mean in MEAN_BGR[::-1]])
    assert inputs[0, :, -1, -1].tolist() == [0, 0, 0]  # padding after the mean, as published


def test_a_net_of_another_data_set_gets_no_class_names_and_no_input(released, tmp_path, capsys):
    source, _ = released(num_classes=19)
    out = tmp_path / "cityscapes.pth"
    advsemiseg.convert(source, out, branches=4)
    text = capsys.readouterr().out
    assert "decode_head.num_classes=19" in text and "num_active_branches=4" in text
    assert "RGB images" not in text and "set mean, std" in text
    assert not {"dataset_meta", "data_preprocessor"} & set(load(out)["meta"])


def test_batch_counters_and_foreign_tensors(released, tmp_path, capsys):
    source, tensors = released()
    extra = {"bn1.num_batches_tracked": torch.tensor(7), "fc.weight": torch.zeros(3, 3)}
    torch.save({**tensors, **extra}, source)
    out = tmp_path / "out.pth"
    advsemiseg.convert(source, out)
    assert "not used: fc.weight" in capsys.readouterr().out
    state_dict = load(out)["state_dict"]
    assert state_dict["backbone.bn1.num_batches_tracked"] == 7 and len(state_dict) == 529


class Culprit:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refuse(files: list[Path], *parts: str) -> None:
    with pytest.raises(CheckpointError) as error:
        advsemiseg.convert(*files)
    assert all(part in str(error.value) for part in parts) and "\n" not in str(error.value)


def test_a_file_with_code_in_it_is_refused(released, tmp_path):
    source, tensors = released()
    out, trace = tmp_path / "out.pth", tmp_path / "trace"
    torch.save({**tensors, "note": Culprit(trace)}, source)
    refuse([source, out], "mkdir", "released.pth")
    source.write_bytes(pickle.dumps({"weights": Culprit(trace)}))
    refuse([source, out], "released.pth")
    assert not trace.exists() and not out.exists()
    pickle.loads(source.read_bytes())
    assert trace.exists()  # the file is as bad as it should be


def test_other_files_are_refused_and_nothing_is_written(released, tmp_path):
    source, tensors = released()
    out = tmp_path / "out.pth"

    missing = {k: v for k, v in tensors.items() if k != "layer3.7.bn2.running_var"}
    torch.save(missing, source)
    refuse([source, out], "527 ", "backbone.layer3.7.bn2.running_var")

    wide = {**tensors, "layer1.0.conv1.weight": torch.zeros(1).expand(32, 64, 1, 1)}
    torch.save(wide, source)
    refuse([source, out], "layer1.0.conv1.weight", "(32, 64, 1, 1)", "(64, 64, 1, 1)")

    torch.save({k: v for k, v in tensors.items() if "layer5" not in k}, source)
    refuse([source, out], "layer5.conv2d_list", "_D")

    torch.save([1, 2], source)
    refuse([source, out], "list")
    torch.save({"lr": 0.1}, source)
    refuse([source, out], "lr")
    source.write_bytes(b"<html>not found</html>")
    refuse([source, out], "released.pth")
    refuse([tmp_path / "relaesed.pth", out], "relaesed.pth", "released.pth")
    assert not out.exists()
