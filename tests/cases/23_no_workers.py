"""A config without loader workers (num_workers=0), for a debugger or on Windows.

After open-mmlab/mmsegmentation#2514 and mmaction2#1202. All shipped configs keep workers alive (persistent_workers),
which torch refuses without workers; it must run, or end in one line that names persistent_workers.
"""

from __future__ import annotations

from _case import config, make_set, TMP, says, tail, train

data = make_set(TMP / "set")
cfg = config(data, "train_dataloader.update(num_workers=2, persistent_workers=True)\nval_dataloader.update(num_workers=2, persistent_workers=True)\n")
code, out = train(cfg, "--cfg-options", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0")
assert code == 0 or says(out, "persistent_workers"), tail(out, 2)
print("ok: " + tail(out, 1))
