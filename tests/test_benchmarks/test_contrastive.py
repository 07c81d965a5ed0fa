# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Both forms of the contrastive loss are the same one, and the tool says what it measured."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.contrastive import FORMS, main, make_pixels, measure


def test_both_forms_compute_the_same():
    cpu = torch.device("cpu")
    found = [measure(form, 70, 900, 16, cpu) for form in FORMS]
    for key in ("loss", "gradient"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-5) and found[0][key] > 0
    assert all(one["seconds"] > 0 and one["growth_mib"] >= 0 for one in found)
    given = make_pixels(70, 900, 16, cpu)
    assert given[2].shape == (900, 16) and given[0].features_ND.requires_grad


def test_the_tool_prints_and_stores_the_same_figures(monkeypatch, tmp_path, capsys):
    """With its runs in this process, since importing torch twice more takes longer than the test."""
    threads = torch.get_num_threads()
    sizes = ["--anchors", "40", "--rows", "300", "--channels", "8"]

    def in_this_process(form: str, arguments: object) -> dict:
        assert main([*sizes, "--one", form]) == 0
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr("benchmarks.contrastive.measure_apart", in_this_process)
    out = tmp_path / "r.json"
    try:
        assert main([*sizes, "--pairs", "2", "--out", str(out)]) == 0
    finally:
        torch.set_num_threads(threads)
    results, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert results["settings"]["anchors"] == "40"
    for form in FORMS:
        assert f"loss {results[form]['loss']:.6f}" in printed
    assert f"growth_mib {results['ratios']['growth_mib']:.3f}" in printed
