# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi reliability``: the table of scores, what a restart does, and two processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmsemi.cli import pseudo_label, reliability
from mmsemi.errors import ConfigError
from mmsemi.self_training import image_job
from mmsemi.self_training.reliability import agreements
from mmsemi.self_training.scoring import read_scores


@pytest.fixture
def setup(tmp_path, semi_config, val_config, segmentor_config, preprocessor_config):
    """Arguments of a call with three checkpoints that scores 8 images."""
    model = dict(
        type="Supervised", segmentor=segmentor_config, data_preprocessor=preprocessor_config
    )
    config = dict(
        default_scope="mmseg",
        model=model,
        train_dataloader=dict(dataset=semi_config),
        test_dataloader=dict(dataset=val_config),
    )
    Config(config).dump(tmp_path / "config.py")
    meta = dict(dataset_meta=dict(classes=("background", "left", "right"), palette=[[0, 0, 0]] * 3))
    torch.manual_seed(0)
    net = MODELS.build(model)
    net.init_weights()
    for number in (1, 2, 3):
        torch.nn.init.normal_(net.student.decode_head.conv_seg.weight, std=1.0)
        torch.save(dict(state_dict=net.state_dict(), meta=meta), tmp_path / f"{number}.pth")
    checkpoints = [str(tmp_path / f"{number}.pth") for number in (1, 2, 3)]
    return [str(tmp_path / "config.py"), str(tmp_path / "out"), *checkpoints, *IN_PROCESS]


IN_PROCESS = ("--workers", "0", "--device", "cpu")


def call_both(labels: list[str], scores: list[str], shard: int) -> None:
    """A rank's part of a labelling and of a scoring, in shards of so many batches."""
    with patch.object(image_job, "_SHARD", shard):
        pseudo_label.main(labels)
        reliability.main(scores)


def test_scores_are_those_of_the_label_maps(setup, tmp_path):
    assert reliability.main(setup) == 0
    scores = read_scores(tmp_path / "out/scores.csv")
    assert len(scores) == 8 and len(set(scores.values())) > 1
    maps: dict[str, list[np.ndarray]] = {name: [] for name in scores}
    for number in (1, 2, 3):
        out = tmp_path / f"labels_{number}"
        labels = [setup[0], str(tmp_path / f"{number}.pth"), str(out), "--assign", "all"]
        pseudo_label.main([*labels, *IN_PROCESS, "--batch-size", "1"])
        for name, found in maps.items():
            found.append(cv2.imread(str(out / f"labels/{name}.png"), cv2.IMREAD_UNCHANGED))
    head, *lines = (tmp_path / "out/scores.csv").read_text().splitlines()
    assert head == "id,m_1,m_2,r,classes"
    assert [line.split(",")[0] for line in lines] == sorted(scores)
    for line in lines:
        name, *numbers, classes = line.split(",")
        expected = agreements(maps[name], 3)
        assert [float(n) for n in numbers] == [*expected, float(np.mean(expected))]
        assert int(classes) == len(np.unique(maps[name][-1]))
    with pytest.raises(ConfigError, match="checkpoints"):
        reliability.main([setup[0], setup[1], *setup[3:]])
    with pytest.raises(ConfigError, match="alone"):
        reliability.main(setup[:3])


@pytest.mark.slow
def test_a_killed_call_goes_on(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(image_job, "_SHARD", 2)
    reliability.main(setup)
    whole = (tmp_path / "out/scores.csv").read_bytes()
    shutil.rmtree(tmp_path / "out")
    write, seen = image_job.write_beside, []

    def killed(path, save):
        if Path(path).name.startswith("scores_"):
            seen.append(path)
            if len(seen) == 3:
                raise KeyboardInterrupt
        write(path, save)

    monkeypatch.setattr(image_job, "write_beside", killed)
    with pytest.raises(KeyboardInterrupt):
        reliability.main(setup)
    reliability.main(setup)
    assert len(seen) == 5, "two shards were done, the third one was cut off"
    assert (tmp_path / "out/scores.csv").read_bytes() == whole


def test_an_unreadable_image_has_no_score(setup, tmp_path, capsys):
    reliability.main(setup)
    victim = sorted(read_scores(tmp_path / "out/scores.csv"))[3]
    shutil.rmtree(tmp_path / "out")
    (tmp_path / f"set/images/train/{victim}.png").write_bytes(b"no picture")
    assert reliability.main(setup) == 1
    assert victim in capsys.readouterr().err
    scores = read_scores(tmp_path / "out/scores.csv")
    assert len(scores) == 7 and victim not in scores


@pytest.mark.slow
def test_two_ranks_make_the_files_of_one_process(setup, tmp_path, gloo_pool):
    def arguments(out: str) -> tuple[list[str], list[str]]:
        labels = [setup[0], setup[4], str(tmp_path / out / "labels"), "--ratio", "0.4"]
        scores = [setup[0], str(tmp_path / out / "scores"), *setup[2:]]
        return [*labels, *IN_PROCESS, "--batch-size", "1"], scores

    call_both(*arguments("one"), 8)
    gloo_pool.run(call_both, *arguments("two"), 3)
    one, two = (
        {
            str(p.relative_to(tmp_path / out)): p.read_bytes()
            for p in (tmp_path / out).rglob("*.*")
            if p.is_file()
        }
        for out in ("one", "two")
    )
    assert len(one) == 8 + 8 + 4
    assert one == two
