# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi self-train CONFIG``: a baseline, then rounds of labelling and training, each a stock run.

The config is that of an ordinary training whose model is the student of a round, with a section
``self_training`` (:class:`Plan`). Each stage has a folder below --out with its config, log, checkpoints
or labels; ``state.json`` says what each was made of. The command can be killed at any time: started again,
it goes on inside the stage that was cut off, and a stage whose inputs have changed is done again.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..compat_checkpoints import find_last_checkpoint
from ..datasets.splits import ids_sha256
from ..errors import ConfigError, TrainingError
from ..self_training.labeling import THRESHOLDS, image_ids, label_folders
from ..self_training.reliability import (
    copy_iterations,
    count_of_share,
    order_by_reliability,
    reliability,
)
from ..self_training.state import State, hash_of
from ..structures import PSEUDO
from ..utils import check_keys
from ..utils.config_files import (
    default_work_dir,
    find_config,
    parse_options,
    read_config,
    set_options,
)
from ..utils.files import file_sha256, write_beside
from ..visualization import report
from .pseudo_label import label_settings, test_images, unlabeled_source
from .stock import check_checkpoint
from .trainings import Training, end_with_parent, run_trainings

#: Seeds of stages of one self-training, and of its second model, are so far apart.
_NEXT_STAGE, _SECOND_MODEL = 1000, 500_000
_DATA = ("train_dataloader.dataset.", "val_dataloader.", "test_dataloader.")


@dataclass(frozen=True)
class Plan:
    """Section ``self_training`` of a config.

    Attributes:
        baseline: Config of the supervised training, by its name or path, or a checkpoint of it; or
            ``dict(config=..., options={...})`` with settings as in ``--cfg-options``.
        ratios: Share of the pixels of each class that a round admits; one for each round.
        mode: ``'self'``: the student labels for its next round; ``'mutual'``: two models label for each
            other.
        second: Of the second model: ``dict(baseline=..., options={...})``; the options change the config
            of its rounds.
        start: Weights that a round starts from: ``'previous'`` (the checkpoint kept before), or
            ``'pretrained'``, those of the config.
        select: Checkpoint that is kept of a training: the ``'last'``, or the ``'best'`` of its validations,
            which looks at the images of ``val_dataloader``.
        carry_best: With ``'best'``: a round that is worse than the best one before it is not kept.
        labels: Settings of ``mmsemi pseudo-label`` but the ratio.
        images: ST++: ``dict(shares=(0.5, 1.0), checkpoints=3)``. Round by round, cumulative shares of the
            images, the most reliable first; each image is labelled once, when it comes in.
        metric: Of the validation.

    Raises:
        ConfigError: A combination is one that no run can mean.
    """

    baseline: Any = None
    ratios: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0)
    mode: str = "self"
    second: dict[str, Any] | None = None
    start: str = "previous"
    select: str = "last"
    carry_best: bool = False
    labels: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] | None = None
    metric: str = "mIoU"

    def __post_init__(self) -> None:
        legal = dict(
            mode=("self", "mutual"), start=("previous", "pretrained"), select=("last", "best")
        )
        for name, values in legal.items():
            if getattr(self, name) not in values:
                self._refuse(name, f"is none of {', '.join(values)}")
        if not self.baseline:
            self._refuse("baseline", "must name a config or a checkpoint")
        if (self.second is not None) != (self.mode == "mutual"):
            self._refuse("second", f"does not fit mode='{self.mode}': 'mutual' has two models")
        if self.second is not None:
            check_keys(self.second, dict(baseline=None, options=None), "self_training.second")
        if self.carry_best and (self.select != "best" or self.mode == "mutual"):
            self._refuse("carry_best", "needs select='best' and mode='self'")
        if not self.ratios:
            self._refuse("ratios", "names no round")
        if self.images is not None:
            images = check_keys(
                self.images, dict(shares=(0.5, 1.0), checkpoints=3), "self_training.images"
            )
            object.__setattr__(self, "images", images)
            shares = list(images["shares"])
            if (
                self.mode == "mutual"
                or not shares
                or shares != sorted(set(shares))
                or shares[-1] != 1
            ):
                self._refuse("images", "needs mode='self' and growing shares that end at 1")
            if len(shares) != len(self.ratios):
                self._refuse("ratios", f"must have one value for each of {len(shares)} shares")

    def _refuse(self, name: str, reason: str) -> None:
        raise ConfigError(f"self_training.{name}={getattr(self, name)!r} {reason}")

    @classmethod
    def read(cls, config: Config) -> Plan:
        """The plan of a config.

        Raises:
            ConfigError: It has none, or a setting is unknown or wrong.
        """
        section = config.get("self_training")
        if not section:
            raise ConfigError(
                f"{config.filename} has no self_training=dict(baseline=..., ratios=...): it is no "
                "self-training (see configs/dst_cbc)"
            )
        section = Config(dict(section)).to_dict()
        known = [one.name for one in fields(cls)]
        check_keys(section, dict.fromkeys(known), "self_training")
        label_settings(config, {})
        return cls(**section)


@dataclass(kw_only=True)
class StageTraining(Training):
    """A training of a stage, which goes on where an earlier call broke off."""

    gpus: int = 1

    @property
    def command(self) -> list[str]:
        """The command line of the process, or of the launcher of several."""
        command = super().command
        command.remove("--cfg-options")
        if (self.work_dir / "last_checkpoint").is_file():
            command.append("--resume")
        if self.gpus > 1:
            return [*_launcher(self.gpus), *command[1:], "--launcher", "pytorch"]
        return command


def _launcher(gpus: int) -> list[str]:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*run, f"--nproc_per_node={gpus}"]


@dataclass
class Student:
    """One of the models that are trained: its configs, and what is kept of it so far.

    Attributes:
        name: '' for the only one, else '_a' or '_b': the end of its folders.
        config: Of its rounds.
        baseline: Config of its baseline, or a checkpoint.
        seed: Of its baseline.
        checkpoint: Kept weights.
        score: Their metric.
    """

    name: str
    config: Config
    baseline: Config | str
    seed: int
    checkpoint: str = ""
    score: float | None = None


class SelfTraining:
    """The stages of one command; see the module.

    Args:
        config: The student's, with ``self_training``.
        out: Folder of all stages.
        seed: Of the whole.
        options: As ``--cfg-options``, for the rounds; those about data sets also change the baseline.
        baseline_options: For the baseline.
        gpus: Processes of a training and of a labelling.
        threads: CPU threads of each.
    """

    def __init__(
        self,
        config: Config,
        out: Path,
        seed: int,
        options: dict[str, Any],
        baseline_options: dict[str, Any],
        gpus: int = 1,
        threads: int = 1,
    ) -> None:
        self.plan, self.out, self.gpus, self.threads = Plan.read(config), out, gpus, threads
        shared = {key: value for key, value in options.items() if key.startswith(_DATA)}
        shared = {k: v for k, v in shared.items() if f".sources.{PSEUDO}." not in k}
        self.students = []
        parts = [(self.plan.baseline, {}, "_a" if self.plan.second is not None else "", seed)]
        if self.plan.second is not None:
            second = self.plan.second
            baseline = second.get("baseline") or self.plan.baseline
            parts.append((baseline, second.get("options") or {}, "_b", seed + _SECOND_MODEL))
        for baseline, changes, name, own_seed in parts:
            student = copy.deepcopy(config)
            set_options(student, changes)
            trained = _read_baseline(baseline, {**shared, **baseline_options})
            self.students.append(Student(name, student, trained, own_seed))
        self.source = unlabeled_source(config).sources["unlabeled"]
        self.img_paths = sorted(set(self.source.img_paths))
        self.ids = image_ids(self.img_paths)
        self.state = State(out)
        self.rows: list[dict[str, Any]] = []

    # ---------------------------------------------------------------- the whole

    def run(self) -> list[dict[str, Any]]:
        """All stages.

        Returns:
            A row of the table for each training.
        """
        for student in self.students:
            self._train_baseline(student)
        ordered = self._order() if self.plan.images else None
        if self.plan.mode == "mutual":
            self._mutual_rounds()
        elif ordered is not None:
            self._image_rounds(ordered)
        else:
            for number, ratio in enumerate(self.plan.ratios, 1):
                (student,) = self.students
                labels = self._label(f"round_{number}", student, ratio, self.img_paths)
                self._train(f"round_{number}", student, number, [labels])
        return self.rows

    def _mutual_rounds(self) -> None:
        """Both models of a round learn from labels of the other one's previous round."""
        for number, ratio in enumerate(self.plan.ratios, 1):
            first, second = self.students
            name = f"round_{number}"
            of_first = self._label(name + first.name, first, ratio, self.img_paths)
            of_second = self._label(name + second.name, second, ratio, self.img_paths)
            self._train(name + first.name, first, number, [of_second])
            self._train(name + second.name, second, number, [of_first])

    def _image_rounds(self, ordered: list[str]) -> None:
        """Each round takes in further images, which the latest model labels once."""
        (student,), labels, done = self.students, [], 0
        path_of = dict(zip(self.ids, self.img_paths))
        for number, (share, ratio) in enumerate(
            zip(self.plan.images["shares"], self.plan.ratios), 1
        ):
            count = count_of_share(share, len(ordered))
            if count == done:
                print(
                    f"round_{number}: a share of {share} adds no image, it is skipped", flush=True
                )
                continue
            chosen = sorted(path_of[name] for name in ordered[done:count])
            labels.append(self._label(f"round_{number}", student, ratio, chosen))
            done = count
            self._train(f"round_{number}", student, number, labels)

    # ---------------------------------------------------------------- stages

    def _train_baseline(self, student: Student) -> None:
        if isinstance(student.baseline, str):
            student.checkpoint = student.baseline
            print(f"baseline{student.name}: {student.checkpoint}, as given", flush=True)
            return
        config = copy.deepcopy(student.baseline)
        if self.plan.images:
            keep = copy_iterations(_length(config), self.plan.images["checkpoints"])
            config.default_hooks.checkpoint.keep = keep
        self._run_training(f"baseline{student.name}", student, config, student.seed, {})

    def _label(self, name: str, teacher: Student, ratio: float, img_paths: list[str]) -> dict:
        """Labels of images by what is kept of a model: ``data_prefix`` and the digest of the labels."""
        settings = Config(dict(self.plan.labels)).to_dict()
        if settings.get("assign") != "all":
            settings["ratio"] = ratio
        inputs = dict(
            checkpoint=file_sha256(teacher.checkpoint),
            model=_plain(teacher.config.model),
            settings=settings,
            images=ids_sha256(img_paths),
        )

        def work(folder: Path) -> dict[str, Any]:
            config = copy.deepcopy(teacher.config)
            config.self_training = dict(config.self_training, labels=settings)
            _dump(config, folder / "config.py")
            name_of = dict(zip(self.img_paths, self.ids))
            names = "\n".join(name_of[path] for path in img_paths) + "\n"
            write_beside(folder / "images.txt", lambda file: file.write(names.encode()))
            out = folder / "stored"
            tool = ["-m", "mmsemi", "pseudo-label", str(folder / "config.py"), teacher.checkpoint]
            tool += [str(out), "--images", str(folder / "images.txt")]
            run = [sys.executable, *tool]
            if self.gpus > 1:
                run = [*_launcher(self.gpus), *tool, "--launcher", "pytorch"]
            print(f"labelling {len(img_paths)} images into {out}", flush=True)
            code = _call(run, self.threads)
            if not (out / THRESHOLDS).is_file():
                raise TrainingError(f"{out}: the labelling ended with exit code {code}")
            text = (out / THRESHOLDS).read_text()
            return dict(
                prefix=label_folders(out, self.img_paths),
                thresholds_sha256=hash_of(json.loads(text)),
                labels_sha256=_folder_sha256(out / "labels"),
            )

        outputs = self.state.run(f"{name}/labels", inputs, work)
        report_of = json.loads((self.out / name / "labels" / "stored" / THRESHOLDS).read_text())
        if report_of["unreadable"]:
            print(f"{name}: {len(report_of['unreadable'])} images have no label", flush=True)
        return dict(outputs, admitted=report_of["admitted"], classes=report_of["classes"])

    def _train(self, name: str, student: Student, number: int, labels: list[dict]) -> None:
        """A round of a model on stored labels."""
        config = copy.deepcopy(student.config)
        dataset = config.train_dataloader.dataset
        sources = dict(dataset.get("sources") or {})
        base = dict(sources.get(PSEUDO) or dict(type="PseudoLabelDataset"))
        parts = [dict(base, data_prefix=one["prefix"]) for one in labels]
        many = dict(type="ConcatDataset", datasets=parts)
        dataset.sources = {**sources, PSEUDO: parts[0] if len(parts) == 1 else many}
        made_of = dict(source=base, labels=[one["labels_sha256"] for one in labels])
        config.load_from = None
        if self.plan.start == "previous":
            config.load_from = student.checkpoint
            made_of["start"] = file_sha256(student.checkpoint)
        seed = student.seed + _NEXT_STAGE * number
        self._run_training(name, student, config, seed, made_of, labels)

    def _run_training(
        self,
        name: str,
        student: Student,
        config: Config,
        seed: int,
        made_of: dict[str, Any],
        labels: Sequence[dict] = (),
    ) -> None:
        config.randomness = dict(config.get("randomness") or {}, seed=seed)
        config.resume = False
        config.pop("self_training", None)
        unpathed = copy.deepcopy(config)
        unpathed.load_from = None
        (unpathed.train_dataloader.dataset.get("sources") or {}).pop(PSEUDO, None)
        inputs = dict(config=hash_of(_plain(unpathed)), select=self.plan.select, **made_of)

        def work(folder: Path) -> dict[str, Any]:
            _dump(config, folder / "config.py")
            training = StageTraining(
                config=str(folder / "config.py"),
                work_dir=folder / "run",
                options=[],
                log=folder / "train.log",
                gpus=self.gpus,
            )
            with closing(run_trainings([training], 1, self.threads)) as ended:
                for _ in ended:
                    pass
            if training.exit_code:
                lines = training.log.read_text(errors="replace").splitlines()[-5:]
                raise TrainingError(
                    f"{name}: the training ended with exit code {training.exit_code}, see {training.log}: "
                    + " / ".join(lines)
                )
            return self._kept(training.work_dir, config)

        outputs = self.state.run(f"{name}/train", inputs, work)
        self._keep(name, student, outputs, labels)

    def _kept(self, work_dir: Path, config: Config) -> dict[str, Any]:
        """The checkpoint of a training that is kept, its metric, and what chose it."""
        scored: dict[int, float] = {}
        for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
            scored.update(zip(*report.series(report.read_scalars(path), self.plan.metric)))
        last = find_last_checkpoint(work_dir)
        val_set = (config.get("val_dataloader") or {}).get("dataset") or {}
        images = val_set.get("ann_file") or (val_set.get("data_prefix") or {}).get("img_path")
        if self.plan.select == "last":
            score = scored[max(scored)] if scored else None
            return dict(checkpoint=last, score=score, chosen_by="the last iteration, no validation")
        best = sorted(work_dir.glob(f"best_{self.plan.metric}_*.pth"))
        if not best or not scored:
            raise TrainingError(
                f"{work_dir} has no best checkpoint: set default_hooks.checkpoint.save_best="
                f"'{self.plan.metric}', or self_training.select='last'"
            )
        chosen_by = f"the best {self.plan.metric} on {images}"
        return dict(checkpoint=str(best[-1]), score=max(scored.values()), chosen_by=chosen_by)

    def _keep(
        self, name: str, student: Student, outputs: dict[str, Any], labels: Sequence[dict]
    ) -> None:
        """Go on with the checkpoint of a training, say how it compares, and add a row."""
        before, score, note = student.score, outputs["score"], ""
        is_worse = before is not None and score is not None and score < before
        if is_worse:
            note = f"worse than before ({before:.2f})"
        if not (is_worse and self.plan.carry_best):
            student.checkpoint, student.score = outputs["checkpoint"], score
        else:
            note += ", not kept"
        shown = "no validation" if score is None else f"{self.plan.metric} {score:.2f}"
        print(f"{name}: {shown}{f', {note}' if note else ''}", flush=True)
        print(f"{name}: kept {student.checkpoint}, chosen by {outputs['chosen_by']}", flush=True)
        self.rows.append(
            dict(
                stage=name,
                score=score,
                admitted=[one["admitted"] for one in labels],
                classes={c["name"]: c["share"] for c in labels[-1]["classes"]} if labels else {},
                checkpoint=student.checkpoint,
                chosen_by=outputs["chosen_by"],
                note=note,
            )
        )

    # ---------------------------------------------------------------- reliable images

    def _order(self) -> list[str]:
        """Ids of the unlabelled images, the most reliable first."""
        (student,) = self.students
        if isinstance(student.baseline, str):
            raise ConfigError(
                f"self_training.baseline='{student.baseline}' is one checkpoint: images needs the earlier "
                "ones of its training, name its config"
            )
        run = self.out / "baseline" / "train" / "run"
        wanted = copy_iterations(_length(student.baseline), self.plan.images["checkpoints"])
        checkpoints = [str(run / f"iter_{number}.pth") for number in wanted]
        inputs = dict(
            checkpoints=[file_sha256(path) for path in checkpoints],
            images=ids_sha256(self.img_paths),
        )

        def work(folder: Path) -> dict[str, Any]:
            scores = self._score(student.baseline, checkpoints)
            lines = [f"{name},{r:.17g}" for name, r in sorted(scores.items())]
            text = "\n".join(["id,r", *lines]) + "\n"
            write_beside(folder / "scores.csv", lambda file: file.write(text.encode()))
            values = np.asarray(list(scores.values()))
            low, mid, high = np.quantile(values, (0.25, 0.5, 0.75))
            print(
                f"reliability of {len(values)} images: quartiles {low:.3f} {mid:.3f} {high:.3f}, "
                f"{100 * (values >= 1).mean():.1f} % equal in all checkpoints",
                flush=True,
            )
            return dict(scores=hash_of(scores))

        self.state.run("reliability", inputs, work)
        lines = (self.out / "reliability" / "scores.csv").read_text().splitlines()[1:]
        scores = {name: float(r) for name, r in (line.rsplit(",", 1) for line in lines)}
        return order_by_reliability(scores)

    def _score(self, config: Config, checkpoints: list[str]) -> dict[str, float]:
        """r of each image by the label maps of several checkpoints, which are read once."""
        import torch
        from mmseg.apis import init_model

        from ..self_training.labeling import probabilities

        init_default_scope("mmseg")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        models = [init_model(copy.deepcopy(config), path, device) for path in checkpoints]
        dataset, scores = test_images(config, self.img_paths), {}
        for number, name in enumerate(self.ids):
            sample = dataset[number]
            maps = [probabilities(model, [sample])[0].argmax(0) for model in models]
            scores[name] = reliability([one.cpu().numpy() for one in maps], models[0].num_classes)
        return scores


# --- Configs and files ----------------------------------------------------------------------------


def _plain(config: Any) -> Any:
    return config.to_dict() if hasattr(config, "to_dict") else config


def _dump(config: Config, path: Path) -> None:
    text = config.pretty_text
    write_beside(path, lambda file: file.write(text.encode()))


def _length(config: Config) -> int:
    length = (config.get("train_cfg") or {}).get("max_iters")
    if not isinstance(length, int):
        raise ConfigError(
            f"{config.filename} has train_cfg.max_iters={length}: the checkpoints of a baseline that are "
            "compared are counted in iterations"
        )
    return length


def _read_baseline(baseline: Any, options: dict[str, Any]) -> Config | str:
    """Config of a baseline with its options, or the path of its checkpoint."""
    if isinstance(baseline, str) and baseline.endswith(".pth"):
        check_checkpoint(baseline)
        return baseline
    if isinstance(baseline, str):
        baseline = dict(config=baseline)
    baseline = check_keys(baseline, dict(config=None, options=None), "self_training.baseline")
    config = read_config(find_config(baseline["config"]), baseline["options"] or {})
    set_options(config, options)
    return config


def _folder_sha256(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*.png"))
    return hash_of([(str(path.relative_to(folder)), file_sha256(path)) for path in files])


def _call(command: list[str], threads: int) -> int:
    """Run a process that ends with this one."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    process = subprocess.Popen(command, env=env, preexec_fn=end_with_parent)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


# --- Results --------------------------------------------------------------------------------------


def format_table(rows: Sequence[dict[str, Any]], metric: str, out: str | Path = "") -> str:
    """A Markdown table: a row for each training, with the admitted share of each class.

    Args:
        rows: Of :meth:`SelfTraining.run`.
        metric: Name of the score.
        out: Folder that paths are shortened by.
    """
    classes = list(dict.fromkeys(name for row in rows for name in row["classes"]))
    head = ["stage", metric, "admitted", *classes, "kept checkpoint", "chosen by", "note"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["stage"], "" if row["score"] is None else f"{row['score']:.2f}"]
        cells.append(", ".join(f"{100 * share:.1f} %" for share in row["admitted"]))
        shares = [row["classes"].get(name) for name in classes]
        cells += ["" if share is None else f"{100 * share:.1f}" for share in shares]
        cells += [row["checkpoint"].removeprefix(f"{out}/"), row["chosen_by"], row["note"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot_rounds(rows: Sequence[dict[str, Any]], metric: str) -> bytes:
    """PNG: the metric of each model by round, and the admitted share."""
    curves: dict[str, tuple[list, list]] = {}
    for row in rows:
        model = row["stage"][-1] if row["stage"][-2:] in ("_a", "_b") else ""
        name = row["stage"].removesuffix(f"_{model}")
        number = 0 if name == "baseline" else int(name.removeprefix("round_"))
        values = {metric: row["score"], "admitted pixels (%)": None}
        if row["admitted"]:
            values["admitted pixels (%)"] = 100 * float(np.mean(row["admitted"]))
        for key, value in values.items():
            if value is not None:
                steps, found = curves.setdefault(f"{key} {model}".strip(), ([], []))
                steps.append(number)
                found.append(value)
    return report.plot_curves(curves, f"{metric}, share", xlabel="round (0: baseline)")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train a baseline, then rounds of labelling and training. Started again, it goes on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("config", help="an ordinary config with a section self_training")
    parser.add_argument("--out", help="folder of all stages (default: work_dirs/<config>)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpus", type=int, default=1, help="processes of each stage")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--cfg-options", nargs="+", default=[], help="for the rounds; data for all")
    parser.add_argument("--baseline-options", nargs="+", default=[], help="for the baseline")
    args = parser.parse_args(arguments)
    if args.gpus < 1 or args.threads < 1:
        raise ConfigError(f"--gpus {args.gpus} --threads {args.threads}: both must be at least 1")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi self-train``."""
    args = parse_args(arguments)
    options = parse_options(args.cfg_options)
    config = read_config(args.config, options)
    init_default_scope("mmseg")
    out = Path(args.out or default_work_dir(find_config(args.config))).resolve()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        baseline_options = parse_options(args.baseline_options)
        rounds = SelfTraining(
            config, out, args.seed, options, baseline_options, args.gpus, args.threads
        )
        rows = rounds.run()
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    metric = rounds.plan.metric
    table = format_table(rows, metric, out)
    print(table)
    text = json.dumps(rows, indent=1) + "\n"
    for name, content in (
        ("table.md", (table + "\n").encode()),
        ("results.json", text.encode()),
        ("rounds.png", plot_rounds(rows, metric)),
    ):
        write_beside(out / name, lambda file, content=content: file.write(content))
    return 0
