# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A list of the labelled data set (ann_file) with Windows line ends and a byte order mark, or with suffixes.

After LiheYoung/UniMatch#26 and open-mmlab/mmsegmentation#1673 (lists of one's own). It must be read, or the
message must name what is wrong: a byte order mark is invisible in a file name.
"""

from __future__ import annotations

from _case import TMP, config, make_set, says, tail, train

data = make_set(TMP / "set")
names = [f"train{i}" for i in range(4)]
forms = {
    "CRLF": ("\r\n".join(names) + "\r\n").encode(),
    "byte order mark": b"\xef\xbb\xbf" + "\n".join(names).encode(),
    "suffixes": "\n".join(f"{n}.png" for n in names).encode(),
    "blank last line": ("\n".join(names) + "\n\n").encode(),
    "image and mask": "\n".join(f"{n}.png {n}.png" for n in names).encode(),
}
told = {
    "byte order mark": ("byte order mark", "BOM", "UTF-8"),
    "suffixes": ("img_suffix",),
    "blank last line": ("blank", "empty"),
    "image and mask": ("img_suffix", "column"),
}
wrong, notes = [], []
for form, content in forms.items():
    (data / "list.txt").write_bytes(content)
    code, out = train(config(data, "labeled['ann_file'] = 'list.txt'\n"))
    if code and not (
        says(out) and any(w.lower() in tail(out, 1).lower() for w in told.get(form, ()))
    ):
        wrong.append(f"{form}: {ascii(tail(out, 1))[:260]}")
    notes.append(f"{form}: {'read' if code == 0 else 'refused'}")
assert not wrong, "; ".join(wrong)
print("ok: " + "; ".join(notes))
