# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""SIGTERM, SIGINT (one process, and the terminal's group) and SIGHUP: message, exit code, state, resume.

Project root = current directory. One line on stdout; exit code 1 if a run cannot be resumed to the
undisturbed result, hangs, leaves processes or a half-written file, or shows a page of traceback.
"""

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _fork as F


def main() -> int:
    F.warm_up()
    home = F.scratch("interrupt")
    config = F.tiny_config("mean_teacher", F.make_data(home / "data"), home / "mt.py")
    straight = home / "straight"
    if F.wait(F.start("train.py", config, "--work-dir", straight, log=home / "straight.log")) != 0:
        print(f"interrupts: the undisturbed run failed, see {home}")
        return 1
    failed, lines = [], []
    cases = [("TERM", False, 7), ("TERM", True, 7), ("INT", False, 7), ("INT", True, 7), ("INT", True, 0), ("INT", True, 10)]
    for name, group, after in cases:
        number = getattr(signal, f"SIG{name}")
        label = f"SIG{name} to {'all' if group else 'main'} after iteration {after}"
        work, log = home / "work", home / f"{label.replace(' ', '_')}.log"
        shutil.rmtree(work, ignore_errors=True)
        pid = F.start("train.py", config, "--work-dir", work, log=log)
        end = time.time() + 200
        while time.time() < end and (F.last_iter(work) < after if after else not list(work.glob("*/vis_data"))):
            time.sleep(0.02)
        began = time.time()
        (os.killpg if group else os.kill)(pid, number)
        code = F.wait(pid, 60)
        took = time.time() - began
        reached = F.last_iter(work)
        time.sleep(8)
        orphans = F.session_members(pid)
        text = log.read_text(errors="replace")
        frames = len(re.findall(r'^\s*File "', text, re.M))
        files = sorted(p.name for p in work.glob("*.pth*"))
        F.kill_session(pid)
        resumed = F.wait(F.start("train.py", config, "--work-dir", work, "--resume", log=home / "resumed.log"))
        differs = F.compare_runs(straight, work) if resumed == 0 else ["resume failed"]
        line = f"{label}: exit {code} in {took:.1f} s at iteration {reached}, {frames} traceback frames, files {files}, orphans {len(orphans)}, differs {differs}, last words: {text.strip().splitlines()[-1][:150] if text.strip() else ''}"
        print(line, file=sys.stderr, flush=True)
        lines.append(line)
        if differs or orphans or code is None or any(f.endswith(".tmp") for f in files):
            failed.append(label)
        elif frames > 10:
            failed.append(f"{label} ({frames} frames of traceback)")
    print(f"interrupts: {len(cases)} signals, {len(cases) - len(failed)} as expected; {'FAILED: ' + '; '.join(failed) if failed else 'ok'}")
    shutil.rmtree(home, ignore_errors=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
