# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ADE-style masks whose reduction is set on the loader: LoadAnnotations(reduce_zero_label=True).

After open-mmlab/mmsegmentation#2425, #3787 and #1714; stock mmseg asserts that loader and data set agree. The loader's
setting must count, or the disagreement must be an error.
"""

from __future__ import annotations

from _case import TMP, batch, config, make_set, tail, train

data = make_set(TMP / "set")  # 0 = other, 1 and 2 = the classes
cfg = config(
    data,
    """
classes = ("left", "right", "none")
sup_pipeline[1] = test_pipeline[1] = dict(type="LoadAnnotations", reduce_zero_label=True)
for one in (labeled, val_set):
    one["metainfo"] = dict(classes=classes)
""",
)
code, out = train(cfg)
if code:
    assert "reduce_zero_label" in tail(out, 1), tail(out, 1)
    print("ok: refused: " + tail(out, 1))
else:
    _, made = batch(cfg)
    seen = sorted(
        {int(v) for s in made["inputs"].labeled.samples for v in s.gt_sem_seg.data.unique()}
    )
    assert seen == [0, 1, 255], (
        f"masks of 0 (other), 1, 2 with reduce_zero_label=True reach the loss as {seen}"
    )
    print("ok")
