# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Copies a method's network during the training, and keeps the copies as files of the run.

Decisions:

- A copy is written when a checkpoint first lists it, as ``previous_networks/<sha256>.pth`` in the work
  dir. Eight networks in each checkpoint would be eight times its size; so each is written once.
- A resumed run reads the listed files from its own folder or from beside the checkpoint, and compares
  their hashes: it goes on with the very same networks or not at all.
- A file goes when no checkpoint of the run that is still there lists it.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import find_latest_checkpoint
from mmseg.registry import HOOKS

from ...compat_checkpoints import load_checkpoint_file
from ...errors import CheckpointError, ConfigError
from ...models.previous_networks import PreviousNetworks
from ..unwrap import unwrapped_model
from .atomic_checkpoint_hook import INTERRUPTED, replace_file

#: Where the list lives in a checkpoint, and the folder of the files.
CHECKPOINT_KEY = FOLDER = "previous_networks"
#: Copies of a training on the default schedule.
_COPIES = 20
_NEW_RUN = "to start a new run from its weights, set load_from and leave resume out"


@HOOKS.register_module()
class PreviousNetworksHook(Hook):
    """Fills ``model.previous``, a :class:`~mmsemi.models.previous_networks.PreviousNetworks`.

    When the network is copied is set by ``copies``, ``copy_every`` and ``copy_start`` of the method; it
    is always at the start of an iteration. Each checkpoint that a run can resume from lists the copies.

    Raises:
        ConfigError: The model keeps no earlier networks, or ``copies='val_best'`` and validations give no
            ``mIoU``.
        CheckpointError: A run resumes, and a file of its list is missing or has other content.
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None
        self._best_score = 0.0
        self._is_record = False
        # What each checkpoint of this run lists, by its iteration.
        self._listed: dict[int, list[str]] = {}

    # ---------------------------------------------------------------- copies

    def before_run(self, runner) -> None:
        """Refuse a model that the hook cannot serve."""
        model = unwrapped_model(runner)
        if not isinstance(getattr(model, "previous", None), PreviousNetworks):
            raise ConfigError(
                f"PreviousNetworksHook copies networks for PrevMatch, {type(model).__name__} keeps none: "
                "remove the hook from custom_hooks"
            )

    def before_train(self, runner) -> None:
        """Tell the model seed and length of the run, and bring back the networks of one that resumes."""
        model = unwrapped_model(runner)
        cfg, previous = model.settings, model.previous
        seed = [abs(int(runner.seed or 0))]
        broadcast_object_list(seed)  # with diff_rank_seed each process has one of its own
        previous.seed, previous.length = seed[0], runner.max_iters
        previous.copy_every = cfg.copy_every or max(1, runner.max_iters // _COPIES)
        stored, self._loaded = self._loaded, None
        if runner.iter == 0:
            return
        if stored is None:
            runner.logger.warning(
                "the checkpoint lists no earlier networks, it is of another method: the list starts "
                "empty, and the run continues, but not bit for bit"
            )
        else:
            self._restore(runner, stored)

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """Copy the network, if it is time."""
        model, iteration = unwrapped_model(runner), runner.iter
        cfg, previous = model.settings, model.previous
        is_due = iteration > 0 and iteration % previous.copy_every == 0
        if cfg.copies == "val_best":
            is_due, self._is_record = self._is_record, False
        if is_due and iteration >= cfg.copy_start:
            previous.add(model.network(), iteration, keep_backbone=_is_frozen(model))
            runner.logger.info(
                f"the network of iteration {iteration} is kept: {len(previous)} earlier ones"
            )

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Note whether the score is a record, for ``copies='val_best'``."""
        if unwrapped_model(runner).settings.copies != "val_best":
            return
        if "mIoU" not in (metrics or {}):
            raise ConfigError(
                f"model.copies='val_best' compares mIoU, and the validation gives "
                f"{', '.join(metrics or {}) or 'nothing'}: set val_evaluator=dict(type='IoUMetric'), or "
                "model.copies='fixed'"
            )
        if metrics["mIoU"] > self._best_score:
            self._best_score, self._is_record = float(metrics["mIoU"]), True

    # ---------------------------------------------------------------- files

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """List the copies where the optimiser's state is, too, and write those that have no file."""
        if "optimizer" not in checkpoint:
            return
        previous, folder = unwrapped_model(runner).previous, Path(runner.work_dir) / FOLDER
        for member in previous.members:
            if not member.sha256:
                buffer = io.BytesIO()
                torch.save({k: v.cpu() for k, v in member.net.state_dict().items()}, buffer)
                member.sha256 = _write(folder, buffer.getvalue())
        members = [dict(iteration=one.iteration, sha256=one.sha256) for one in previous.members]
        self._remove_unlisted(runner, folder, {one["sha256"] for one in members})
        self._listed[checkpoint["meta"]["iter"]] = [one["sha256"] for one in members]
        checkpoint[CHECKPOINT_KEY] = dict(
            seed=previous.seed,
            members=members,
            listed=self._listed,
            best_score=self._best_score,
            is_record=self._is_record,
        )

    def _remove_unlisted(self, runner, folder: Path, current: set[str]) -> None:
        """Remove files that only checkpoints list which are no longer there."""
        hook = next((one for one in runner.hooks if isinstance(one, CheckpointHook)), None)
        if hook is None:
            return
        gone = {}
        for iteration, hashes in self._listed.items():
            name = hook.filename_tmpl.format(iteration)
            paths = [
                hook.file_backend.join_path(hook.out_dir, f"{x}{name}") for x in ("", INTERRUPTED)
            ]
            if not any(map(hook.file_backend.exists, paths)):
                gone[iteration] = hashes
        for iteration in gone:
            del self._listed[iteration]
        needed = current.union(*self._listed.values())
        for sha256 in set().union(*gone.values()) - needed:
            (folder / f"{sha256}.pth").unlink(missing_ok=True)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the list until the run really resumes."""
        self._loaded = checkpoint.get(CHECKPOINT_KEY)

    def _restore(self, runner, stored: dict[str, Any]) -> None:
        name = str(runner._load_from or find_latest_checkpoint(runner.work_dir))
        own, beside = Path(runner.work_dir), Path(name).parent
        members, listed = _checked(stored, name)
        model = unwrapped_model(runner)
        model.previous.seed = stored["seed"]
        self._best_score, self._is_record = stored["best_score"], stored["is_record"]
        # Of a run in another folder only the files are this run's, not its checkpoints.
        self._listed = listed if beside == own else {}
        for member in members:
            content = _read(name, member, [own / FOLDER, beside / FOLDER])
            net = copy.deepcopy(model.network())
            try:
                net.load_state_dict(load_checkpoint_file(io.BytesIO(content), map_location="cpu"))
            except RuntimeError:
                raise CheckpointError(
                    f"{FOLDER}/{member['sha256']}.pth, which {name} lists, is no network of this "
                    f"config: resume with the config that wrote it, or, {_NEW_RUN}"
                ) from None
            if _is_frozen(model):
                net.backbone = model.network().backbone
            model.previous.add(net, **member, keep_backbone=_is_frozen(model))
            if is_main_process():
                _write(own / FOLDER, content)


def _is_frozen(model: Any) -> bool:
    """Whether all networks have one encoder that is not trained."""
    return getattr(model.settings, "frozen_encoder", False)


def _read(name: str, member: dict[str, Any], folders: list[Path]) -> bytes:
    """The file of a copy that a checkpoint lists, from the first folder that has it."""
    sha256 = member["sha256"]
    path = next((p for one in folders if (p := one / f"{sha256}.pth").is_file()), None)
    if path is None:
        raise CheckpointError(
            f"{folders[0] / sha256}.pth is missing: {name} lists it as the network of iteration "
            f"{member['iteration']}. Put it there from where the run was, or, {_NEW_RUN}"
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            f"{path} is not what its name says: it has been changed or cut off since it was written. "
            f"Bring back the file that {name} lists, or, {_NEW_RUN}"
        )
    return content


def _write(folder: Path, content: bytes) -> str:
    """Store content under its hash; a kill at any moment leaves the whole file or none."""
    sha256 = hashlib.sha256(content).hexdigest()
    final = folder / f"{sha256}.pth"
    if not final.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{sha256}.pth.tmp"
        temporary.write_bytes(content)
        replace_file(os.fspath(temporary), os.fspath(final))
    return sha256


def _checked(stored: Any, name: str) -> tuple[list[dict], dict[int, list[str]]]:
    """The list of a checkpoint; its hashes become file names."""
    try:
        listed = {int(key): list(value) for key, value in stored["listed"].items()}
        hashes = [one["sha256"] for one in stored["members"]] + sum(listed.values(), [])
        is_known = all(re.fullmatch("[0-9a-f]{64}", one) for one in hashes)
        is_known &= all(one.keys() == {"iteration", "sha256"} for one in stored["members"])
        is_known &= isinstance(stored["seed"], int) and isinstance(stored["best_score"], float)
    except (AttributeError, KeyError, TypeError, ValueError):
        is_known = False
    if not is_known:
        raise CheckpointError(
            f"{name} lists earlier networks in a form that this version does not know: resume with the "
            f"version of mmsemi that wrote it, or, {_NEW_RUN}"
        )
    return stored["members"], listed
