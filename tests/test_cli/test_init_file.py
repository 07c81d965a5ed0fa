# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi init``: few images, held-out scenes, and the file that it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from init_folders import (
    init,
    labels,
    lists,
    row_of_labels,
    write_image,
    write_mask,
    write_set,
)
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmsemi.cli.init import main
from mmsemi.errors import ConfigError, DataError
from mmsemi.own_data.writing import METHODS, find_model, seconds_per_step
from mmsemi.utils.config_files import read_config

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("quick_garbage_collection", "folder")


# --- Few images, and validation -------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5])
def test_few_masks(count, capsys):
    write_set(labels().astype(np.uint8), count)
    init()
    assert len(lists()["labeled"]) == count - 1 and len(lists()["val"]) == 1
    assert "rough" in capsys.readouterr().out


def test_one_mask_or_nothing_without_a_mask_is_refused_with_what_to_give():
    write_set(labels().astype(np.uint8), 1)
    with pytest.raises(DataError, match="--val-images"):
        init()
    write_set(labels().astype(np.uint8), 3)
    with pytest.raises(DataError, match="--method supervised"):
        init("--unlabeled", "images")
    config = init("--unlabeled", "images", "--method", "supervised")
    assert config.train_dataloader.sampler.num_per_source == dict(labeled=4, unlabeled=0)


def test_scenes_are_held_out_whole_with_their_unlabelled_images():
    for scene in "abcd":
        for number in range(4):
            write_image(f"images/{scene}x_{number:03}.png", ord(scene) * 10 + number)
            write_mask(f"masks/{scene}x_{number:03}.png", labels().astype(np.uint8))
        write_image(f"more/{scene}x_100.png", ord(scene) * 10 + 9)
    init()
    found = {name: {Path(line).name[0] for line in lines} for name, lines in lists().items()}
    assert len(found["val"]) == 1 and not found["val"] & (found["labeled"] | found["unlabeled"])
    assert found["labeled"] | found["val"] == set("abcd") and len(found["unlabeled"]) == 3


def test_no_validation_image_is_unlabelled_nor_a_copy_of_one():
    write_set(labels().astype(np.uint8))
    config = init()
    held = lists()["val"][0].split("\t")[0]
    with Image.open(held) as picture:
        picture.resize((96, 80)).save("more/copy.jpg", quality=60)
    init("--unlabeled", "more", "images")
    assert len(lists()["unlabeled"]) == 4 and held == lists()["val"][0].split("\t")[0]
    for number in range(2):
        write_image(f"v/v{number}.png", 200 + number)
        write_mask(f"vm/v{number}.png", labels().astype(np.uint8))
    Path("v/v2.png").write_bytes(Path("images/i0.png").read_bytes())
    write_mask("vm/v2.png", labels().astype(np.uint8))
    init("--val-images", "v", "--val-masks", "vm")
    found = lists()
    assert len(found["val"]) == 3 and len(found["labeled"]) == 5
    assert not any("i0.png" in line for line in found["labeled"])
    assert config.val_dataloader.dataset.ann_file == "my_lists/val.txt"


def test_a_class_without_a_mask_is_told(capsys):
    write_set(labels().astype(np.uint8))
    init(classes="a,b,c")
    assert "'c'" in capsys.readouterr().out


# --- The file -------------------------------------------------------------------------------------


def test_large_images_are_made_smaller_and_labels_of_validation_are_not():
    write_set(labels().astype(np.uint8), 0)
    for number in range(3):
        write_image(f"images/i{number}.png", number, (1280, 960))
        write_mask(f"masks/i{number}.png", labels((1280, 960)).astype(np.uint8))
    config = init()
    sample = DATASETS.build(config.val_dataloader.dataset)[0]
    assert sample["inputs"].shape == (3, 768, 1024)
    assert sample["data_samples"].gt_sem_seg.shape == (960, 1280)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds(method):
    write_set(labels().astype(np.uint8), 3)
    config = init("--method", method, "--model", "deeplabv3plus_r18")
    assert MODELS.build(config.model).num_classes == 2
    if method == "mean_teacher":
        assert config.model.unsup_weight == 9.5, "100 belongs to a mean over 21 classes"


@pytest.mark.parametrize("name", ["deeplabv3plus_efficientnet_lite0", "segformer_b0", "dpt_dino"])
def test_a_shipped_model_takes_a_step(name):
    write_set(labels().astype(np.uint8), 3)
    config = init("--model", name, "--method", "unimatch_v2")
    is_transformer = "efficientnet" not in name
    assert config.model.get("backbone_norm_eval", False) != is_transformer, "no batch norm in it"
    assert (config.optim_wrapper.optimizer.lr < 1e-3) == is_transformer
    config.model.segmentor.backbone.init_cfg = None
    assert seconds_per_step(config, 1) > 0


def test_a_crop_is_a_multiple_of_the_patch():
    write_set(labels().astype(np.uint8), 3)
    config = init("--model", "dpt_dino")
    assert config.train_dataloader.dataset.crop_size == (56, 56)
    with pytest.raises(ConfigError, match="126 and 140"):
        init("--model", "dpt_dino", "--crop", "128")


@pytest.mark.parametrize("norm_eval", [False, True])
def test_batch_norms_that_a_config_keeps_are_not_kept_twice(norm_eval):
    Path("net.py").write_text(
        'model = dict(type="EncoderDecoder", pretrained="open-mmlab://resnet18_v1c", '
        f'backbone=dict(type="ResNetV1c", depth=18, norm_eval={norm_eval}), decode_head=dict('
        'type="FCNHead", in_channels=512, channels=8, num_classes=19), data_preprocessor=dict('
        'type="SegDataPreProcessor", size=(32, 32)))\n'
    )
    assert find_model("net.py").freezes_norms != norm_eval


def test_any_mmseg_config_is_a_model():
    write_set(labels(values=(0, 255)).astype(np.uint8), 3)
    name = "mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py"
    config = init("--model", name, "--method", "cps")
    assert config.model.segmentor.decode_head.num_classes == 2
    assert config.model.segmentor.auxiliary_head.num_classes == 2
    assert MODELS.build(config.model).num_classes == 2
    DATASETS.build(config.train_dataloader.dataset)
    assert row_of_labels(config) == [0, 1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--method", "fixmach"], "fixmatch"),
        (["--model", "resnet"], "deeplabv3plus_r18"),
        (["--budget", "0"], "--budget"),
        (["--crop", "8"], "--crop"),
        (["--val-images", "images"], "--val-masks"),
        (["-o", "my.txt"], "my.txt"),
        (["--masks", "none"], "none"),
        (["--classes", "a,a"], "a,a"),
        (["--classes", "a=1,b"], "'b'"),
        (["--classes", "a=x,b=1"], "'x'"),
    ],
)
def test_wrong_usage_is_refused(options, told):
    write_set(labels().astype(np.uint8), 3)
    with pytest.raises((ConfigError, DataError), match=told):
        init(*options)


def test_an_earlier_config_is_kept():
    write_set(labels().astype(np.uint8), 3)
    Path("my.py").write_text("mine = 1\n")
    with pytest.raises(ConfigError, match="--force"):
        main(["--images", "images", "--masks", "masks", "--classes", "a,b"])
    assert Path("my.py").read_text() == "mine = 1\n"


def test_a_budget_says_what_the_supervised_runs_add(monkeypatch, capsys):
    write_set(labels().astype(np.uint8), 3)
    timed = []

    def seconds_per_step(config):
        timed.append(config.model.type)
        return dict(FixMatch=0.6, Supervised=0.2)[timed[-1]]

    monkeypatch.setattr("mmsemi.cli.init.seconds_per_step", seconds_per_step)
    assert init("--budget", "6").train_cfg.max_iters == 540
    told = capsys.readouterr().out
    assert "0.60 s a step here: 540 steps in 6 minutes" in told
    assert "the supervised runs of --from supervised and --baseline: 2.0 minutes each" in told
    init("--budget", "6", "--method", "supervised")
    assert timed == ["FixMatch", "Supervised", "Supervised"]
    assert "--baseline" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_written_config_trains_from_the_command_line(tmp_path, capfd):
    write_set(labels(values=(0, 255)).astype(np.uint8), 3)
    init("--model", "deeplabv3plus_r18", "--crop", "32", "--budget", "600")
    told = capfd.readouterr()
    assert "minutes each" in told.out and "INFO" not in told.out + told.err
    assert "UserWarning" not in told.err
    assert read_config("my.py").train_cfg.max_iters not in (0, 2000)
    options = [
        "train_cfg.max_iters=2",
        "train_cfg.num_validations=1",
        "model.segmentor.backbone.init_cfg=None",
    ]
    command = [sys.executable, "-m", "mmsemi", "train", "my.py", "--cfg-options", *options]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert Path("work_dirs/my/iter_2.pth").is_file()
