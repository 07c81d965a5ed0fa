#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Record 50 training steps of every method bit for bit, or compare two recordings.

python tests/recordings/record_steps.py --out FILE [--methods cps fixmatch] [--start DIR]
python tests/recordings/record_steps.py --compare A.json B.json

A recording is proof on the machine that made it: another CPU rounds otherwise. There, record the
commit before a change, then the commit after it, both with the same ``--start`` folder, and compare.

What is recorded of a run: every logged number of every step, every learning rate, and every 10 steps
a hash of each network's parameters and of its buffers. Networks start from weights that the script
makes, not the model, and torch is seeded before the first step, so that neither the order in which a
model builds its parts nor what happens before the first step matters.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mmseg.registry import MODELS  # noqa: E402

STEPS = 50
HASH_EVERY = 10
# Each built-in config, and settings of the method (in their new names) that it does not use.
RUNS: dict[str, dict[str, Any]] = {
    "supervised/shapes_1-8": {},
    "mean_teacher/shapes_1-8": {},
    "mean_teacher/shapes_1-8 as released": dict(
        strong=None,
        rampup_iters=0,
        consistency_on_labeled=True,
        ignore_padding=True,
        confidence_threshold=0.3,
        confidence_mode="pixel",
    ),
    "mean_teacher/shapes_1-8 mixed": dict(mix=dict(type="CutMix"), rampup_iters=0),
    "cutmix_mean_teacher/shapes_1-8": {},
    "cutmix_mean_teacher/shapes_1-8 averaged between": dict(
        teacher_mode="train", buffers="keep", ema_when="mid", rampup_iters=0, ignore_padding=True
    ),
    "fixmatch/shapes_1-8": {},
    "fixmatch/shapes_1-8 two views": dict(
        num_views=2, threshold=0.3, rampup_iters=0, labeled_forward="strong", buffers="copy"
    ),
    "fixmatch/shapes_1-8 without teacher": dict(
        labels_from="student",
        threshold=0.3,
        rampup_iters=0,
        labeled_forward="weak",
        pasted_mode="train",
        momentum=0.004,  # the default: the built-in config's is for a teacher, and now refused
    ),
    "fixmatch/shapes_1-8 unmixed": dict(mix=None, threshold=0.3, rampup_iters=0, ema_warmup=False),
    "unimatch/shapes_1-8": {},
    "unimatch/shapes_1-8 as released": dict(
        threshold=0.3, rampup_iters=0, labeled_forward="weak", pasted_mode="train"
    ),
    "unimatch/shapes_1-8 one decoder pass": dict(threshold=0.3, rampup_iters=0, joint_decoder=True),
    # Recorded before the config had strong views.
    "cps/shapes_1-8": dict(strong=None),
    "cps/shapes_1-8 one forward": dict(
        strong=None, joint_forward=True, rampup_iters=0, ignore_padding=True
    ),
    "cps/shapes_1-8 unmixed": dict(strong=None, mix=None, unsup_weight=1.5, rampup_iters=0),
    "cps/shapes_1-8 unmixed, padding ignored": dict(
        strong=None, mix=None, rampup_iters=0, ignore_padding=True
    ),
    "advsemiseg/shapes_1-8": {},
    "advsemiseg/shapes_1-8 from the start": dict(unsup_start=0, threshold=0.5),
    "advsemiseg/shapes_1-8 unjudged": dict(
        unsup_start=0, threshold=0.5, judge_unlabeled=False, ignore_padding=False
    ),
    "advsemiseg/shapes_1-8_adversarial": {},
    "s4gan/shapes_1-8": {},
    "s4gan/shapes_1-8 all selected": dict(threshold=0.0, ignore_padding=False),
    "s4gan/shapes_1-8 scored in eval mode": dict(threshold=0.5, score_mode="eval"),
    "mlmt/shapes_1-8": {},
    "mlmt/shapes_1-8 from the start": dict(start_epoch=0, teacher_mode="eval", buffers="copy"),
}
# Which start weights each network gets; the number is also the seed that makes them.
STARTS = {"student": 0, "teacher": 0, "branches.0": 0, "branches.1": 1, "discriminator": 2}


# --- What depends on the form of the code: adapt these when it changes ------------------------------


def find_networks(model: nn.Module) -> dict[str, nn.Module]:
    """The networks of a method by the names of :data:`STARTS`, without anything around them."""
    teacher = getattr(model, "teacher", None)
    found = {
        "student": getattr(model, "student", None),
        "teacher": getattr(teacher, "module", teacher),
        "discriminator": getattr(model, "discriminator", None),
    }
    for number, branch in enumerate(getattr(model, "branches", None) or ()):
        found[f"branches.{number}"] = branch
    return {name: found[name] for name in STARTS if found.get(name) is not None}


def network_config(config: dict, name: str, network: nn.Module) -> dict:
    """The config from which a network alone can be built."""
    if name == "discriminator":
        return {"in_channels": network.in_channels, **config["discriminator"]}
    if "classifier" in config:
        return {"_scope_": "mmpretrain", **config["classifier"]}
    second = config.get("segmentor2") if name == "branches.1" else None
    return second or config["segmentor"]


def set_options(config: dict, options: dict[str, Any]) -> None:
    """Set settings of the method in a model's config, wherever the code reads them."""
    if (ROOT / "mmsemi" / "structures.py").is_file():
        config.update(options)
        return
    old = {"pasted_mode": "partner_mode", "num_views": "num_student_views"}
    for key, value in options.items():
        room = "data_preprocessor" if key in ("strong", "mix", "num_views") else "semi_train_cfg"
        config[room] = {**config.get(room, {}), old.get(key, key): value}


# --- Recording --------------------------------------------------------------------------------------


def make_start(config: dict, seed: int) -> dict[str, Tensor]:
    """Weights of a network that is built and initialised alone."""
    torch.manual_seed(seed)
    network = MODELS.build(copy.deepcopy(config))
    network.init_weights()
    return network.state_dict()


def hash_tensors(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names, types, shapes and bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


class RecordHook(Hook):
    """Give the networks their start weights, and note what the run does.

    Args:
        model_config: The model's config.
        start_dir: Start weights are read from there, and written where they are missing.
    """

    def __init__(self, model_config: dict, start_dir: Path | None) -> None:
        self.model_config = model_config
        self.start_dir = start_dir
        self.log: dict[str, list[str | None]] = {}
        self.rates: dict[str, list[list[str]]] = {}
        self.hashes: dict[str, dict] = {}

    def before_train(self, runner: Runner) -> None:
        """Load the start weights: after the model's own initialisation."""
        for name, network in find_networks(runner.model).items():
            path = self.start_dir and self.start_dir / f"{STARTS[name]}.pth"
            if path and path.is_file():
                weights = torch.load(path, weights_only=True)
            else:
                config = network_config(self.model_config, name, network)
                weights = make_start(config, STARTS[name])
                if path:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    torch.save(weights, path)
            network.load_state_dict(weights)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed before the first step, and note the learning rates of each."""
        if runner.iter == 0:
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
        wrapper = runner.optim_wrapper
        members = dict(wrapper.items()) if hasattr(wrapper, "items") else {"all": wrapper}
        for name, member in members.items():
            values = {group["lr"] for group in member.optimizer.param_groups}
            rates = [float(value).hex() for value in sorted(values)]
            self.rates.setdefault(name, []).append(rates)

    def after_step(self, runner: Runner, outputs: dict[str, Any]) -> None:
        """Note the step's numbers, and hash the networks if it is time."""
        step = runner.iter + 1
        for name, value in outputs.items():
            series = self.log.setdefault(name, [None] * STEPS)
            series[step - 1] = float(value).hex()
        if step % HASH_EVERY == 0:
            self.hashes[str(step)] = {
                name: {
                    "parameters": hash_tensors(network.named_parameters()),
                    "buffers": hash_tensors(network.named_buffers()),
                }
                for name, network in find_networks(runner.model).items()
            }
        runner.train_loop.stop_training = step >= STEPS


class AfterStepHook(Hook):
    """Call the recorder once the hooks that change weights are done with a step."""

    def __init__(self, recorder: RecordHook) -> None:
        self.recorder = recorder

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.recorder.after_step(runner, outputs or {})


def record(name: str, start_dir: Path | None) -> dict:
    """Train one config for :data:`STEPS` steps of its full schedule, and return what happened."""
    config = Config.fromfile(ROOT / "configs" / f"{name.split(' ')[0]}.py")
    set_options(config.model, RUNS[name])
    config.train_dataloader.update(num_workers=0, persistent_workers=False)
    for stage in ("val", "test"):
        for key in ("cfg", "dataloader", "evaluator"):
            config[f"{stage}_{key}"] = None
    config.default_hooks.pop("visualization", None)
    config.default_hooks.update(checkpoint=None, logger=None)
    config.visualizer.vis_backends = []
    config.log_level = "ERROR"
    # mmengine keeps one message hub for each name, with the iteration in it.
    config.experiment_name = name
    with tempfile.TemporaryDirectory() as work_dir:
        config.work_dir = work_dir
        runner = Runner.from_cfg(config)
        recorder = RecordHook(config.model, start_dir and start_dir / name.split("/")[0])
        runner.register_hook(recorder, "HIGHEST")
        runner.register_hook(AfterStepHook(recorder), "LOWEST")
        runner.train()
    return {"log": recorder.log, "learning_rates": recorder.rates, "hashes": recorder.hashes}


# --- Comparing --------------------------------------------------------------------------------------


def find_difference(a: dict, b: dict) -> str | None:
    """The first difference of two runs in the order of their steps, or None."""
    if a["log"].keys() != b["log"].keys():
        return f"logged names differ: {sorted(a['log'].keys() ^ b['log'].keys())}"
    if a["learning_rates"].keys() != b["learning_rates"].keys():
        return f"optimisers differ: {list(a['learning_rates'])}, {list(b['learning_rates'])}"
    for step in range(STEPS):
        for key in ("learning_rates", "log"):
            for name in a[key]:
                first, second = a[key][name][step], b[key][name][step]
                if first != second:
                    return f"step {step + 1}, {key} {name}: {_readable(first)}, {_readable(second)}"
        first, second = a["hashes"].get(str(step + 1)), b["hashes"].get(str(step + 1))
        if first != second:
            if first.keys() != second.keys():
                return f"networks differ: {list(first)}, {list(second)}"
            differing = [
                f"{kind} of {name}"
                for name in first
                for kind in first[name]
                if first[name][kind] != second[name][kind]
            ]
            return f"step {step + 1}: {', '.join(differing)}"
    return None


def _readable(value: str | list[str] | None) -> str:
    if isinstance(value, list):
        return str([float.fromhex(one) for one in value])
    return "nothing" if value is None else f"{float.fromhex(value)!r}"


def compare(path_a: Path, path_b: Path) -> int:
    """Print for each run whether it is equal; 1 if any is not, or is in one file only."""
    a, b = (json.loads(path.read_text()) for path in (path_a, path_b))
    if a["environment"] != b["environment"]:
        print(f"note: recorded in {a['environment']} and in {b['environment']}")
    differs = 0
    for name in sorted(a["runs"].keys() | b["runs"].keys()):
        if name in a["runs"] and name in b["runs"]:
            difference = find_difference(a["runs"][name], b["runs"][name])
        else:
            difference = f"only in {path_a if name in a['runs'] else path_b}"
        print(f"{name}: {difference or 'equal'}")
        differs |= difference is not None
    return int(differs)


def write(path: Path, recording: dict) -> None:
    """JSON with a line for each series."""
    text = json.dumps(recording, indent=1, sort_keys=True)
    lines: list[str] = []
    depth = 0
    for line in text.splitlines():
        if depth:
            lines[-1] += line.strip()
        else:
            lines.append(line)
        depth += line.rstrip(",").endswith("[") - line.strip().rstrip(",").startswith("]")
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where the recording goes")
    parser.add_argument("--methods", nargs="+", help="folders in configs/; the default is all")
    parser.add_argument("--start", type=Path, help="folder of the start weights")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"))
    args = parser.parse_args()
    if args.compare:
        return compare(*args.compare)
    if not args.out:
        parser.error("give --out or --compare")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    environment = {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }
    runs = {}
    for name in RUNS:
        if not args.methods or name.split("/")[0] in args.methods:
            began = time.perf_counter()
            runs[name] = record(name, args.start)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    write(args.out, {"environment": environment, "runs": runs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
