# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi train``: mmseg's own ``tools/train.py``, and before it the supervised runs that are asked for.

Decisions:

- ``--from supervised`` and ``--baseline`` train the supervised twin of the config
  (:func:`~mmsemi.utils.supervised_twin.supervised_twin`) in folders of the work dir. All runs are trainings of
  this process, one after the other, so that a launcher of several processes starts all of them.
- CPS starts from two supervised networks, of two seeds: a second network with a new head labels for the first
  before it has learnt anything, which costs more than the method gains (docs/results/nuclei.md).
- A run of such a folder that has ended with the same settings is not repeated; ``--resume`` goes on with one
  that was broken off.
- Compared are the last validations of both runs, never the best ones.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import MODELS

from ..compat_checkpoints import find_last_checkpoint
from ..engine.diagnosis import rough_score
from ..errors import ConfigError, TrainingError, close_matches
from ..utils.command_line import with_arguments
from ..utils.config_files import (
    default_work_dir,
    find_config,
    parse_options,
    read_config,
    set_options,
)
from ..utils.files import write_beside
from ..utils.supervised_twin import supervised_twin
from ..visualization.report import result_table
from ..visualization.run_files import read_run
from ..visualization.run_report import PAGE
from .stock import check_checkpoint, run_stock_tool

_SUPERVISED = "supervised"
_SETTINGS = "settings.sha256"
#: Setting of a method whose second network has a start of its own.
_SECOND = "second_checkpoint"
#: Points of mIoU that one run of each cannot tell from chance.
CHANCE = 1.0

_HELP = """
mmsemi adds:
  --from CKPT           start every network (student and teacher, both of CPS) from the weights of a checkpoint,
                        all of them; CPS has two networks, which must differ: give --from twice, with
                        checkpoints of two seeds
  --from supervised     train the supervised twin first, in WORK_DIR/supervised, and start from it (CPS: two twins)
  --baseline            also train the supervised twin for as many steps, in WORK_DIR/baseline, from the same
                        start, and say for each class whether the unlabelled images helped
With --resume all of them go on where they were broken off."""


def parse_args(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our arguments, and those of the stock script."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--from", dest="starts", action="append", default=[])
    parser.add_argument("--baseline", action="store_true")
    return parser.parse_known_args(arguments)


def _stock_values(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of the stock script, all of which we read, too.

    Raises:
        ConfigError: There is another one.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("config")
    parser.add_argument("--work-dir")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[])
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--launcher", default="none")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = ["--from", "--baseline", *parser._option_string_actions]
        raise ConfigError(
            f"{unknown[0]} is no argument of mmsemi train{close_matches(unknown[0], known)} (mmsemi train --help)"
        )
    return args


class Stages:
    """The runs of a command line, in their order.

    Args:
        arguments: Of the stock script.
        starts: Values of ``--from``; a method of two networks takes one for each.
        baseline: Whether to compare with the supervised twin.

    Raises:
        ConfigError: The config has no supervised twin, sets ``load_from`` beside ``--from``, or has fewer
            networks than ``--from`` was given.
        CheckpointError: There is no such checkpoint.
    """

    def __init__(self, arguments: Sequence[str], starts: Sequence[str], baseline: bool) -> None:
        self.args = _stock_values(arguments)
        path = find_config(self.args.config)
        self.config = read_config(path, parse_options(self.args.cfg_options))
        self.work_dir = Path(
            self.args.work_dir or self.config.get("work_dir") or default_work_dir(path)
        )
        self.starts, self.has_baseline = list(starts), baseline
        self._check_starts()
        is_asked = baseline or self.starts == [_SUPERVISED]
        self.twin = supervised_twin(self.config) if is_asked else None
        self.evaluator = class_iou_options(self.config) if baseline else {}

    def _check_starts(self) -> None:
        """Refuse a ``--from`` that the model has no use for."""
        model, given = self.config.get("model") or {}, self.starts
        settings = getattr(MODELS.get(str(model.get("type")).split(".")[-1]), "Settings", None)
        #: Whether the second network has a start of its own.
        self.has_second = hasattr(settings, _SECOND)
        for name, place in dict(load_from=self.config, second_checkpoint=model).items():
            if given and place.get(name):
                raise ConfigError(
                    f"--from {given[0]} and {name}={place[name]!r}: both say where to start from, give one"
                )
        if len(given) > 1 and (_SUPERVISED in given or not self.has_second or len(given) > 2):
            raise ConfigError(
                f"--from {' --from '.join(given)}: it is given twice for the two networks of CPS, with a checkpoint "
                "for each, and once for any other model and for 'supervised'"
            )
        for path in given:
            if path != _SUPERVISED:
                check_checkpoint(path)

    def run(self) -> None:
        """Train, and compare."""
        starts, score = self.starts, None
        if starts == [_SUPERVISED]:
            starts = [self._train_twin(_SUPERVISED, self.twin)]
            score = self._scores(_SUPERVISED)
            if self.has_second:
                second = supervised_twin(self.config, second=True)
                starts.append(self._train_twin(f"{_SUPERVISED}_second", second))
        start = starts[0] if starts else None
        if self.has_baseline:
            self._train_twin("baseline", self.twin, start)
            score = self._scores("baseline")
        options: dict[str, Any] = dict(self.evaluator)
        if start is not None:
            options["load_from"] = start
            options["default_hooks.whole_weights.type"] = "WholeWeightsHook"
        if len(starts) > 1:
            options[f"model.{_SECOND}"] = starts[1]
        if score is not None:
            options["default_hooks.diagnosis.type"] = "DiagnosisHook"
            options["default_hooks.diagnosis.baseline"] = score["mIoU"]
        origin = f", from {' and '.join(starts)}" if starts else ""
        _say(f"training in {self.work_dir}{origin}")
        self._train(self.args.config, self.work_dir, self.args.cfg_options, options)
        if self.has_baseline:
            self._compare()
        self._say_files()

    # ---------------------------------------------------------------- one run

    def _train_twin(self, name: str, twin: Config, start: str | None = None) -> str:
        """Train a supervised twin in a folder of the work dir, unless it is there; gives its checkpoint."""
        folder, length = self.work_dir / name, int(twin.train_cfg.max_iters)
        config = Config(twin.to_dict(), filename=twin.filename)
        config.load_from = start if start is not None else config.get("load_from")
        set_options(config, self.evaluator)
        if start is not None:
            config.default_hooks = dict(
                config.get("default_hooks") or {}, whole_weights=dict(type="WholeWeightsHook")
            )
        if (
            "visualizer" in config
        ):  # mmengine gives a second run the visualizer of the first by this name
            config.visualizer.name = f"{config.visualizer.get('name', 'visualizer')}_{name}"
        config.work_dir = str(folder)
        settings = hashlib.sha256(config.pretty_text.encode()).hexdigest()
        record = folder / _SETTINGS
        is_same = record.is_file() and record.read_text().strip() == settings
        last = find_last_checkpoint(folder) if folder.is_dir() else None
        if is_same and last is not None and _iteration(last) >= length:
            _say(f"the {name} run in {folder} has ended: it is used as it is")
            return last
        if self.args.resume and last is not None and not is_same:
            raise ConfigError(
                f"{folder} holds a run with other settings, which --resume cannot go on with: remove the folder, "
                "or leave --resume out to train it anew"
            )
        _say(f"training the supervised twin in {folder}, {length} iterations")
        path = folder / f"{name}.py"
        _write(path, config.pretty_text)
        _write(record, settings + "\n")
        self._train(str(path), folder, [], {})
        last = find_last_checkpoint(folder)
        if last is None:
            raise TrainingError(
                f"{folder} has no checkpoint: give the config a default_hooks.checkpoint"
            )
        return last

    def _train(
        self, config: str, work_dir: Path, cfg_options: Sequence[str], options: dict[str, Any]
    ) -> None:
        """One training of the stock script in this process."""
        from mmengine.dist import barrier

        args = self.args
        arguments = [config, "--work-dir", str(work_dir), "--launcher", args.launcher]
        arguments += ["--local_rank", str(args.local_rank)]
        arguments += ["--amp"] if args.amp else []
        # Without a checkpoint of its own mmengine would resume from load_from, iteration and all.
        if args.resume and (work_dir / "last_checkpoint").is_file():
            arguments.append("--resume")
        arguments += ["--cfg-options", *cfg_options] if cfg_options else []
        with with_arguments(arguments):
            run_stock_tool("train", options)
        gc.collect()  # the runner and its networks refer to each other
        barrier()  # the main process has written what the others read

    # ---------------------------------------------------------------- results

    def _scores(self, name: str) -> dict[str, Any]:
        """``step``, ``mIoU`` and ``iou`` by class of the last validation of a run, in percent."""
        records = [r for r in read_run(self.work_dir / name).records if "mIoU" in r]
        if not records:
            raise TrainingError(
                f"{self.work_dir / name} has no validation with an mIoU: set train_cfg.num_validations, "
                "and val_evaluator=dict(type='ClassIoUMetric', iou_metrics=['mIoU'])"
            )
        last = records[-1]
        iou = {key[4:]: value for key, value in last.items() if key.startswith("IoU.")}
        return dict(step=last["step"], mIoU=last["mIoU"], iou=iou)

    def _compare(self) -> None:
        """Print the table and the verdict, and keep them in ``comparison.json``."""
        if not _is_main():
            return
        runs = {"supervised": self._scores("baseline"), "semi-supervised": self._scores("")}
        text = verdict(*runs.values(), read_run(self.work_dir).info.get("validation_images"))
        print(f"\n{comparison_table(runs)}\n\n{text}", flush=True)
        kept = json.dumps(dict(runs, verdict=text), indent=1, ensure_ascii=False)
        _write(self.work_dir / "comparison.json", kept + "\n")

    def _say_files(self) -> None:
        """What the run left, for those who go on with it."""
        report = self.work_dir / PAGE
        if report.is_file():
            _say(f"report: {report}")
        checkpoint = find_last_checkpoint(self.work_dir)
        if checkpoint is not None:
            twin = ""
            if self.has_baseline:
                twin = f" (supervised: {find_last_checkpoint(self.work_dir / 'baseline')})"
            _say(f"weights for mmsemi predict and mmsemi export: {checkpoint}{twin}")


def class_iou_options(config: Config) -> dict[str, str]:
    """The option by which a validation logs the IoU of each class; empty if it does.

    Raises:
        ConfigError: It has no mIoU.
    """
    found = config.get("val_evaluator") or {}
    metrics = list(enumerate(found)) if isinstance(found, (list, tuple)) else [(None, found)]
    kinds = {str(metric.get("type")).split(".")[-1]: number for number, metric in metrics}
    if "ClassIoUMetric" in kinds:
        return {}
    if "IoUMetric" in kinds:
        number = kinds["IoUMetric"]
        key = "val_evaluator" if number is None else f"val_evaluator.{number}"
        return {f"{key}.type": "ClassIoUMetric"}
    raise ConfigError(
        f"{config.filename}: val_evaluator ({', '.join(kinds)}) counts no IoU of each class, which the "
        "comparison is made of: set val_evaluator=dict(type='ClassIoUMetric', iou_metrics=['mIoU'])"
    )


def comparison_table(runs: dict[str, dict[str, Any]]) -> str:
    """IoU of each class in percent, a column for each run, and the difference."""
    nan = float("nan")
    classes = dict.fromkeys(key for one in runs.values() for key in one["iou"])
    columns = {
        name: {k: one["iou"].get(k, nan) for k in classes} | {"mIoU": one["mIoU"]}
        for name, one in runs.items()
    }
    return result_table(columns)


def verdict(supervised: dict[str, Any], semi: dict[str, Any], images: int | None = None) -> str:
    """Whether the unlabelled images helped, in one line.

    Args:
        supervised: ``mIoU`` and ``iou`` by class of the supervised run, in percent.
        semi: The same of the run with unlabelled images.
        images: How many validation images there are, None if that is not known.
    """
    gain = semi["mIoU"] - supervised["mIoU"]
    by_class = {
        name: value - supervised["iou"][name]
        for name, value in semi["iou"].items()
        if name in supervised["iou"]
    }
    better = sum(value > 0 for value in by_class.values())
    word = (
        "helped" if gain > CHANCE else "did harm" if gain < -CHANCE else "made no clear difference"
    )
    text = (
        f"the unlabelled images {word}: mIoU {supervised['mIoU']:.2f} -> {semi['mIoU']:.2f} ({gain:+.2f}); "
        f"better in {better} of {len(by_class)} classes"
    )
    if by_class:
        least, most = (f(by_class, key=by_class.__getitem__) for f in (min, max))
        text += f", from '{least}' ({by_class[least]:+.2f}) to '{most}' ({by_class[most]:+.2f})"
    text += rough_score(images)
    note = " (one run each: below a point, ask more seeds, mmsemi compare --seeds)"
    return text + (note if abs(gain) <= CHANCE else "")


def _iteration(checkpoint: str) -> int:
    match = re.fullmatch(r"iter_(\d+)\.pth", os.path.basename(checkpoint))
    return int(match[1]) if match else 0


def _write(path: Path, text: str) -> None:
    write_beside(path, lambda file: file.write(text.encode()))


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say(text: str) -> None:
    if _is_main():
        print(f"mmsemi train: {text}", flush=True)


def main(arguments: Sequence[str]) -> None:
    """The command line; the stock script reads its arguments from ``sys.argv``."""
    args, rest = parse_args(arguments)
    wants_help = bool({"-h", "--help"} & set(rest))
    if wants_help or (not args.starts and not args.baseline):
        try:
            run_stock_tool("train")
        finally:
            if wants_help:
                print(_HELP)
        return
    Stages(rest, args.starts, args.baseline).run()
