# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Full disk, file-size limit, read-only folder, damaged pointer or checkpoint, checkpoint of another run.

python disk.py [PATTERN]     # cases whose name contains PATTERN; project root = current directory
Needs root for the tmpfs cases (skipped otherwise). One line a case on stderr, one in all on stdout.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _fork as F


class Mounted:
    def __init__(self, path, size):
        self.path, self.size = path, size

    def __enter__(self):
        self.path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.path], check=True)
        return self

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True)

    def __exit__(self, *_):
        for _ in range(50):
            if subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.2)


def summary(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    frames = len(re.findall(r'^\s*File "', text, re.M))
    return f"{frames} frames; {lines[-1][:260] if lines else ''}"


def main() -> int:
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    F.warm_up()
    import torch
    from mmsemi.compat import load_checkpoint_file

    home = F.scratch("disk")
    data = F.make_data(home / "data")
    config = F.tiny_config("mean_teacher", data, home / "mt.py", iters=10)
    supervised = F.tiny_config("supervised", data, home / "supervised.py", iters=10)
    bad, done = [], 0

    def run(name, *arguments, cfg=config, before=None, tool="train.py", timeout=240):
        log = home / f"{re.sub('[^A-Za-z0-9]+', '_', name)}.log"
        code = F.wait(F.start(tool, cfg, *arguments, log=log, before=before), timeout)
        return code, log.read_text(errors="replace")

    def case(name, ok, text):
        nonlocal done
        done += 1
        print(f"{'ok ' if ok else 'BAD'} {name}: {text}", file=sys.stderr, flush=True)
        if not ok:
            bad.append(name)

    def wanted(name):
        return pattern in name

    straight = home / "straight"
    code, text = run("straight", "--work-dir", straight)
    if code != 0:
        print(f"disk: the undisturbed run failed: {summary(text)}")
        return 1
    size = (straight / "iter_5.pth").stat().st_size

    # -- no space ----------------------------------------------------------------------------------
    def full(name, space, arguments=(), fill=None, free=0):
        if not wanted(name):
            return
        with Mounted(home / "mnt", space) as disk:
            work = disk.path / "work"
            if fill:
                fill(disk.path, work)
            code, text = run(name, "--work-dir", work, *arguments)
            files = sorted(p.name for p in work.glob("*.pth*")) if work.exists() else []
            pointer = (work / "last_checkpoint").read_text() if (work / "last_checkpoint").exists() else None
            disk.resize("64m")
            again, text2 = run(name + " again", "--work-dir", work, "--resume")
            differs = F.compare_runs(straight, work, 10) if again == 0 else [summary(text2)]
            clear = "space" in text and ("train.py: error:" in text)
            whole = not any(f.endswith(".tmp") for f in files) and (pointer is None or (work / pointer).exists())
            differs = [d for d in differs if "message_hub" not in d and "curves" not in d and "best" not in d]
            case(name, code not in (0, None) and clear and whole and not differs, f"exit {code}, {summary(text)}; files {files}, resumed with differences {differs[:4]}")

    if os.geteuid() == 0:
        full("disk full at the first checkpoint", f"{size // 2}")
        full("disk full at the second checkpoint", f"{int(size * 2.3)}")

        def filler(name, left):
            """Fills the disk at an iteration, from a hook in the run."""
            return ("--cfg-options", f"custom_hooks.0.type=FillDisk", f"custom_hooks.0.left={left}")

        (home / "fill_disk.py").write_text(
            "import os\nfrom mmengine.hooks import Hook\nfrom mmseg.registry import HOOKS\n"
            "@HOOKS.register_module()\nclass FillDisk(Hook):\n"
            "    def __init__(self, at=2, left=0): self.at, self.left = at, left\n"
            "    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):\n"
            "        if runner.iter + 1 == self.at and runner.max_iters == 10 and not os.path.exists(runner.work_dir + '/../filled'):\n"
            "            stat = os.statvfs(runner.work_dir)\n"
            "            free = stat.f_bavail * stat.f_frsize\n"
            "            open(runner.work_dir + '/../filled', 'wb').write(b'0' * max(0, free - self.left))\n"
        )
        sys.path.insert(0, str(home))
        from mmengine.config import Config

        for name, extra in {
            "disk full for TensorBoard, scalars and log": {},
            "disk full for a picture": dict(custom_hooks=[dict(type="PseudoLabelVisHook", interval=3)]),
        }.items():
            cfg = Config.fromfile(config)
            cfg.custom_hooks = [dict(type="FillDisk", at=2, left=0), *extra.get("custom_hooks", [])]
            cfg.custom_imports = dict(imports=["mmsemi", "fill_disk"], allow_failed_imports=False)
            path = home / f"{len(extra)}fill.py"
            cfg.dump(path)
            if wanted(name):
                with Mounted(home / "mnt", "16m") as disk:
                    work = disk.path / "work"
                    code, text = run(name, "--work-dir", work, cfg=path)
                    files = sorted(p.name for p in work.glob("*.pth*"))
                    pictures = {p.name: p.stat().st_size for p in work.glob("*/vis_data/pseudo_labels/*")}
                    (disk.path / "filled").write_bytes(b"")
                    again, text2 = run(name + " again", "--work-dir", work, "--resume", cfg=path)
                    differs = F.compare_runs(straight, work, 10) if again == 0 else [summary(text2)]
                    differs = [d for d in differs if "message_hub" not in d and "curves" not in d]
                    clear = "space" in text and "train.py: error:" in text
                    case(name, code not in (0, None) and clear and not differs, f"exit {code}, {summary(text)}; files {files} {pictures}; resumed: differences {differs[:4]}")

    # -- file size limit ---------------------------------------------------------------------------
    name = "RLIMIT_FSIZE below a checkpoint"
    if wanted(name):
        work = home / "limit"

        def limit():
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

        code, text = run(name, "--work-dir", work, before=limit)
        files = sorted(p.name for p in work.glob("*.pth*"))
        again, text2 = run(name + " again", "--work-dir", work, "--resume")
        differs = F.compare_runs(straight, work, 10) if again == 0 else [summary(text2)]
        case(name, code not in (0, None) and "train.py: error:" in text and not files and not differs, f"exit {code}, {summary(text)}; files {files}; {differs[:3]}")

    # -- result files and score tables ----------------------------------------------------------------
    checkpoint = straight / "iter_10.pth"
    if os.geteuid() == 0:
        for name, option in {
            "disk full for result files": ("test_evaluator.type=ResultFiles", "test_evaluator.out_dir={}/results"),
        }.items():
            if wanted(name):
                with Mounted(home / "mnt", "8k") as disk:
                    options = [o.format(disk.path) for o in option]
                    code, text = run(name, checkpoint, "--work-dir", home / "test", "--cfg-options", *options, tool="test.py")
                    left = sorted(str(p.relative_to(disk.path)) for p in disk.path.rglob("*"))
                    disk.resize("8m")
                    again, text2 = run(name, checkpoint, "--work-dir", home / "test", "--cfg-options", *options, tool="test.py")
                    after = sorted(str(p.relative_to(disk.path)) for p in disk.path.rglob("*"))
                    case(name, code not in (0, None) and "space" in text and "test.py: error" in text and again == 0 and "results/result.txt" in after, f"exit {code}, {summary(text)}; left {left}; then {again} {after}")
        name = "read-only work dir"
        if wanted(name):
            with Mounted(home / "mnt", "8m") as disk:
                (disk.path / "work").mkdir()
                subprocess.run(["mount", "-o", "remount,ro", disk.path], check=True)
                code, text = run(name, "--work-dir", disk.path / "work")
                case(name, code not in (0, None) and "Read-only" in text and summary(text).startswith("0 frames"), f"exit {code}, {summary(text)}")
        name = "export to a full disk"
        if wanted(name):
            with Mounted(home / "mnt", "64k") as disk:
                log = home / "export.log"
                code = F.wait(F.start("export_segmentor.py", checkpoint, disk.path / "out", log=log), 100)
                text = log.read_text()
                left = sorted(str(p.relative_to(disk.path)) for p in disk.path.rglob("*"))
                case(name, code == 2 and "space" in text and summary(text).startswith("0 frames") and not [x for x in left if "." in x], f"exit {code}, {summary(text)}; left {left}")

    name = "work dir is a file"
    if wanted(name):
        (home / "plainfile").write_text("x")
        code, text = run(name, "--work-dir", home / "plainfile")
        case(name, code not in (0, None) and summary(text).startswith("0 frames"), f"exit {code}, {summary(text)}")

    # -- the pointer -------------------------------------------------------------------------------
    good = checkpoint.read_bytes()
    pointers = {
        "missing file": "/nowhere/iter_5.pth", "empty pointer": "", "garbage pointer": "\x00\xff\n", "a folder": str(straight),
        "pointer with newline": str(straight / "iter_5.pth") + "\n", "relative name": "iter_5.pth", "no pointer": None,
    }
    for label, value in pointers.items():
        name = f"last_checkpoint: {label}"
        if wanted(name):
            work = home / "pointer"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            shutil.copy(straight / "iter_5.pth", work)
            if value is not None:
                (work / "last_checkpoint").write_text(value)
            code, text = run(name, "--work-dir", work, "--resume")
            resumed = re.search(r"resumed epoch: \d+, iter: (\d+)", text)
            case(name, bool(resumed) or (code not in (0, None) and summary(text).startswith("0 frames")), f"exit {code}, resumed at {resumed and resumed[1]}, {summary(text)}")
    contents = {
        "zero bytes": b"", "one byte": b"P", "half": good[: len(good) // 2], "all but 100 bytes": good[:-100], "garbage": os.urandom(5000), "text": b"hello\n" * 100,
        "html page": b"<!DOCTYPE html><html>404</html>", "empty zip": b"PK\x05\x06" + b"\0" * 18,
    }
    import random

    rng = random.Random(0)
    for i in range(6):
        flipped = bytearray(good)
        for _ in range(1 if i < 3 else 200):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        contents[f"flipped bits {i}"] = bytes(flipped)
    head = bytearray(good)
    head[40] ^= 255
    contents["flipped in the pickle"] = bytes(head)
    for label, content in contents.items():
        name = f"newest checkpoint: {label}"
        if wanted(name):
            work = home / "damaged"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            shutil.copy(straight / "iter_5.pth", work)
            (work / "iter_7.pth").write_bytes(content)
            (work / "last_checkpoint").write_text(str(work / "iter_7.pth"))
            code, text = run(name, "--work-dir", work, "--resume")
            names_other = "iter_5" in text.split("Checkpoints will")[-1] if code else False
            ok = code == 2 and "error:" in text and "iter_7.pth" in text and summary(text).startswith("0 frames")
            if label.startswith("flipped bits"):
                quiet = code == 0
                case(name, ok, f"exit {code}{' (a damaged checkpoint was used without a word)' if quiet else ''}, {summary(text)}")
            else:
                case(name, ok, f"exit {code}, {summary(text)}, names another checkpoint: {names_other}")

    # -- checkpoints of something else ---------------------------------------------------------------
    def other(label, path, ok, *arguments, cfg=config):
        name = f"other checkpoint: {label}"
        if wanted(name):
            work = home / "other"
            shutil.rmtree(work, ignore_errors=True)
            code, text = run(name, "--work-dir", work, "--resume", "--cfg-options", f"load_from={path}", *arguments, cfg=cfg)
            words = [line[:200] for line in text.splitlines() if "WARNING" in line and "deprecated" not in line and "alias" not in line and "prefix is not set" not in line]
            case(name, ok(code, text), f"exit {code}, {summary(text)}; warnings {words[-4:]}")

    if wanted("other checkpoint"):
        sup_work = home / "sup"
        run("supervised", "--work-dir", sup_work, cfg=supervised)
        clear = lambda code, text: code == 2 and "error:" in text and summary(text).startswith("0 frames")
        warned = lambda code, text: clear(code, text) or (code == 0 and "WARNING" in text)
        other("of supervised, resumed by mean teacher", sup_work / "iter_5.pth", clear)
        content = load_checkpoint_file(str(straight / "iter_5.pth"))
        wide = F.tiny_config("mean_teacher", data, home / "wide.py", iters=10, **{"model.segmentor.backbone.base_channels": 4, "model.segmentor.decode_head.in_channels": [4, 16]})
        other("narrower net", straight / "iter_5.pth", clear, cfg=wide)
        classes = F.tiny_config("mean_teacher", data, home / "classes.py", iters=10, **{"model.segmentor.decode_head.num_classes": 7, "model.segmentor.decode_head.channels": 12})
        other("another head", straight / "iter_5.pth", clear, cfg=classes)
        future = {**content, "meta": {**content["meta"], "mmengine_version": "9.0.0", "mmsemi_version": "9.0"}, "new_thing": {"a": 1}, "random_states": {"version": 9}}
        torch.save(future, home / "future.pth")
        other("of a future version (random_states of another form)", home / "future.pth", clear)
        for key in ("optimizer", "message_hub", "param_schedulers", "random_states", "meta", "state_dict"):
            torch.save({k: v for k, v in content.items() if k != key}, home / f"no_{key}.pth")
            other(f"without {key}", home / f"no_{key}.pth", warned)
        torch.save({**content, "meta": {**content["meta"], "iter": 99}}, home / "late.pth")
        other("iteration beyond max_iters", home / "late.pth", lambda c, t: c is not None)
        torch.save({**content, "state_dict": {k: (v.float() * float("nan") if v.is_floating_point() else v) for k, v in content["state_dict"].items()}}, home / "nan.pth")
        other("NaN weights", home / "nan.pth", clear)
        partial = dict(list(content["state_dict"].items())[: len(content["state_dict"]) // 2])
        torch.save({**content, "state_dict": partial}, home / "partial.pth")
        other("half of the weights missing", home / "partial.pth", clear)

    print(f"disk: {done} cases, {done - len(bad)} as expected; {'FAILED: ' + '; '.join(bad) if bad else 'ok'}")
    if not os.environ.get("KEEP"):
        shutil.rmtree(home, ignore_errors=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
