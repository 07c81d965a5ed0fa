# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the results keep of a method's own analysis, and its table."""

from __future__ import annotations

import pytest
from made_runs import write_folder
from made_up_rows import make_protocol

from runs import results
from runs.analysis import analysis_table, own_analysis
from runs.make import make_run
from runs.settings import settings_hash

MISSING = dict(
    step=20, name="class-never-labelled", text="no pseudo-label, or hardly one, for 'bar' (1 %)"
)


def test_shares_are_those_of_the_end_and_a_warning_is_the_newest():
    def logged(step: int, bar: float) -> dict:
        return {"step": step, "pseudo_label/bar": bar, "pseudo_label/kept": bar + 0.2}

    records = [
        dict(step=35, mIoU=50.0), logged(20, 0.4), logged(30, 0.9), logged(35, 0.1), logged(40, 0.3)
    ]  # fmt: skip
    found = own_analysis(records, [dict(MISSING, text="older"), MISSING], 40)
    assert found["pseudo_labels"] == pytest.approx(dict(bar=0.2, kept=0.4))
    assert found["findings"] == {"class-never-labelled": MISSING["text"]}
    assert own_analysis(records[:1], [], 40) == dict(pseudo_labels={}, findings={})


def test_a_run_has_the_warnings_of_all_its_processes(tmp_path, monkeypatch):
    protocol = make_protocol(tmp_path, monkeypatch)
    run = make_run(protocol, protocol.row("fixmatch"), 1)
    for stamp, first, step in (("20260101_1", 10, 20), ("20260101_2", 25, 30)):
        # Of the first process what comes after the checkpoint that the second one resumed counts no more.
        findings = [dict(MISSING, step=step), *([dict(MISSING, step=26)] if first == 10 else [])]
        write_folder(run.work_dir, stamp, [dict(step=first, loss=1.0)], findings=findings)
    assert [finding["step"] for finding in run.findings()] == [20, 30]


def test_the_table_has_the_methods_that_were_analysed(tmp_path, monkeypatch):
    protocol = make_protocol(tmp_path, monkeypatch)
    assert "FixMatch" not in analysis_table("made_up")
    line = dict(
        data="made_up", kind="run", method="fixmatch", start="start", machine=dict(cpu="usual"),
        settings=settings_hash(protocol, protocol.row("fixmatch")), last=dict(mIoU=50.0),
    )  # fmt: skip
    results.add_result(dict(line, seed=1), {})
    shares = dict(bar=0.1, disk=0.3, kept=0.4)
    analysis = dict(
        pseudo_labels=shares, findings={MISSING["name"]: MISSING["text"], "nothing-kept": "'x'"}
    )
    results.add_result(dict(line, seed=2, analysis=analysis), {})
    cells = [
        cell.strip() for cell in analysis_table("made_up").splitlines()[-1].strip("|").split("|")
    ]
    assert cells == [
        "FixMatch", "40.0%", "25.00%", "0.00%", "`class-never-labelled`: bar; `nothing-kept`"
    ]  # fmt: skip
    results.add_result(dict(line, seed=2, analysis=dict(pseudo_labels={}, findings={})), {})
    assert analysis_table("made_up").splitlines()[-1].split("|")[2:-1] == [" "] * 3 + [" none "]
