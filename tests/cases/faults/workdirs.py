# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Copied, moved and shared work dirs: a resumed run must leave other runs' files alone.

Project root = current directory. One line on stdout; exit code 1 on any failure.
"""

import os
import re
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _fork as F



def summary(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    frames = len(re.findall(r'^\s*File "', text, re.M))
    return f"{frames} frames; {lines[-1][:260] if lines else ''}"


def main() -> int:
    F.warm_up()
    import torch
    from mmsemi.compat import load_checkpoint_file

    home = F.scratch("workdirs")
    data = F.make_data(home / "data")
    config = F.tiny_config("mean_teacher", data, home / "mt.py", iters=10)
    bad, done = [], 0

    def run(name, *arguments, cwd=None):
        log = home / f"{name}.log"
        code = F.wait(F.start("train.py", config, *arguments, log=log, cwd=cwd))
        return code, log.read_text(errors="replace")

    def case(name, ok, text=""):
        nonlocal done
        done += 1
        print(f"{'ok ' if ok else 'BAD'} {name}: {text}", file=sys.stderr, flush=True)
        if not ok:
            bad.append(name)

    def names(folder):
        return sorted(p.name for p in folder.glob("*.pth"))

    def lower_best(folder):
        """The best score is low, so that the next validation is better, as in a run that improves."""
        for path in folder.glob("iter_*.pth"):
            content = load_checkpoint_file(str(path))
            if "best_score" in content["message_hub"]["runtime_info"]:
                content["message_hub"]["runtime_info"]["best_score"] = -1.0
                torch.save(content, path)

    first = home / "first"
    code, text = run("first", "--work-dir", first, "--cfg-options", "train_cfg.max_iters=5")
    assert code == 0, summary(text)
    lower_best(first)
    kept = home / "kept"
    shutil.copytree(first, kept)

    def reset():
        shutil.rmtree(first, ignore_errors=True)
        shutil.copytree(kept, first)

    before = names(first)
    shutil.copytree(first, home / "copied")
    code, text = run("copied", "--work-dir", home / "copied", "--resume")
    case("resuming a copied work dir leaves the original alone", names(first) == before, f"exit {code}; original had {before}, has {names(first)}; copy has {names(home / 'copied')}; loaded from {re.findall(r'Load checkpoint from (.*)', text)}")

    reset()
    code, text = run("other", "--work-dir", home / "other", "--resume", "--cfg-options", f"load_from={first / 'iter_5.pth'}")
    case("resuming from another run's checkpoint leaves that run alone", names(first) == before, f"exit {code}; it had {before}, has {names(first)}; the new dir has {names(home / 'other')}")

    reset()
    first.rename(home / "moved")
    code, text = run("moved", "--work-dir", home / "moved", "--resume")
    best = [n for n in names(home / "moved") if n.startswith("best")]
    case("a moved work dir can be resumed", code == 0 and "resumed epoch" in text and len(best) == 1, f"exit {code}, {summary(text)}; {names(home / 'moved')}")

    (home / "a").mkdir()
    (home / "b").mkdir()
    code, text = run("rel", "--work-dir", "w", "--cfg-options", "train_cfg.max_iters=5", cwd=home / "a")
    code, text = run("rel2", "--work-dir", "../a/w", "--resume", cwd=home / "b")
    case("a relative work dir can be resumed from another folder", code == 0 and "resumed epoch" in text, f"exit {code}, {summary(text)}")

    pids = [F.start("train.py", config, "--work-dir", home / "shared", log=home / f"shared{i}.log") for i in (0, 1)]
    codes = [F.wait(pid) for pid in pids]
    texts = [(home / f"shared{i}.log").read_text() for i in (0, 1)]
    warned = any("in use" in t or "another run" in t for t in texts)
    readable = True
    for path in (home / "shared").glob("*.pth"):
        try:
            load_checkpoint_file(str(path))
        except RuntimeError:
            readable = False
    case("two runs in one work dir: one is refused or warned", warned, f"exits {codes}, {names(home / 'shared')}, all readable: {readable}; {[summary(t) for t in texts]}")
    code, text = run("shared_resume", "--work-dir", home / "shared", "--resume")
    case("the shared work dir can be resumed", code == 0 and readable, f"exit {code}, {summary(text)}")
    print(f"workdirs: {done} cases, {done - len(bad)} as expected; {'FAILED: ' + '; '.join(bad) if bad else 'ok'}")
    shutil.rmtree(home, ignore_errors=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
