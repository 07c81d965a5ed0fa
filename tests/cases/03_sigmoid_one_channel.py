"""Two classes as one sigmoid channel (num_classes=2, out_channels=1) with unlabelled images.

After open-mmlab/mmsegmentation#2201 and #2206 (the FAQ's recommended form). The unlabelled loss must mean
something, or the method must say that it needs a channel a class.

The assertions are the original's; its input is not. The original starts the classifier near 0, so that all
probabilities are near one half: in two iterations no pixel reaches FixMatch's 0.95, and the log's four digits show 0
for mean teacher. So a right implementation fails it, with two channels as with one. Here the classifier starts with a
spread of 1, FixMatch keeps labels from 0.5 on, and the strong view is the methods' own setting.
"""

from __future__ import annotations

from _case import config, make_set, TMP, says, tail, train

data = make_set(TMP / "set", classes=2)
wrong, notes = [], []
for method in ("MeanTeacher", "FixMatch", "CPS"):
    cfg = config(data, f'''
classes = ("ground", "object")
for one in (labeled, val_set):
    one["metainfo"] = dict(classes=classes)
head.update(num_classes=2, out_channels=1, threshold=0.5,
            init_cfg=dict(type="Normal", std=1.0, override=dict(name="conv_seg")),
            loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=True))
model.update(type="{method}", strong=dict(type="StrongPhotometric"))
if "{method}" == "FixMatch":
    model.update(threshold=0.5)
''', f"{method.lower()}.py")
    code, out = train(cfg)
    if code:
        (notes if says(out, "out_channels") else wrong).append(f"{method}: {tail(out, 1)}")
        continue
    import re

    values = re.findall(r"unsup\.loss_\w+: ([\d.e-]+)", out)
    (wrong if values and all(float(v) == 0 for v in values) else notes).append(
        f"{method} trains, unsupervised losses {values}")
assert not wrong, "; ".join(wrong)
print("ok: " + "; ".join(notes))
