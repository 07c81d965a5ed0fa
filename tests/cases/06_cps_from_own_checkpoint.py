"""CPS fine-tuned from one's own supervised checkpoint: two networks, not one network twice.

After charlesCXK/TorchSemiSeg#50 (the two heads start differently) and docs/own_model.md ("a plain mmseg checkpoint
goes into every network of the method"). Two equal networks teach each other nothing: they stay equal for ever.
"""

from __future__ import annotations

import torch
from _case import TMP, config, make_set, tail, tool, train

data = make_set(TMP / "set")
plain = config(data, '''
model.update(type="Supervised")
model.pop("unsup_weight")
train_dataloader.update(batch_size=2, sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2)))
''', "plain.py")
code, out = train(plain)
assert code == 0, tail(out)
cfg = config(data, f'''
load_from = "{TMP}/work/iter_2.pth"
train_cfg["max_iters"] = 4
train_cfg["val_interval"] = default_hooks["checkpoint"]["interval"] = 4
param_scheduler = []
model.update(type="CPS")
''', "cps.py")
code, out = tool("train.py", cfg, "--work-dir", TMP / "cps")
assert code == 0, tail(out)
state = torch.load(TMP / "cps/iter_4.pth", weights_only=False)["state_dict"]
first = {k.removeprefix("branches.0."): v for k, v in state.items() if k.startswith("branches.0.")}
apart = max(float((v.float() - state["branches.1." + k].float()).abs().max()) for k, v in first.items())
warned = [line for line in out.splitlines() if "WARNING" in line and ("same weights" in line or "equal" in line)]
agree = [line.split("unsup.agree: ")[1].split()[0] for line in out.splitlines() if "unsup.agree: " in line]
assert apart > 0 or warned, f"both branches are bit-identical after 4 iterations (agreement {agree}), without a word"
print(f"ok: largest difference {apart:.2g}, {warned}")
