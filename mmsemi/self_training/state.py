# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Stages of a self-training, each a function of recorded inputs with a folder of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..utils.files import file_sha256, write_beside

FILE = "state.json"


def hash_of(value: Any) -> str:
    """Hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


class State:
    """``state.json``: what each stage was made of, and what it made.

    A stage that ended with the same inputs is not done again. One that was cut off goes on in its folder.
    One whose inputs have changed starts anew, and so do those that depend on what it makes.

    Args:
        folder: Of the whole self-training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self.stages: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            try:
                self.stages = json.loads(self.path.read_text())["stages"]
            except (ValueError, KeyError) as error:
                raise DataError(
                    f"'{self.path}' cannot be read ({error}): remove '{folder}'"
                ) from error

    def run(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]]
    ) -> dict[str, Any]:
        """The outputs of a stage.

        Args:
            name: Its folder.
            inputs: What its outputs depend on.
            work: Does it in its folder.
        """
        outputs = self.begin(name, inputs)
        return self.end(name, work(self.folder / name)) if outputs is None else outputs

    def begin(self, name: str, inputs: dict[str, Any]) -> dict[str, Any] | None:
        """The outputs of a stage that has ended; otherwise None, and it is to be done in its folder."""
        key, folder, known = hash_of(inputs), self.folder / name, self.stages.get(name)
        if known is not None and known["inputs"] != key:
            print(f"{name}: its inputs have changed, it is done again", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            known = None
        if known is not None and known.get("outputs") and self._is_intact(known["outputs"]):
            return known["outputs"]
        self._record(name, dict(inputs=key, outputs=None))
        folder.mkdir(parents=True, exist_ok=True)
        return None

    def end(self, name: str, outputs: dict[str, Any]) -> dict[str, Any]:
        """Record what a stage made; of outputs whose key ends with ``checkpoint``, the file is hashed."""
        for entry in [entry for entry in outputs if entry.endswith("checkpoint")]:
            outputs[f"{entry}_sha256"] = file_sha256(outputs[entry])
        self._record(name, dict(self.stages[name], outputs=outputs))
        return outputs

    @staticmethod
    def _is_intact(outputs: dict[str, Any]) -> bool:
        for entry, digest in outputs.items():
            if entry.endswith("checkpoint_sha256"):
                path = Path(outputs[entry.removesuffix("_sha256")])
                if not path.is_file() or file_sha256(path) != digest:
                    return False
        return True

    def _record(self, name: str, stage: dict[str, Any]) -> None:
        self.stages[name] = stage
        text = json.dumps(dict(stages=self.stages), indent=1) + "\n"
        write_beside(self.path, lambda file: file.write(text.encode()))
