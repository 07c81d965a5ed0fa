# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A finished run is resumed with more iterations: max_iters and the schedule's end are raised together.

After open-mmlab/mmengine#1565 and facebookresearch/detectron2#429; README: "A shorter or longer run changes max_iters
and the end of param_scheduler together." The new schedule must be followed, or the run must say that it is not.
"""

from __future__ import annotations

import re

from _case import TMP, config, make_set, tail, train

data = make_set(TMP / "set")
lines = """
train_cfg.update(max_iters={n}, val_interval={n})
default_hooks["checkpoint"]["interval"] = {n}
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end={n} + 1, by_epoch=False)]
"""
code, out = train(config(data, lines.format(n=4), "run.py"))
assert code == 0, tail(out)
code, out = train(config(data, lines.format(n=8), "run.py"), "--resume")
assert code == 0, tail(out)
rates = [float(v) for v in re.findall(r"Iter\(train\) \[[5-8]/8\].*? lr: ([\d.e+-]+)", out)]
said = [
    line
    for line in out.splitlines()
    if "param_scheduler" in line
    and ("checkpoint" in line or "resume" in line)
    and "=" not in line.split("param_scheduler")[0]
]
want = [0.01 * (1 - i / 8) ** 0.9 for i in range(4, 8)]
assert said or (len(rates) == 4 and min(rates) > 1e-4), (
    f"learning rates of iterations 5-8: {rates}, wanted about {want}"
)
print(f"ok: {rates} {said}")
