# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a run leaves below its work dir, and reading it back for reports.

``<work_dir>/<timestamp>/vis_data`` holds mmengine's ``scalars.json`` and ``config.py``, and from us

- ``run.json``: command, environment, seeds, data, where the training began;
- ``validation.json`` and ``examples/*.jpg``: confusion matrix, score of each image, the best and the
  worst ones, of the last validation;
- ``pseudo_labels/iter_<N>.png``, ``findings.jsonl``: of their hooks, where these are on.

A resumed training has a folder of its own: the folders that make up one run are read as one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import DataError
from .report import read_scalars

RUN, VALIDATION, FINDINGS = "run.json", "validation.json", "findings.jsonl"
EXAMPLES, PSEUDO_LABELS = "examples", "pseudo_labels"


@dataclass
class RunFiles:
    """What is known of one run.

    Attributes:
        work_dir: Its folder.
        folders: ``vis_data`` folders of the training and of those that it resumed, oldest first.
        records: Logged numbers, a dictionary for each step and kind of record, by step; of what was
            logged twice the last value counts.
        starts: Iteration at which each folder's training began.
    """

    work_dir: Path
    folders: list[Path]
    records: list[dict]
    starts: list[int] = field(default_factory=list)

    @cached_property
    def info(self) -> dict[str, Any]:
        """The newest ``run.json``; empty for runs without."""
        return self._newest_json(RUN) or {}

    @cached_property
    def validation(self) -> dict[str, Any]:
        """The newest ``validation.json``; empty for runs without."""
        return self._newest_json(VALIDATION) or {}

    @property
    def examples(self) -> Path:
        """Folder of the pictures that :attr:`validation` names."""
        return self._newest(VALIDATION).parent / EXAMPLES

    @cached_property
    def findings(self) -> list[dict]:
        """The warnings of the run, in the order in which they were found."""
        return [
            finding
            for number, folder in enumerate(self.folders)
            if (folder / FINDINGS).is_file()
            for finding in read_scalars(folder / FINDINGS)
            if not self._is_repeated(number, int(finding.get("step", 0)))
        ]

    @cached_property
    def pseudo_labels(self) -> list[tuple[int, Path]]:
        """(iteration, picture), by iteration."""
        found: dict[int, Path] = {}
        for number, folder in enumerate(self.folders):
            for path in (folder / PSEUDO_LABELS).glob("iter_*.png"):
                text = path.stem.removeprefix("iter_")
                if text.isdigit() and not self._is_repeated(number, int(text)):
                    found[int(text)] = path
        return sorted(found.items())

    @cached_property
    def config_text(self) -> str:
        """The config with all that it inherits and all options, '' if it was not kept."""
        path = self._newest("config.py")
        return path.read_text() if path else ""

    def _is_repeated(self, number: int, step: int) -> bool:
        """Whether a later folder went through this step of a folder again."""
        return any(step > start for start in self.starts[number + 1 :])

    def _newest(self, name: str) -> Path | None:
        paths = [folder / name for folder in self.folders if (folder / name).is_file()]
        return paths[-1] if paths else None

    def _newest_json(self, name: str) -> dict | None:
        path = self._newest(name)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise DataError(f"'{path}' is no JSON ({error}): remove it") from None
        if not isinstance(content, dict):
            raise DataError(f"'{path}' is no JSON object: remove it")
        return content


def run_folders(work_dir: str | Path) -> list[Path]:
    """The ``vis_data`` folders of all trainings in a work dir, oldest first."""
    # Folders are named by time stamps: they sort by time, whatever a copy did to file dates.
    return sorted(path.parent for path in Path(work_dir).glob("*/vis_data/scalars.json"))


def read_run(work_dir: str | Path) -> RunFiles:
    """Read the last run of a work dir, with those that it resumed.

    Raises:
        DataError: There is no such folder, or no run in it.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise DataError(f"there is no folder '{work_dir}'")
    folders = run_folders(work_dir)
    if not folders:
        below = sorted({path.parents[2] for path in work_dir.glob("**/vis_data/scalars.json")})
        hint = f": give {' '.join(map(str, below[:3]))}" if below else ""
        raise DataError(
            f"there is no run in '{work_dir}' (no <timestamp>/vis_data/scalars.json){hint}"
        )
    logs = [read_scalars(folder / "scalars.json") for folder in folders]
    starts = _starts(folders, logs)
    # A training that began anew is another run than the ones before it in the same folder.
    first = max(number for number, start in enumerate(starts) if start == 0 or number == 0)
    run = RunFiles(work_dir, folders[first:], [], starts[first:])
    found: dict[tuple[int, bool], dict] = {}
    for number, log in enumerate(logs[first:]):
        for record in log:
            step = int(record.get("step", record.get("iter", 0)))
            if not run._is_repeated(number, step):
                found.setdefault((step, "iter" in record), {}).update(record)
    run.records = [found[key] for key in sorted(found)]
    return run


def _starts(folders: Sequence[Path], logs: Sequence[Sequence[dict]]) -> list[int]:
    """The iteration at which each training began: 0, or that of the checkpoint that it resumed."""
    starts: list[int] = []
    first_steps: list[int] = []
    for folder, log in zip(folders, logs):
        steps = [int(record["step"]) for record in log if "step" in record]
        first = min(steps, default=0)
        path = folder / RUN
        if path.is_file():
            starts.append(int(json.loads(path.read_text()).get("start_iter", 0)))
        else:  # a run of before there was a run.json: a later one starts later in its log
            is_resumed = bool(first_steps) and first > min(first_steps)
            starts.append(first - 1 if is_resumed else 0)
        first_steps.append(first)
    return starts
