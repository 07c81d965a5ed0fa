# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The measurement of the large configs, in its CPU form."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import gpu_goals
from benchmarks.gpu_goals import CASES, describe, read_case


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_the_published_setting(name):
    case = CASES[name]
    config = read_case(case._replace(is_mixed=False), is_small=False)
    size = config.train_dataloader.dataset.crop_size
    counts = config.train_dataloader.sampler.num_per_source
    assert tuple(size) == (case.crop, case.crop)
    assert (counts.labeled, counts.unlabeled) == (case.images, case.images)
    backbone = config.model.segmentor.backbone
    assert (backbone.get("size") == "base") is (name == "v2_dinov2_b")
    if name == "v2_dinov2_b":
        assert backbone.type == "DINOv2" and config.model.segmentor.decode_head.channels == 128
    assert config.model.get("frozen_encoder", False) is ("frozen" in name)
    small = read_case(case, is_small=True)
    assert small.optim_wrapper.type == "OptimWrapper", "bfloat16 is for the GPU"


def test_what_is_shown():
    found = dict(seconds=dict(median=0.2), memory_mib=1000.0, busy=0.9, operators={"aten::mm": 0.1},
                 images=16, crop=518, device="a GPU")  # fmt: skip
    text = describe("v2", CASES["v2_dinov2_b"], found)
    assert "0.200 s" in text and "90%" in text and "1.16 s on 4 A100" in text and "aten::mm" in text


@pytest.mark.slow
def test_the_cpu_form_runs(tmp_path, capsys):
    out = tmp_path / "goals.json"
    options = ["--device", "cpu", "--pairs", "1", "--warmup", "0", "--out", str(out)]
    assert gpu_goals.main(["v2_dinov2_s_frozen", *options]) == 0
    (found,) = json.loads(out.read_text()).values()
    assert (
        found["busy"] is None and found["seconds"]["median"] > 0 and len(found["operators"]) == 10
    )
    with pytest.raises(SystemExit):
        gpu_goals.main(["v3", *options])


def test_it_measures_a_gpu_unless_told_otherwise(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, and the measurement takes minutes")
    with pytest.raises(SystemExit):
        gpu_goals.main(["v2_dinov2_s_frozen"])
    assert "no CUDA device" in capsys.readouterr().err
