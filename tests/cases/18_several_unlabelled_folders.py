# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Unlabelled images in two folders, or described by the data set class that the labelled ones have.

After LiheYoung/UniMatch#72 and open-mmlab/mmdetection#12126. ConcatDataset and any mmseg data set type are the stock
ways to say it; they must work, or be refused by name.
"""

from __future__ import annotations

from _case import TMP, config, make_set, save, says, scene, tail, train

data = make_set(TMP / "set")
for number in range(3):
    save(scene(300 + number)[0], data / f"other/x{number}.png")
forms = dict(
    concat='dict(type="ConcatDataset", datasets=[dict(type="UnlabeledDataset", img_dir=data + "/" + d, '
    'pipeline=[p for p in sup_pipeline if p["type"] != "LoadAnnotations"]) for d in ("more", "other")])',
    list_of_folders='dict(img_dir=[data + "/more", data + "/other"])',
    stock_type='dict(type="BaseSegDataset", data_root=data, data_prefix=dict(img_path="more"), img_suffix=".png", '
    'metainfo=dict(classes=classes), pipeline=[p for p in sup_pipeline if p["type"] != "LoadAnnotations"])',
)
wrong = []
for name, form in forms.items():
    code, out = train(
        config(data, f'train_dataloader["dataset"]["unlabeled"] = {form}\n', f"{name}.py")
    )
    if code and not says(out, "img_dir"):
        wrong.append(f"{name}: {tail(out, 1)}")
assert not wrong, "; ".join(wrong)
print("ok")
