# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""File names with spaces in the list of labelled images ("case (1).png" beside "case.png").

After YeLyuUT/MSDNet#2, BVLC/caffe#1951 and the names of the BUSI ultrasound set. Exactly the listed images must be
labelled.
"""

from __future__ import annotations

from _case import TMP, batch, config, make_set, save, scene

data = make_set(TMP / "set", train=0)
for number, name in enumerate(("case", "case (1)", "case (2)", "scan 01", "scan 02")):
    image, mask = scene(number)
    save(image, data / f"images/train/{name}.png")
    save(mask, data / f"masks/train/{name}.png")
wrong = []
for listed in (["case (1)"], ["case (1)", "case (2)"], ["scan 01", "scan 02"]):
    lines = TMP / "labelled.txt"
    lines.write_text("".join(f"{name}.png\n" for name in listed))
    cfg = config(
        data,
        f'''
train_dataloader["dataset"].update(split=dict(type="ListSplit", labeled="{lines}"), unlabeled=dict(pool="rest"))
''',
    )
    try:
        runner, _ = batch(cfg)
        found = sorted(runner.train_loop.dataloader.dataset.labeled_ids)
        if found != listed:
            wrong.append(f"the list names {listed}, labelled are {found}")
    except Exception as error:
        wrong.append(f"the list names {listed}: {str(error).splitlines()[0]}")
assert not wrong, "; ".join(wrong)
print("ok")
