# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What is compared does the same work, and what is printed is what was measured."""

from __future__ import annotations

import json
import time

import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import parts
from benchmarks.parts import compare, main, teacher_updates
from mmsemi.models.ema import EMATeacher

CPU = torch.device("cpu")


def small_network() -> nn.Module:
    """Its first weight is large and its second of another layout, which have paths of their own."""
    wide = nn.Conv2d(64, 4, 5).to(memory_format=torch.channels_last)
    return nn.Sequential(nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), wide)


def test_all_updates_of_a_teacher_have_the_same_result():
    torch.manual_seed(0)
    results = []
    for name in teacher_updates(small_network()):
        torch.manual_seed(1)
        student = small_network()
        teacher = EMATeacher(student, 0.25, buffers="copy")
        before = teacher.module[0].weight.clone()
        student.load_state_dict(small_network().state_dict())
        student(torch.rand(2, 3, 16, 16))  # batch statistics of its own
        teacher_updates(student, teacher, momentum=0.25)[name]()
        torch.testing.assert_close(
            teacher.module[0].weight, 0.75 * before + 0.25 * student[0].weight
        )
        results.append(teacher.module.state_dict())
    assert len(results) == 5
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


def test_runs_alternate_and_the_ratio_is_that_of_a_round():
    calls = []

    def run(name: str, seconds: float):
        def wait() -> None:
            calls.append(name)
            time.sleep(seconds)

        return wait

    others = dict(slow=run("slow", 0.03), quick=run("quick", 0.001))
    result = compare(run("ours", 0.01), others, CPU, pairs=3, warmup=1, units=10)
    assert calls[:6] == ["quick", "slow", "ours", "ours", "slow", "quick"]
    assert len(calls) == 12
    assert (
        result["others"]["slow"]["ratio"]["median"] < 1 < result["others"]["quick"]["ratio"]["q1"]
    )
    assert result["ours"]["median"] >= 0.001
    assert result["others"]["slow"]["seconds"]["median"] >= 0.003


def test_the_pillow_view_is_the_published_one():
    jitter, gray, blur = parts.pillow_strong_view().transforms
    assert (jitter.p, gray.p, blur.p) == (0.8, 0.2, 0.5)
    image = Image.effect_noise((20, 12), 50).convert("RGB")
    torch.manual_seed(0)
    blurred = parts.PillowBlur()(image)
    assert blurred.size == (20, 12) and blurred != image


def test_the_tool_prints_and_stores_the_same_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(parts, "resnet101", small_network)
    threads = torch.get_num_threads()
    out = tmp_path / "new" / "parts.json"
    arguments = ["--crop", "24", "--batch", "2", "--pairs", "3", "--warmup", "0"]
    try:
        assert main([*arguments, "--out", str(out)]) == 0
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert results["threads"] == 1 and results["device"] == "cpu"
    assert list(results["parts"]) == [
        "strong view 24x24, per image in a batch of 2",
        "teacher update of a ResNet-101",
    ]
    for name, part in results["parts"].items():
        assert name in printed
        for other, measured in part["others"].items():
            assert other in printed and f"ratio {measured['ratio']['median']:.2f}" in printed
            assert measured["cpu_ratio"]["median"] > 0


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--pairs", "0"], "0"),
        (["--crop", "321", "-7"], "-7"),
        (["--threads", "0"], "0"),
        (["--warmup", "-1"], "-1"),
        (["--device", "toaster"], "toaster"),
        (["--device", "meta"], "meta"),
    ],
)
def test_wrong_arguments_are_refused(arguments, value, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and f"{arguments[0]}: {value} is" in capsys.readouterr().err
