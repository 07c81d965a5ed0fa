# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Kill -9 in each validation, right after the checkpoint before it: does the resumed run choose the same best one?

python kill_in_validation.py [METHOD ...]     # s4gan mlmt; project root = current directory
One line on stdout; exit code 1 if files, best score or validation records differ from an undisturbed run.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _fork as F


def main() -> int:
    methods = sys.argv[1:] or ["s4gan", "mlmt"]
    F.warm_up()
    home = F.scratch("killval")
    data = F.make_data(home / "data")
    bad, done = [], 0
    for method in methods:
        config = F.tiny_config(method, data, home / f"{method}.py")

        def start(work, log, *arguments):
            options = ["--cfg-options", f"val_evaluator.out_file={work}/scores.npz"] if method == "mlmt" else []
            return F.start("train.py", config, "--work-dir", work, *arguments, *options, log=home / log)

        straight = home / f"{method}_straight"
        if F.wait(start(straight, "straight.log")) != 0:
            print(f"kill_in_validation: the undisturbed run of {method} failed, see {home}")
            return 1
        for iteration in (5, 10, 15, 20):
            done += 1
            work = home / f"{method}_{iteration}"
            pid = start(work, "killed.log")
            pointer = work / "last_checkpoint"
            while not (pointer.exists() and pointer.read_text().endswith(f"iter_{iteration}.pth")):
                time.sleep(0.005)
            os.kill(pid, signal.SIGKILL)
            code = F.wait(pid, 30)
            code2 = F.wait(start(work, "resumed.log", "--resume"))
            differs = F.compare_runs(straight, work) if code2 == 0 else ["resume failed"]
            differs = [d for d in differs if "runtime_info.iter: " not in d]
            best = [d for d in differs if d.startswith("files") or "best_" in d.split(":")[0].split(".")[-1]]
            print(f"{method} killed in the validation of iteration {iteration} ({code}): {len(differs)} differences, of files and best checkpoint: {best}", file=sys.stderr, flush=True)
            if differs:
                bad.append(f"{method} {iteration}{' (another best checkpoint or files)' if best else ' (records)'}")
    print(f"kill_in_validation: {done} kills, {done - len(bad)} as undisturbed; {'FAILED: ' + '; '.join(bad) if bad else 'ok'}")
    shutil.rmtree(home, ignore_errors=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
