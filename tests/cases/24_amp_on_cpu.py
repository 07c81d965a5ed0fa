"""--amp on a machine without GPU.

After open-mmlab/mmpretrain#1556. One line that says that mixed precision needs a GPU, not a traceback.
"""

from __future__ import annotations

from _case import config, make_set, TMP, says, tail, train

data = make_set(TMP / "set")
code, out = train(config(data), "--amp")
assert code == 0 or says(out, "amp"), tail(out, 2)
print("ok: " + tail(out, 1))
