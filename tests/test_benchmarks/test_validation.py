# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Both ways to validate find the same, and the tool says what it measured."""

from __future__ import annotations

import json

import torch

from benchmarks.validation import main


def test_the_tool_prints_and_stores_the_same_figures(tmp_path, capsys):
    threads, out = torch.get_num_threads(), tmp_path / "r.json"
    sizes = ["--images", "2", "--image", "40", "52", "--window", "24", "--pairs", "1"]
    try:
        config = "configs/fixmatch/shapes_1-8.py"
        assert main([config, *sizes, "--warmup", "0", "--out", str(out)]) == 0
    finally:
        torch.set_num_threads(threads)
    results, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert results["networks"] == ["student", "teacher"]
    assert results["metrics"]["together"] == results["metrics"]["apart"]
    assert "student/mIoU" in results["metrics"]["apart"] and results["same_pixels"] == 1
    assert f"ratio{results['ratio']['median']:22.4f}" in printed
