"""One labelled image a batch with a head that pools to one pixel (DeepLabv3+, PSPNet) and batch norm.

After open-mmlab/mmsegmentation#272 and jfzhang95/pytorch-deeplab-xception#41. Batch norm has nothing to average;
the message must name the number to change (num_per_source), not a shape.
"""

from __future__ import annotations

from _case import config, make_set, TMP, says, tail, train

data = make_set(TMP / "set")
cfg = config(data, '''
head.update(type="DepthwiseSeparableASPPHead", dilations=(1, 2), c1_in_channels=4, c1_channels=4)
head.pop("num_convs")
train_dataloader.update(batch_size=3, sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=1, unlabeled=2)))
model.update(type="CPS", mix=dict(type="CutMix"))
''')
code, out = train(cfg)
assert code == 0 or says(out, "num_per_source"), tail(out, 2)
print("ok: " + tail(out, 1))
