# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Bad numbers, bad files and lost workers during a run: one clear message, soon, and no bad checkpoint.

python bad_data.py [PATTERN]     # project root = current directory
"""

import ctypes
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _fork as F


def summary(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    frames = len(re.findall(r'^\s*File "', text, re.M))
    return f"{frames} frames; {lines[-1][:260] if lines else ''}"


def drop_root_reading():
    """Root without the right to read what its mode forbids (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.syscall(125, header, sets) == 0  # capget
    for i in (0, 1):  # effective, permitted of the low word
        sets[i] &= ~((1 << 1) | (1 << 2))
    assert libc.syscall(126, header, sets) == 0  # capset


def main() -> int:
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    F.warm_up()
    import cv2
    import numpy as np
    from mmengine.config import Config
    from PIL import Image

    home = F.scratch("bad")
    data = F.make_data(home / "data")
    sys.path.insert(0, str(home))
    (home / "faulty.py").write_text(
        "import numpy as np\nfrom mmcv.transforms import BaseTransform\nfrom mmseg.registry import TRANSFORMS, HOOKS\n"
        "from mmengine.hooks import Hook\nimport os, shutil\n"
        "@TRANSFORMS.register_module()\nclass ToNaN(BaseTransform):\n"
        "    def __init__(self, match='', value='nan'): self.match, self.value = match, float(value)\n"
        "    def transform(self, results):\n"
        "        results['img'] = results['img'].astype(np.float32)\n"
        "        if self.match in results['img_path']: results['img'][::5, ::5] = self.value\n"
        "        return results\n"
        "@HOOKS.register_module()\nclass At(Hook):\n"
        "    def __init__(self, at, code): self.at, self.code = at, code\n"
        "    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):\n"
        "        if runner.iter + 1 == self.at: exec(self.code, dict(runner=runner, os=os, shutil=shutil))\n"
    )
    imports = dict(imports=["mmsemi", "faulty"], allow_failed_imports=False)
    bad, done = [], 0

    def case(name, method="mean_teacher", expect=r"", change=None, before=None, during=None, exits=True, iters=10, timeout=150, frames_allowed=0, **options):
        nonlocal done
        if pattern not in name:
            return
        done += 1
        work, log = home / "work", home / "log"
        shutil.rmtree(work, ignore_errors=True)
        folder = home / "images"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(data / "JPEGImages", folder)
        for path in folder.glob("val_*"):
            path.unlink()
        own = home / "own"
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(data, own)
        path = F.tiny_config(method, own, home / "c.py", iters=iters, custom_imports=imports, **options)
        config = Config.fromfile(path)
        if change:
            change(config, folder, own)
            config.dump(path)
        began = time.time()
        pid = F.start("train.py", path, "--work-dir", work, log=log, before=before)
        note = during(pid, work, folder) if during else None
        code = F.wait(pid, timeout)
        took = time.time() - began
        text = log.read_text(errors="replace")
        orphans = len(F.session_members(pid))
        F.kill_session(pid)
        files = sorted(p.name for p in work.glob("*.pth*"))
        found = re.search(expect, text, re.S) is not None
        ok = found and code is not None and (code != 0) == exits
        frames = int(summary(text).split()[0])
        if exits and frames > frames_allowed:
            ok = False
        print(f"{'ok ' if ok else 'BAD'} {name}: exit {code} after {took:.0f} s{f' ({note})' if note else ''}, {'' if found else 'MESSAGE MISSING, '}{summary(text)}; files {files}{f', {orphans} processes left' if orphans else ''}", file=sys.stderr, flush=True)
        if not ok:
            bad.append(name)

    def nan_in(match, value="nan"):
        def change(config, folder, own):
            for part in ("labeled", "unlabeled"):
                pipeline = config.train_dataloader.dataset[part].get("pipeline")
                if pipeline is None:  # derived from the labelled one
                    continue
                position = next(i for i, t in enumerate(pipeline) if t.type == "LoadImageFromFile")
                pipeline.insert(position + 1, dict(type="ToNaN", match=match, value=value))
        return change

    def masks(value):
        def change(config, folder, own):
            for path in (own / "SegmentationClass").glob("train_*.png"):
                mask = np.array(Image.open(path))
                if value == 255:
                    mask[:] = 255
                else:
                    mask[0:40, 0:40] = value
                Image.fromarray(mask).save(path)
        return change

    def folder_set(config, folder, own):
        config.train_dataloader.dataset.unlabeled.pool = None
        config.train_dataloader.dataset.unlabeled.img_dir = str(folder)

    def with_code(code, at=3):
        def change(config, folder, own):
            folder_set(config, folder, own)
            config.custom_hooks = [dict(type="At", at=at, code=code.replace("FOLDER", repr(str(folder))))]
        return change

    invalid = r"error: invalid loss at iteration \d+.*images of the batch"
    case("NaN in one labelled and unlabelled image", expect=invalid, change=nan_in("train_"))
    case("infinity in an image", expect=invalid, change=nan_in("train_", "inf"))
    case("NaN in an image, s4gan", "s4gan", expect=invalid, change=nan_in("train_"))
    case("learning rate 1e30", expect=r"error: (invalid loss|the weights)", **{"optim_wrapper.optimizer.lr": 1e30})
    case("learning rate 1e30, advsemiseg", "advsemiseg", expect=r"error: (invalid loss|the weights)", **{"optim_wrapper.optimizer.lr": 1e30})
    # Here and for the workers the original waits for the stock message, which is now a line of ours.
    cpu_only = r"train\.py: error: --amp .*needs a GPU"  # overflow needs a GPU to try
    case("bf16 on the CPU", expect=cpu_only, frames_allowed=20, **{"optim_wrapper.type": "AmpOptimWrapper", "optim_wrapper.dtype": "bfloat16"})
    case("fp16 with loss scale 2**40", expect=cpu_only, frames_allowed=20, **{"optim_wrapper.type": "AmpOptimWrapper", "optim_wrapper.dtype": "float16", "optim_wrapper.loss_scale": 2.0**40})
    for method in ("mean_teacher", "cps", "unimatch", "s4gan", "advsemiseg", "mlmt"):
        case(f"all labels ignored, {method}", method, expect=r"Saving checkpoint at 10|error: ", exits=False, change=masks(255))
    case("labels out of range, two workers", expect=r"error: labeled image '.*' cannot be used: mask '.*' has the value 99", change=masks(99))
    case("labels out of range, no workers", expect=r"error: labeled image '.*' cannot be used: mask '.*' has the value 99", change=masks(99), **{"train_dataloader.num_workers": 0, "train_dataloader.persistent_workers": False})

    def empty(config, folder, own):
        folder_set(config, folder, own)
        shutil.rmtree(folder)
        folder.mkdir()

    case("empty unlabelled folder", expect=r"error: the folder of unlabelled images '.*' holds no image", change=empty)
    case("unlabelled folder disappears in the run", expect=r"error: unlabeled image '.*' does not exist", change=with_code("shutil.rmtree(FOLDER)"))
    truncate = "[open(os.path.join(FOLDER, n), 'r+b').truncate(200) for n in os.listdir(FOLDER)]"
    case("images truncated in the run", expect=r"error: unlabeled image '.*' cannot be used", change=with_code(truncate))
    zero = "[open(os.path.join(FOLDER, n), 'wb').close() for n in os.listdir(FOLDER)]"
    case("images emptied in the run", expect=r"error: unlabeled image '.*' cannot be used", change=with_code(zero))
    garbage = "[open(os.path.join(FOLDER, n), 'wb').write(os.urandom(4000)) for n in os.listdir(FOLDER)]"
    case("images become garbage in the run, 3 may be unreadable", expect=r"error: unlabeled image '.*' cannot be used.*max_unreadable allows 3", change=with_code(garbage), **{"train_dataloader.dataset.max_unreadable": 3})
    half = "[open(os.path.join(FOLDER, n), 'r+b').truncate(os.path.getsize(os.path.join(FOLDER, n)) // 2) for n in os.listdir(FOLDER)]"
    case("JPEGs lose their second half in the run", expect=r"cannot be used|truncated", change=with_code(half))
    if os.geteuid() == 0:

        def forbid(config, folder, own):
            folder_set(config, folder, own)
            for path in folder.glob("*"):
                path.chmod(0)

        case("images that may not be read", expect=r"error: unlabeled image '.*' cannot be used: .*Permission", change=forbid, before=drop_root_reading)

        def forbid_folder(config, folder, own):
            folder_set(config, folder, own)
            folder.chmod(0)

        case("folder that may not be read", expect=r"error: .*(Permission|may not be read|cannot be read)", change=forbid_folder, before=drop_root_reading)
        if (home / "images").exists():
            (home / "images").chmod(0o755)

    def kill_worker(number, which):
        def during(pid, work, folder):
            end = time.time() + 100
            while F.last_iter(work) < 6 and time.time() < end:
                time.sleep(0.05)
            children = sorted(p for p in F.session_members(pid) if p != pid)
            victims = children[:1] if which == "train" else children[-1:] if which == "val" else children
            for victim in victims:
                try:
                    os.kill(victim, number)
                except ProcessLookupError:
                    pass
            began = time.time()
            while time.time() - began < 60 and Path(f"/proc/{pid}/stat").exists() and ") Z" not in Path(f"/proc/{pid}/stat").read_text():
                time.sleep(0.1)
            return f"{len(victims)} of {len(children)} workers killed, over {time.time() - began:.1f} s later"
        return during

    worker = r"train\.py: error: a loader worker was ended.*num_workers"
    case("worker killed (as by the OOM killer)", expect=worker, frames_allowed=60, during=kill_worker(signal.SIGKILL, "train"), iters=20)
    case("all workers killed", expect=worker, frames_allowed=60, during=kill_worker(signal.SIGKILL, "all"), iters=20)
    case("worker crashes (SIGSEGV)", expect=worker, frames_allowed=60, during=kill_worker(signal.SIGSEGV, "train"), iters=20)


    print(f"bad_data: {done} cases, {done - len(bad)} as expected; {'FAILED: ' + '; '.join(bad) if bad else 'ok'}")
    if not os.environ.get("KEEP"):
        shutil.rmtree(home, ignore_errors=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
