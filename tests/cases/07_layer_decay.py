"""Layer-wise learning rate decay (mmseg's constructor for ConvNeXt, BEiT, MAE) inside a semi-supervised model.

After open-mmlab/mmsegmentation#1438 and allenai/rslearn#632 (the constructor goes by parameter names). The decay
of the plain mmseg config must reach the student's layers.
"""

from __future__ import annotations

from _case import config, make_set, TMP

data = make_set(TMP / "set", hw=(64, 64))
cfg = config(data, '''
crop = (32, 32)
net.update(backbone=dict(type="BEiT", img_size=(32, 32), patch_size=8, embed_dims=16, num_layers=4, num_heads=2,
                         mlp_ratio=2, out_indices=(3,), qv_bias=True, attn_drop_rate=0.0, drop_path_rate=0.0,
                         norm_cfg=dict(type="LN"), init_values=0.1))
head.update(in_channels=16, in_index=0)
optim_wrapper = dict(type="OptimWrapper", constructor="LearningRateDecayOptimizerConstructor",
                     optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
                     paramwise_cfg=dict(num_layers=4, decay_rate=0.5, decay_type="layer_wise"))
''')
import logging

logging.disable(logging.WARNING)
import mmsemi  # noqa: E402, F401
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402

init_default_scope("mmseg")
loaded = Config.fromfile(str(cfg))


def rates(model) -> list[float]:
    groups = build_optim_wrapper(model, loaded.optim_wrapper).optimizer.param_groups
    return sorted({round(group["lr"], 9) for group in groups})


import contextlib  # noqa: E402
import io  # noqa: E402

with contextlib.redirect_stdout(io.StringIO()):  # the constructor prints every parameter
    plain = rates(MODELS.build(loaded.model.segmentor))
    semi = rates(MODELS.build(loaded.model))
assert semi == plain, f"plain model: learning rates {plain}; the same inside {loaded.model.type}: {semi}"
print(f"ok: {semi}")
