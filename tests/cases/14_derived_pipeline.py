# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Labelled pipelines that are written differently: scoped type names, nested transforms.

After open-mmlab/mmsegmentation#1207 (augmentations by chance) and scoped names (open-mmlab/mmsegmentation#2908). The pipeline that
unlabelled images get from the labelled one must be without masks in every one of these forms.
"""

from __future__ import annotations

from _case import TMP, batch, config, make_set

data = make_set(TMP / "set", hw=(60, 60))
forms = dict(
    scoped='sup_pipeline[1] = dict(type="mmseg.LoadAnnotations")',
    scoped_crop='sup_pipeline[2] = dict(type="mmseg.RandomCrop", crop_size=crop, cat_max_ratio=0.75)',
    nested_crop='sup_pipeline[2] = dict(type="RandomChoice", transforms=[[dict(type="RandomCrop", crop_size=crop, '
    "cat_max_ratio=0.75)]])",
    nested_colour='sup_pipeline.insert(2, dict(type="RandomApply", prob=1.0, transforms=[dict(type="PhotoMetricDistortion")]))',
)
wrong = []
for name, lines in forms.items():
    try:
        runner, _ = batch(config(data, lines, f"{name}.py"))
        steps = repr(runner.train_loop.dataloader.dataset.pipeline("unlabeled"))
        if "PhotoMetricDistortion" in steps:
            wrong.append(f"{name}: unlabelled images get PhotoMetricDistortion")
    except Exception as error:
        wrong.append(f"{name}: {str(error).splitlines()[0][:200]}")
assert not wrong, "; ".join(wrong)
print("ok")
