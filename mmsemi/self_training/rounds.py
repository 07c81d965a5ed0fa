# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The rounds: who labels for whom, from which weights a training starts, which checkpoint is kept.

Three forms of one procedure, as a method's config says (plan.py): a model labels for itself (DST-CBC), two
models label for each other (DMT), or images come in by their reliability (ST++; ST is one round of all).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..cli.stock import check_checkpoint
from ..errors import ConfigError, TrainingError
from ..structures import PSEUDO
from ..utils import check_keys
from ..utils.config_files import find_config, read_config, set_options
from ..utils.files import file_sha256
from .images import choose_images, unlabeled_source
from .plan import Plan
from .reliability import copy_iterations, count_of_share, order_by_reliability
from .stages import Stages, validations

#: Seeds of stages of one self-training, and of its second model, are so far apart.
_NEXT_STAGE, _SECOND_MODEL = 1000, 500_000
#: Options of the rounds that a baseline needs as well.
_NETWORK = ("model.segmentor.", "model.data_preprocessor.")
_DATA = ("train_dataloader.dataset.", "val_dataloader.", "test_dataloader.")


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


@dataclass
class Round:
    """A training that is to be done: that of a round, or of a baseline.

    Attributes:
        name: Its folder.
        student: Whose.
        config: Of it.
        seed: Of it.
        made_of: Hashes of what its paths hold.
        labels: Outputs of the labellings that it learns from.
    """

    name: str
    student: Student
    config: Config
    seed: int
    made_of: dict[str, Any] = field(default_factory=dict)
    labels: Sequence[dict[str, Any]] = ()


class SelfTraining:
    """The whole of one command; see the module.

    Args:
        config: The student's, with ``self_training``.
        out: Folder of all stages.
        seed: Of the whole.
        options: As ``--cfg-options``, for the rounds; those about data sets also change the baseline.
        baseline_options: For the baseline.
        gpus: Processes of a training, a labelling and a scoring.
        threads: CPU threads of each.
        jobs: How many of the two models of ``mode='mutual'`` train at a time.

    Raises:
        ConfigError: A setting changes nothing, or is missing.
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
        jobs: int = 1,
    ) -> None:
        self.plan, self.jobs = Plan.read(config), jobs
        if jobs > 1 and self.plan.mode != "mutual":
            raise ConfigError(
                f"--jobs {jobs} changes nothing: only the two models of self_training.mode='mutual' can "
                f"train side by side, and this is mode='{self.plan.mode}'; use --threads or --gpus"
            )
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
            network = {k: v for k, v in changes.items() if k.startswith(_NETWORK)}
            trained = _read_baseline(baseline, {**network, **shared, **baseline_options})
            for one in (student, trained) if self.plan.select_on is not None else ():
                if isinstance(one, Config):
                    one.val_dataloader.dataset.ann_file = str(Path(self.plan.select_on).resolve())
            self.students.append(Student(name, student, trained, own_seed))
        if baseline_options and all(isinstance(one.baseline, str) for one in self.students):
            raise ConfigError(
                f"--baseline-options change nothing: the baseline '{self.students[0].baseline}' is a "
                "checkpoint, it is not trained"
            )
        name_of = choose_images(unlabeled_source(self.students[0].config).sources["unlabeled"])
        self.img_paths, self.ids = list(name_of), list(name_of.values())
        self.stages = Stages(out, self.img_paths, self.ids, gpus, threads)
        self.rows: list[dict[str, Any]] = []

    def run(self) -> list[dict[str, Any]]:
        """All stages.

        Returns:
            A row of the table for each training.
        """
        self._train([one for one in map(self._baseline, self.students) if one is not None])
        if self.plan.mode == "mutual":
            self._mutual_rounds()
        elif self.plan.images:
            self._image_rounds(self._order())
        else:
            for number, ratio in enumerate(self.plan.ratios, 1):
                (student,) = self.students
                labels = self._label(f"round_{number}", student, ratio, self.img_paths)
                self._train([self._round(f"round_{number}", student, number, [labels])])
        if self.plan.select_on is not None:
            for student in self.students:
                self._test(student)
        return self.rows

    # ---------------------------------------------------------------- the three forms

    def _mutual_rounds(self) -> None:
        """Both models of a round learn from labels of the other one's previous round."""
        for number, ratio in enumerate(self.plan.ratios, 1):
            first, second = self.students
            name = f"round_{number}"
            of_first = self._label(name + first.name, first, ratio, self.img_paths)
            of_second = self._label(name + second.name, second, ratio, self.img_paths)
            self._train(
                [
                    self._round(name + first.name, first, number, [of_second]),
                    self._round(name + second.name, second, number, [of_first]),
                ]
            )

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
            self._train([self._round(f"round_{number}", student, number, labels)])

    def _order(self) -> list[str]:
        """Ids of the unlabelled images, the most reliable first."""
        (student,) = self.students
        if isinstance(student.baseline, str):
            raise ConfigError(
                f"self_training.baseline='{student.baseline}' is one checkpoint: images needs the earlier "
                "ones of its training, name its config"
            )
        run = self.stages.out / "baseline" / "train" / "run"
        wanted = copy_iterations(_length(student.baseline), self.plan.images["checkpoints"])
        checkpoints = [str(run / f"iter_{number}.pth") for number in wanted]
        # The student's config says what is unlabelled; the network is that of the baseline.
        config = copy.deepcopy(student.config)
        config.model = copy.deepcopy(student.baseline.model)
        return order_by_reliability(self.stages.score("reliability", config, checkpoints))

    # ---------------------------------------------------------------- one stage

    def _baseline(self, student: Student) -> Round | None:
        """The training of a baseline, if it is no checkpoint."""
        name = f"baseline{student.name}"
        if isinstance(student.baseline, str):
            student.checkpoint = student.baseline
            if self.plan.carry_best:  # the rounds have to beat it
                config = copy.deepcopy(student.config)
                config.test_dataloader = copy.deepcopy(config.val_dataloader)
                config.test_evaluator = copy.deepcopy(config.val_evaluator)
                student.score = self.stages.test(name, config, student.checkpoint, self.plan.metric)
            self._say(name, student, "as given")
            return None
        config = copy.deepcopy(student.baseline)
        if self.plan.images:
            keep = copy_iterations(_length(config), self.plan.images["checkpoints"])
            config.default_hooks.checkpoint.keep = keep
        return Round(name, student, config, student.seed)

    def _label(self, name: str, teacher: Student, ratio: float, img_paths: list[str]) -> dict:
        """Labels of images by what is kept of a model."""
        settings = Config(dict(self.plan.labels)).to_dict()
        if settings.get("assign") != "all":
            settings["ratio"] = ratio
        return self.stages.label(name, teacher.config, teacher.checkpoint, settings, img_paths)

    def _round(self, name: str, student: Student, number: int, labels: list[dict]) -> Round:
        """The training of a model on stored labels."""
        config = copy.deepcopy(student.config)
        dataset = config.train_dataloader.dataset
        sources = dict(dataset.get("sources") or {})
        base = dict(sources.get(PSEUDO) or dict(type="PseudoLabelDataset"))
        parts = [dict(base, data_prefix=one["prefix"]) for one in labels]
        many = dict(type="ConcatDataset", datasets=parts)
        dataset.sources = {**sources, PSEUDO: parts[0] if len(parts) == 1 else many}
        made_of = dict(source=base, labels=[one["labels_sha256"] for one in labels])
        if self.plan.iterations is not None:
            config.train_cfg.max_iters = self.plan.iterations[number - 1]
        config.load_from = None
        if self.plan.start == "previous":
            config.load_from = student.checkpoint
            made_of["start"] = file_sha256(student.checkpoint)
        seed = student.seed + _NEXT_STAGE * number
        return Round(name, student, config, seed, made_of, labels)

    def _train(self, rounds: Sequence[Round]) -> None:
        """Trainings, ``jobs`` at a time."""
        for one in rounds:
            one.config.randomness = dict(one.config.get("randomness") or {}, seed=one.seed)
            one.config.resume = False
            one.config.pop("self_training", None)
            if self.plan.select_on is not None:
                one.made_of["select_on"] = file_sha256(self.plan.select_on)
        for start in range(0, len(rounds), self.jobs):
            together = rounds[start : start + self.jobs]
            made = self.stages.train([(one.name, one.config, one.made_of) for one in together])
            for one, outputs in zip(together, made):
                self._keep(one, outputs)

    def _keep(self, trained: Round, outputs: dict[str, Any]) -> None:
        """What is kept of a training: say how it compares, and add a row."""
        name, student, labels = trained.name, trained.student, trained.labels
        checkpoint, score, chosen_by = self._choose(outputs, trained.config)
        before, notes = student.score, []
        is_worse = before is not None and score is not None and score < before
        if is_worse:
            notes.append(f"worse than before ({before:.2f})")
        if is_worse and self.plan.carry_best:
            notes.append("not kept")
        else:
            student.checkpoint, student.score = checkpoint, score
        note = ", ".join(notes)
        shown = "no validation" if score is None else f"{self.plan.metric} {score:.2f}"
        print(f"{name}: {shown}{f', {note}' if note else ''}", flush=True)
        self._say(name, student, f"chosen by {chosen_by}")
        self.rows.append(
            dict(
                stage=name,
                score=score,
                admitted=[one["admitted"] for one in labels],
                classes={c["name"]: c["share"] for c in labels[-1]["classes"]} if labels else {},
                checkpoint=student.checkpoint,
                chosen_by=chosen_by,
                note=note,
            )
        )

    def _choose(self, outputs: dict[str, Any], config: Config) -> tuple[str, float | None, str]:
        """The checkpoint of a training that is kept, its metric, and what chose it."""
        metric = self.plan.metric
        scored = validations(outputs["run"], metric)
        if self.plan.select == "last":
            score = scored[max(scored)] if scored else None
            return outputs["checkpoint"], score, "the last iteration, no validation"
        best = max(scored, key=scored.__getitem__, default=0)
        path = Path(outputs["run"], f"best_{metric}_iter_{best}.pth")
        if not path.is_file():
            raise TrainingError(
                f"'{path}' does not exist: set default_hooks.checkpoint.save_best='{metric}', or "
                "self_training.select='last'"
            )
        val_set = (config.get("val_dataloader") or {}).get("dataset") or {}
        images = val_set.get("ann_file") or (val_set.get("data_prefix") or {}).get("img_path")
        return str(path), scored[best], f"the best {metric} on {images}"

    @staticmethod
    def _say(name: str, student: Student, why: str) -> None:
        print(f"{name}: kept {student.checkpoint}, {why}", flush=True)

    def _test(self, student: Student) -> None:
        """The metric of the final checkpoint on the images of the test, which chose nothing."""
        name, metric = f"test{student.name}", self.plan.metric
        score = self.stages.test(name, student.config, student.checkpoint, metric)
        print(f"{name}: {metric} {score:.2f} on test_dataloader", flush=True)
        self.rows.append(
            dict(
                stage=name,
                score=score,
                admitted=[],
                classes={},
                checkpoint=student.checkpoint,
                chosen_by=f"the best {metric} on {self.plan.select_on}",
                note="on test_dataloader",
            )
        )


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
    own = baseline["options"] or {}
    if not isinstance(own, dict):
        raise ConfigError(
            f"self_training.baseline.options={own!r} is no dictionary of settings, "
            "{'train_cfg.max_iters': 160}"
        )
    config = read_config(find_config(baseline["config"]), own)
    set_options(config, options)
    return config
