# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi pseudo-label``: what lies in the folder, what a restart does, what a user can do wrong."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine import fileio
from mmengine.config import Config
from mmseg.registry import MODELS

from mmsemi.cli.pseudo_label import main
from mmsemi.errors import ConfigError, DataError, MachineError
from mmsemi.self_training import image_job, label_files, labeling
from mmsemi.self_training.images import image_ids
from mmsemi.self_training.inference import probabilities
from mmsemi.self_training.label_files import encode_confidence


@pytest.fixture
def setup(tmp_path, semi_config, val_config, segmentor_config, preprocessor_config):
    """A config file, a checkpoint and the arguments of a call that labels 8 images."""
    model = dict(
        type="Supervised", segmentor=segmentor_config, data_preprocessor=preprocessor_config
    )
    config = Config(
        dict(
            default_scope="mmseg",
            model=model,
            train_dataloader=dict(dataset=semi_config),
            test_dataloader=dict(dataset=val_config),
        )
    )
    config.dump(tmp_path / "config.py")
    torch.manual_seed(0)
    net = MODELS.build(model)
    net.init_weights()
    torch.nn.init.normal_(net.student.decode_head.conv_seg.weight, std=1.0)
    meta = dict(dataset_meta=dict(classes=("background", "left", "right"), palette=[[0, 0, 0]] * 3))
    torch.save(dict(state_dict=net.state_dict(), meta=meta), tmp_path / "net.pth")
    arguments = [str(tmp_path / "config.py"), str(tmp_path / "net.pth"), str(tmp_path / "out")]
    return [*arguments, "--workers", "0", "--device", "cpu", "--batch-size", "2"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_folder(setup, tmp_path, monkeypatch):
    opened, get = set(), fileio.get
    monkeypatch.setattr(
        fileio, "get", lambda path, *a, **k: opened.add(str(path)) or get(path, *a, **k)
    )
    assert main([*setup, "--ratio", "0.5"]) == 0
    assert len([path for path in opened if "/images/" in path]) == 8
    assert not [path for path in opened if "/masks/" in path], "a mask was opened"
    out = tmp_path / "out"
    names = sorted(path.name for path in (out / "labels").iterdir())
    assert len(names) == 8 and names == sorted(p.name for p in (out / "confidence").iterdir())
    report = json.loads((out / "thresholds.json").read_text())
    assert 0.3 < report["admitted"] < 0.8 and report["images"] == 8 and not report["unreadable"]
    counted = np.zeros(256, int)
    for name in names:
        label, confidence = read(out / "labels" / name), read(out / "confidence" / name)
        image = read(tmp_path / "set/images/train" / name)
        assert label.dtype == np.uint8 and confidence.dtype == np.uint16
        assert label.shape == confidence.shape == image.shape[:2]
        counted += np.bincount(label.ravel(), minlength=256)
        for number, row in enumerate(report["classes"]):
            if (label == number).any():
                least = confidence[label == number].min() / 65535
                assert least >= row["threshold"] - 1e-6
    assert [row["admitted"] for row in report["classes"]] == counted[:3].tolist()
    assert not (out / "work").exists()


@pytest.mark.parametrize("name", [pytest.param("confidences", marks=pytest.mark.slow), "labels"])
def test_a_killed_call_goes_on(setup, tmp_path, monkeypatch, name):
    monkeypatch.setattr(image_job, "_SHARD", 1)
    arguments = [*setup, "--ratio", "0.4", "--assign", "ratio", "--sampling", "batch"]
    main(arguments)
    whole = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    write, seen = labeling.write_beside, []

    def killed(path, save):
        if Path(path).name.startswith(name):
            seen.append(path)
            if len(seen) == 3:
                raise KeyboardInterrupt
        write(path, save)

    for module in (labeling, image_job):
        monkeypatch.setattr(module, "write_beside", killed)
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    read_again = []
    monkeypatch.setattr(
        labeling,
        "probabilities",
        lambda model, samples, *a: (
            read_again.append(len(samples)) or probabilities(model, samples, *a)
        ),
    )
    for module in (labeling, image_job):
        monkeypatch.setattr(module, "write_beside", write)
    main(arguments)
    assert sum(read_again) == (12 if name == "confidences" else 4), "it did more than the rest"
    assert contents(tmp_path / "out") == whole
    main(arguments)
    assert sum(read_again) == (12 if name == "confidences" else 4), "it is finished"
    with pytest.raises(ConfigError, match="settings"):
        main([*arguments, "--seed", "3"])


def test_an_unreadable_image_is_named_and_skipped(setup, tmp_path, capsys):
    main([*setup, "--assign", "all"])
    victim = sorted((tmp_path / "out/labels").iterdir())[3].name
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "set/images/train" / victim).write_bytes(b"no picture")
    assert main([*setup, "--assign", "all"]) == 1
    assert victim in capsys.readouterr().err
    assert len(list((tmp_path / "out/labels").iterdir())) == 7
    report = json.loads((tmp_path / "out/thresholds.json").read_text())
    assert [Path(one["path"]).name for one in report["unreadable"]] == [victim]
    assert report["admitted"] == 1


def test_little_space(setup, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 10_000))
    with pytest.raises(MachineError, match="9.8 KiB"):
        main(setup)
    monkeypatch.undo()

    write = label_files.write_beside

    def full(path, save):
        if str(path).endswith(".png"):
            raise OSError(28, "No space left on device", str(path))
        write(path, save)

    monkeypatch.setattr(label_files, "write_beside", full)
    with pytest.raises(OSError, match="No space"):
        main(setup)
    monkeypatch.undo()
    assert main(setup) == 0, "it goes on when there is room"
    assert len(list((tmp_path / "out/labels").iterdir())) == 8


@pytest.mark.parametrize("ratio, error", [(11 / 12, None), (1.0, DataError)])
def test_one_unlabelled_image_or_none(setup, tmp_path, ratio, error):
    options = ["--cfg-options", f"train_dataloader.dataset.split.ratio={ratio}"]
    if error:
        with pytest.raises(error, match="no image unlabelled"):
            main([*setup, *options])
        return
    assert main([*setup, *options]) == 0
    assert len(list((tmp_path / "out/labels").iterdir())) == 1


def test_a_list_and_hidden_masks(setup, tmp_path):
    main(setup)
    chosen = [path.stem for path in sorted((tmp_path / "out/labels").iterdir())][:3]
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "some.txt").write_text("\n".join(chosen))
    main([*setup, "--images", str(tmp_path / "some.txt"), "--score-hidden-masks"])
    assert sorted(p.stem for p in (tmp_path / "out/labels").iterdir()) == chosen
    report = json.loads((tmp_path / "out/thresholds.json").read_text())
    hits = total = 0
    for name in chosen:
        label, mask = (
            read(tmp_path / f"{f}/{name}.png") for f in ("out/labels", "set/masks/train")
        )
        valid = (label != 255) & (mask != 255)
        hits, total = hits + (label == mask)[valid].sum(), total + valid.sum()
    assert report["hidden_masks"]["accuracy"] == pytest.approx(100 * hits / total)


def test_scales_sum_probabilities(setup, segmentor_config, preprocessor_config):
    """Three views with logits (6, 0), (0, 2), (0, 2): docs/methods/st_plus_plus.md."""

    class Net:
        data_preprocessor = staticmethod(
            lambda data, _: dict(
                inputs=torch.stack(data["inputs"]).float(), data_samples=data["data_samples"]
            )
        )

        def __init__(self):
            self.sizes, self.logits = [], iter([(6.0, 0.0), (0.0, 2.0), (0.0, 2.0)])

        def inference(self, x, metas):
            self.sizes.append(tuple(x.shape[-2:]))
            return torch.tensor(next(self.logits))[None, :, None, None].expand(1, 2, *x.shape[-2:])

    from mmseg.structures import SegDataSample

    net = Net()
    sample = SegDataSample(metainfo=dict(ori_shape=(333, 500), img_shape=(333, 500)))
    samples = [dict(inputs=torch.zeros(3, 333, 500), data_samples=sample)]
    (prob,) = probabilities(net, samples, (0.5, 0.75, 1.5))
    assert net.sizes == [(166, 250), (249, 375), (499, 750)]
    assert prob.shape == (2, 333, 500)
    assert (3 * prob[:, 100, 100]).tolist() == pytest.approx([1.235933, 1.764067], abs=1e-5)


def test_settings_and_names(setup, tmp_path):
    for wrong in (["--ratio", "0"], ["--assign", "best"], ["--assign", "all", "--ratio", "0.5"]):
        with pytest.raises(ConfigError):
            main([*setup, *wrong])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        main(setup)
    with pytest.raises(DataError, match="one label"):
        image_ids(["a/x.jpg", "a/x.png"])
    assert encode_confidence(np.asarray([0, 1e-9, 0.5, 1.0])).tolist() == [0, 1, 32768, 65535]
