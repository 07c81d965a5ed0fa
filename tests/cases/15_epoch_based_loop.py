# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""An epoch-based config with the sampler of the semi-supervised base.

After open-mmlab/mmsegmentation#2566, likyoo/open-cd#69 and mmdetection#11024: EpochBasedTrainLoop with a sampler that
never ends. It must end, or be refused with the fix.
"""

from __future__ import annotations

from _case import TMP, config, make_set, says, tail, train

data = make_set(TMP / "set")
(TMP / "my_stop.py").write_text('''
import os
import sys

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class StopEndless(Hook):
    """Ends the process with code 99 after 12 times the iterations of an epoch."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx > 24:
            sys.stdout.flush()
            os._exit(99)
''')
cfg = config(
    data,
    """
custom_imports = dict(imports=["mmsemi", "my_stop"], allow_failed_imports=False)
custom_hooks = [dict(type="StopEndless")]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1, val_interval=1)
param_scheduler = []
model.update(type="CPS")
default_hooks["checkpoint"].update(by_epoch=True, interval=1)
log_processor = dict(by_epoch=True)
""",
)
code, out = train(cfg)
last = [line for line in out.splitlines() if "Epoch(train)" in line][-1:]
assert code != 99, f"the first epoch of 8 images in batches of 4 never ends: {last}"
assert code == 0 or says(out, "SemiIterBasedTrainLoop"), tail(out, 2)
print("ok: " + tail(out, 1))
