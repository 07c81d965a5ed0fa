# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Rows of self-training: their rounds count as one run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_rows import START, make_protocol

from mmsemi.errors import ConfigError
from runs import results, run
from runs.make import make_run
from runs.rows import PROTOCOLS, Protocol, Row

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture
def protocol(tmp_path, monkeypatch) -> Protocol:
    return make_protocol(tmp_path, monkeypatch)


ROUNDS = Row(
    "rounds", "DST-CBC", "dst_cbc/shapes_1-8", 6, "start", command="self_train", options=(
        "self_training.iterations=[2,2]", "self_training.ratios=[0.5,1.0]",
        "train_cfg.num_validations=1",
    ),
)  # fmt: skip


def test_the_rounds_of_a_row_count_together(protocol, tmp_path):
    one = make_run(protocol, replace(ROUNDS, options=ROUNDS.options[:3]), 2)
    assert one.length == 4 and one.arguments[:1] == ["dst_cbc/shapes_1-8"]
    assert "--seed 2 " in " ".join(one.arguments)
    for number, losses in ((1, (3.0, 2.0)), (2, (1.0, 0.5))):
        folder = one.out / f"round_{number}" / "train" / "run"
        (folder / "20260101" / "vis_data").mkdir(parents=True)
        lines = [json.dumps(dict(step=i, iter=i, loss=x)) for i, x in enumerate(losses, 1)]
        lines.append(json.dumps(dict(step=2, mIoU=10.0 * number)))
        (folder / "20260101" / "vis_data" / "scalars.json").write_text("\n".join(lines) + "\n")
        (folder / "iter_2.pth").write_text("")
        (folder / "last_checkpoint").write_text("iter_2.pth")
    losses = {r["step"]: r["loss"] for r in one.records() if "loss" in r}
    assert losses == {1: 3.0, 2: 2.0, 3: 1.0, 4: 0.5}
    assert [r["step"] for r in one.records() if "mIoU" in r] == [2, 4]
    assert one.checkpoint == one.out / "round_2" / "train" / "run" / "iter_2.pth"
    with pytest.raises(ConfigError, match="iterations"):
        make_run(protocol, replace(ROUNDS, options=()), 1)


@pytest.mark.slow
@pytest.mark.parametrize("is_ordered", (False, True))
def test_a_row_of_rounds_begins_with_the_start_of_the_others(
    is_ordered, protocol, tmp_path, monkeypatch
):
    path = tmp_path / "short.py"
    path.write_text(f"_base_ = {str(CONFIGS / 'supervised' / 'shapes_1-8.py')!r}\n"
                    "train_cfg = dict(max_iters=4, num_validations=2)\n")  # fmt: skip
    start = replace(START, config=str(path), options=())
    # By the agreement of earlier checkpoints, for which the command trains the start again.
    order = ("self_training.images.shares=[0.5,1.0]", "self_training.images.checkpoints=2")
    options = (*ROUNDS.options, f"self_training.baseline={path}", *(order if is_ordered else ()))
    rounds = replace(ROUNDS, options=options)
    monkeypatch.setitem(PROTOCOLS, "made_up", replace(protocol, rows=(start, rounds)))
    assert make_run(PROTOCOLS["made_up"], rounds, 1).trains_start is is_ordered
    assert run.main(["made_up", "start", "1"]) == 0
    assert run.main(["made_up", "rounds", "1"]) == 0
    found = results.read_results("made_up")["run", "rounds", 1]
    start = results.read_results("made_up")["run", "start", 1]
    assert found["start_weights"] == start["weights"] != found["weights"]
    assert [point["step"] for point in found["curve"]] == [2, 4] and found["steps"] == 4
    files = results.read_code()[found["code"]]
    assert {"mmsemi/self_training/labeling.py", "mmsemi/models/segmentors/supervised.py"} <= set(
        files
    )


@pytest.mark.parametrize("data", PROTOCOLS)
def test_two_models_that_label_for_each_other_begin_with_two_starts(data):
    rows = [row for row in PROTOCOLS[data].rows if row.command == "self_train"]
    for row in rows:
        one = make_run(PROTOCOLS[data], row, 1)
        assert row.has_second == (one.plan.mode == "mutual")
        one.options = [*one.options, *(f"{key}=/{key}.pth" for key in one.start_keys)]
        if not one.trains_start:
            assert one.start_checkpoint == Path("/self_training.baseline.pth")
            assert one.second_checkpoint == Path("/self_training.second.baseline.pth")
    assert {row.name for row in rows} == {"dst_cbc", "dmt", "st", "st_plus_plus"}
