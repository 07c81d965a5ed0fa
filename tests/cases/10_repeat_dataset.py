# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A stock training set in RepeatDataset, as mmseg's DRIVE, STARE, HRF and CHASE_DB1 configs have it.

After open-mmlab/mmdetection#144 and open-edge-platform/geti#2444. docs/own_model.md: "the labelled data stay as they
are". It must train, or say that the wrapper is to be taken off.
"""

from __future__ import annotations

from _case import TMP, config, make_set, says, tail, train

data = make_set(TMP / "set")
wrong, notes = [], []
for times in (1, 3):
    cfg = config(
        data,
        f"""
train_dataloader["dataset"]["labeled"] = dict(type="RepeatDataset", times={times}, dataset=labeled)
""",
        f"repeat{times}.py",
    )
    code, out = train(cfg)
    if (
        code == 0
        or says(out, "RepeatDataset")
        and "no attribute" not in out
        and "twice" not in tail(out, 1)
    ):
        notes.append(f"times={times}: {'trains' if code == 0 else tail(out, 1)}")
    else:
        wrong.append(f"times={times}: {tail(out, 1)}")
assert not wrong, "; ".join(wrong)
print("ok: " + "; ".join(notes))
