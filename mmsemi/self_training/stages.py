# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The stages of a self-training: train, label, score, test. Each is a process of a stock command in its folder.

    OUT/<name>/train/     config.py, train.log, run/ (checkpoints)
    OUT/<name>/labels/    config.py, images.txt, stored/ (labels of `mmsemi pseudo-label`)
    OUT/<name>/scores/    config.py, stored/ (scores of `mmsemi reliability`)
    OUT/<name>/test/      config.py, test.log, run/ (metrics of `mmsemi test`)

What each one was made of stands in ``state.json`` (state.py).
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..cli.trainings import Training, run_trainings
from ..compat_checkpoints import find_last_checkpoint
from ..datasets.splits import ids_sha256
from ..errors import TrainingError
from ..structures import PSEUDO
from ..utils.files import file_sha256, write_beside
from ..utils.processes import end_with_parent
from ..visualization import report
from .label_files import LABELS, label_folders
from .labeling import THRESHOLDS
from .scoring import SCORES, read_scores
from .state import State, hash_of


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


class Stages:
    """Runs stages that are not done yet.

    Args:
        out: Folder of all.
        img_paths: The unlabelled images.
        ids: Their names.
        gpus: Processes of a training, a labelling and a scoring.
        threads: CPU threads of each.
    """

    def __init__(
        self, out: Path, img_paths: Sequence[str], ids: Sequence[str], gpus: int, threads: int
    ) -> None:
        self.out, self.gpus, self.threads = out, gpus, threads
        self.img_paths, self.name_of = list(img_paths), dict(zip(img_paths, ids))
        self.state = State(out)

    def train(self, asked: Sequence[tuple[str, Config, dict[str, Any]]]) -> list[dict[str, Any]]:
        """Trainings, side by side.

        Args:
            asked: Of each the name of its folder, its config, of which the paths of earlier stages do not
                count as inputs, and hashes of what these paths hold.

        Returns:
            Of each ``run``: folder of its checkpoints; ``checkpoint``: the last one.
        """
        made: dict[str, dict[str, Any]] = {}
        name_of: dict[Path, str] = {}
        trainings = []
        for name, config, made_of in asked:
            unpathed = copy.deepcopy(config)
            unpathed.load_from = None
            (unpathed.train_dataloader.dataset.get("sources") or {}).pop(PSEUDO, None)
            # As many processes have as many batches.
            inputs = dict(config=hash_of(_plain(unpathed)), gpus=self.gpus, **made_of)
            outputs = self.state.begin(f"{name}/train", inputs)
            if outputs is not None:
                made[name] = outputs
                continue
            folder = self.out / name / "train"
            _dump(config, folder / "config.py")
            name_of[folder / "run"] = name
            trainings.append(
                StageTraining(
                    config=str(folder / "config.py"),
                    work_dir=folder / "run",
                    options=[],
                    log=folder / "train.log",
                    gpus=self.gpus,
                )
            )
        # One that fails ends the others, which go on at the next call.
        with closing(run_trainings(trainings, len(trainings), self.threads)) as ended:
            for training in ended:
                name, run = name_of[training.work_dir], training.work_dir
                if training.exit_code:
                    lines = training.log.read_text(errors="replace").splitlines()[-5:]
                    raise TrainingError(
                        f"{name}: the training ended with exit code {training.exit_code}, see "
                        f"{training.log}: " + " / ".join(lines)
                    )
                outputs = dict(run=str(run), checkpoint=find_last_checkpoint(run))
                made[name] = self.state.end(f"{name}/train", outputs)
        return [made[name] for name, _, _ in asked]

    def label(
        self,
        name: str,
        config: Config,
        checkpoint: str,
        settings: dict[str, Any],
        img_paths: Sequence[str],
    ) -> dict[str, Any]:
        """Labels of images by a checkpoint.

        Returns:
            ``prefix``: their ``data_prefix``; ``labels_sha256``; ``admitted``: share of the pixels;
            ``classes``: those of ``thresholds.json``.
        """
        inputs = dict(
            checkpoint=file_sha256(checkpoint),
            model=_plain(config.model),
            settings=settings,
            images=ids_sha256(img_paths),
        )

        def work(folder: Path) -> dict[str, Any]:
            own = copy.deepcopy(config)
            own.self_training = dict(own.self_training, labels=settings)
            _dump(own, folder / "config.py")
            names = "\n".join(self.name_of[path] for path in img_paths) + "\n"
            write_beside(folder / "images.txt", lambda file: file.write(names.encode()))
            out = folder / "stored"
            arguments = ["pseudo-label", str(folder / "config.py"), checkpoint, str(out)]
            print(f"labelling {len(img_paths)} images into {out}", flush=True)
            code = self._call([*arguments, "--images", str(folder / "images.txt")])
            if not (out / THRESHOLDS).is_file():
                raise TrainingError(f"{out}: the labelling ended with exit code {code}")
            made = json.loads((out / THRESHOLDS).read_text())
            if made["unreadable"]:
                print(f"{name}: {len(made['unreadable'])} images have no label", flush=True)
            return dict(
                prefix=label_folders(out, self.img_paths),
                labels_sha256=_folder_sha256(out / LABELS),
                admitted=made["admitted"],
                classes=made["classes"],
            )

        return self.state.run(f"{name}/labels", inputs, work)

    def score(self, name: str, config: Config, checkpoints: Sequence[str]) -> dict[str, float]:
        """How stable each image is in several checkpoints of a training, by its id."""
        inputs = dict(
            checkpoints=[file_sha256(path) for path in checkpoints],
            images=ids_sha256(self.img_paths),
        )

        def work(folder: Path) -> dict[str, Any]:
            _dump(config, folder / "config.py")
            out = folder / "stored"
            code = self._call(["reliability", str(folder / "config.py"), str(out), *checkpoints])
            if not (out / SCORES).is_file():
                raise TrainingError(f"{out}: the scoring ended with exit code {code}")
            return dict(scores_sha256=file_sha256(out / SCORES))

        self.state.run(f"{name}/scores", inputs, work)
        return read_scores(self.out / name / "scores" / "stored" / SCORES)

    def test(self, name: str, config: Config, checkpoint: str, metric: str) -> float:
        """A metric of a checkpoint on the config's ``test_dataloader``."""
        keys = ("model", "test_dataloader", "test_evaluator", "test_cfg")
        settings = hash_of({key: _plain(config.get(key)) for key in keys})
        inputs = dict(config=settings, checkpoint=file_sha256(checkpoint), metric=metric)

        def work(folder: Path) -> dict[str, Any]:
            _dump(config, folder / "config.py")
            run = folder / "run"
            arguments = ["test", str(folder / "config.py"), checkpoint, "--work-dir", str(run)]
            code = self._call(arguments, folder / "test.log")
            found = sorted(run.glob("*/*.json"))
            metrics = json.loads(found[-1].read_text()) if found else {}
            if code or metric not in metrics:
                raise TrainingError(
                    f"{run}: the test ended with exit code {code} and has no {metric} (known: "
                    f"{', '.join(sorted(metrics))}): see self_training.metric"
                )
            return {"value": float(metrics[metric])}

        return self.state.run(f"{name}/test", inputs, work)["value"]

    def _call(self, arguments: list[str], log: Path | None = None) -> int:
        """Run a command of mmsemi in processes that end with this one; a log takes what they print."""
        command = [sys.executable, "-m", "mmsemi", *arguments]
        if self.gpus > 1:
            command = [*_launcher(self.gpus), *command[1:], "--launcher", "pytorch"]
        threads = str(self.threads)
        env = dict(os.environ, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        with open(log, "w") if log is not None else nullcontext() as out:
            process = subprocess.Popen(
                command, env=env, stdout=out, stderr=out, preexec_fn=end_with_parent
            )
            try:
                return process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def validations(run: str, metric: str) -> dict[int, float]:
    """A metric of the validations of a training, by their iteration."""
    scored: dict[int, float] = {}
    for path in sorted(Path(run).glob("*/vis_data/scalars.json")):
        scored.update(zip(*report.series(report.read_scalars(path), metric)))
    return scored


def _plain(config: Any) -> Any:
    return config.to_dict() if hasattr(config, "to_dict") else config


def _dump(config: Config, path: Path) -> None:
    text = config.pretty_text
    write_beside(path, lambda file: file.write(text.encode()))


def _folder_sha256(folder: Path) -> str:
    files = sorted(folder.rglob("*.png"))
    return hash_of([(str(path.relative_to(folder)), file_sha256(path)) for path in files])
