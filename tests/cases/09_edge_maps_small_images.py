# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PIDNet (boundary maps from GenerateEdge) with images smaller than the crop.

After open-mmlab/mmsegmentation#2934 and #3350. The edge maps must be padded with their images, as mmseg's own
preprocessor does.
"""

from __future__ import annotations

from _case import TMP, config, make_set, save, scene, tail, train

data = make_set(TMP / "set")
for number in range(4):
    image, mask = scene(number, (24 + 2 * number, 40))
    save(image, data / f"images/train/train{number}.png")
    save(mask, data / f"masks/train/train{number}.png")
cfg = config(
    data,
    """
sup_pipeline[3:] = [dict(type="GenerateEdge", edge_width=4), dict(type="PackSemiInputs")]
net.update(backbone=dict(type="PIDNet", in_channels=3, channels=8, ppm_channels=16, num_stem_blocks=1,
                         num_branch_blocks=1, align_corners=False, norm_cfg=bn, act_cfg=dict(type="ReLU")),
           decode_head=dict(type="PIDHead", in_channels=32, channels=16, num_classes=3, norm_cfg=bn,
                            act_cfg=dict(type="ReLU"), align_corners=True,
                            loss_decode=[dict(type="CrossEntropyLoss", loss_weight=0.4),
                                         dict(type="OhemCrossEntropy", thres=0.9, min_kept=100, loss_weight=1.0),
                                         dict(type="BoundaryLoss", loss_weight=20.0),
                                         dict(type="OhemCrossEntropy", thres=0.9, min_kept=100, loss_weight=1.0)]))
pre.update(size=(64, 64))
for key in ("mean", "std"):
    pass
crop = (64, 64)
sup_pipeline[2]["crop_size"] = crop
val_dataloader = val_cfg = val_evaluator = None
""",
)
code, out = train(cfg)
assert code == 0, tail(out, 3)
print("ok")
