# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checkpoints that a kill at any moment cannot damage, and that damage no other run.

Order of a save: write ``iter_N.pth.tmp``, flush it to disk, rename it, point ``last_checkpoint`` to
it, and only then remove the checkpoint that is no longer kept. Best checkpoints do the same.

A checkpoint says where the files of its run lay. The run that resumes from it may be another one, or in
another folder, so those names stand for the files of these names in its own folder: only these go.
"""

from __future__ import annotations

import os
import os.path as osp
from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatch
from glob import escape, glob
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import HardDiskBackend, LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop
from mmseg.registry import HOOKS

from ...datasets.sources import unwrap
from ...errors import ConfigError
from ..plateau import follows_validation

#: Where the message hub holds the split that the network at hand was trained on, None if unknown.
SPLIT_KEY = "checkpoint_split"
WORK_DIR_KEY = "work_dir"

#: How the names of the extra checkpoints of interruptions begin.
INTERRUPTED = "interrupted_"
_SUFFIX = ".tmp"
#: Where the message hub holds the names of best checkpoints that are about to go.
_OUTDATED_BEST = "outdated_best_ckpts"


def replace_file(temporary: str, final: str) -> None:
    """Rename a finished file; a power failure finds the old one or the new one, both whole."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, final)
    directory = os.open(osp.dirname(osp.abspath(final)), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _seen_from(folder: str, path: str) -> str:
    """A path for a pointer in ``folder``: relative if it lies in there, so that both can be moved."""
    if osp.dirname(osp.abspath(path)) == osp.abspath(folder):
        return osp.basename(path)
    return path


def _check_counting(loop: BaseLoop, by_epoch: bool) -> None:
    """Refuse a run that would reach neither the end of an epoch nor, before its own end, a checkpoint."""
    loader = loop.dataloader
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    endless = isinstance(sampler, InfiniteSampler) or getattr(sampler, "epoch_length", 0) is None
    if isinstance(loop, EpochBasedTrainLoop) and endless:
        raise ConfigError(
            f"train_cfg.type='{type(loop).__name__}', but train_dataloader.sampler="
            f"'{type(sampler).__name__}' never ends an epoch: use train_cfg="
            f"dict(type='SemiIterBasedTrainLoop', epochs={loop.max_epochs}), which counts passes over "
            "a source, and checkpoint.by_epoch=False"
        )
    if isinstance(loop, IterBasedTrainLoop) and by_epoch:
        raise ConfigError(
            "default_hooks.checkpoint.by_epoch=True, but the run counts iterations and would have no "
            "checkpoint before its end: set by_epoch=False"
        )


def _split_info(runner) -> dict | None:
    """The training set's own account of its split, if it gives one."""
    loader = getattr(runner.train_loop, "dataloader", None)
    return getattr(unwrap(getattr(loader, "dataset", None)), "split_info", None)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` that writes beside and renames; the same arguments.

    Without an ``interval`` it stores at each validation. At every moment ``last_checkpoint`` names a
    complete file, and the best checkpoint stays until the next best one is complete. Rests of an
    interrupted save (``*.pth.tmp``) are ignored when resuming and removed. Storage other than the local file system is written as mmengine does.

    Args:
        interval: Iterations (or epochs) between checkpoints.
        keep: Iterations (or epochs) whose checkpoints are written and stay, beside the last
            ``max_keep_ckpts`` others, such as the one that a paper evaluates.
        kwargs: Of mmengine's hook.
    """

    def __init__(
        self, interval: int | None = None, keep: Sequence[int] = (), **kwargs: Any
    ) -> None:
        super().__init__(interval, **kwargs)
        self.keep = frozenset(keep)

    def every_n_train_iters(self, runner, n: int, start: int = 0) -> bool:
        """Whether this iteration has a checkpoint."""
        return runner.iter + 1 in self.keep or super().every_n_train_iters(runner, n, start)

    def every_n_epochs(self, runner, n: int, start: int = 0) -> bool:
        """Whether this epoch has a checkpoint."""
        return runner.epoch + 1 in self.keep or super().every_n_epochs(runner, n, start)

    def before_run(self, runner) -> None:
        """Tell metrics the work dir, also in a test."""
        runner.message_hub.update_info(WORK_DIR_KEY, runner.work_dir, resumed=False)

    def before_train(self, runner) -> None:
        """Prepare the folder and remove the rests of an interrupted save."""
        _check_counting(runner.train_loop, self.by_epoch)
        if self.interval is None:
            self.interval = runner.val_interval
        end = runner.max_epochs if self.by_epoch else runner.max_iters
        if any(not 0 < step <= end for step in self.keep):
            raise ConfigError(
                f"default_hooks.checkpoint.keep={sorted(self.keep)}: the training ends at {end}; name "
                "none beyond it, or [] for none"
            )
        # What the stock hook removes by these is a file of this run, whatever the checkpoint says.
        hub = runner.message_hub
        kept = hub.get_info("keep_ckpt_ids", None)
        if kept is not None:
            hub.update_info(
                "keep_ckpt_ids",
                [step for step in kept if type(step) is int and step not in self.keep],
            )
        super().before_train(runner)
        for indicator in self.key_indicators if self.save_best else ():
            if self._get_best(indicator) is not None:
                own = self._own_file(self._get_best(indicator), "best_*.pth")
                self._set_best_path(runner, indicator, own)
        self._compare_split(runner)
        # What a validation within this training measures was trained on this split.
        runner.message_hub.update_info(SPLIT_KEY, _split_info(runner))
        # Stock: forgotten at resume, and with it the duty to store a new best score at once.
        last = hub.get_info("last_ckpt", None)
        self.last_ckpt = None if last is None else self._own_file(last, "*.pth")
        self._remove_outdated_best(runner)
        if not (self._is_local() and is_main_process()):
            return
        rests = glob(osp.join(escape(str(self.out_dir)), f"*.pth{_SUFFIX}"))
        for path in [*rests, osp.join(runner.work_dir, f"last_checkpoint{_SUFFIX}")]:
            if osp.isfile(path):
                os.remove(path)
                runner.logger.info(f"{path} was left by an interrupted save and is removed")

    def _own_file(self, path: object, pattern: str) -> str | None:
        """The file of this name in the run's own folder, None for a name of another kind."""
        name = str(path).replace("\\", "/").rsplit("/", 1)[-1]
        return self.file_backend.join_path(self.out_dir, name) if fnmatch(name, pattern) else None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note in ``meta['split']`` which images were trained on: name, counts and hashes."""
        info = _split_info(runner)
        if info is not None:
            checkpoint["meta"]["split"] = info

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the split for metrics, and until it is known whether the run resumes."""
        self._loaded_split = checkpoint.get("meta", {}).get("split")
        runner.message_hub.update_info(SPLIT_KEY, self._loaded_split)

    def _compare_split(self, runner) -> None:
        stored, info = getattr(self, "_loaded_split", None), _split_info(runner)
        if runner.iter > 0 and None not in (stored, info) and stored != info:
            runner.logger.warning(
                f"the run resumes on other images: the checkpoint was trained on split "
                f"{stored['name']} ({stored['labeled']} labelled, {stored['unlabeled']} "
                f"unlabelled), this config has {info['name']} ({info['labeled']} labelled, "
                f"{info['unlabeled']} unlabelled)"
            )

    def _is_local(self) -> bool:
        return isinstance(self.file_backend, (LocalBackend, HardDiskBackend))

    def _write(self, runner, filename: str, **kwargs: Any) -> None:
        """Every process calls it; the main process writes."""
        kwargs |= {"file_client_args": self.file_client_args, "backend_args": self.backend_args}
        if not self._is_local():
            runner.save_checkpoint(self.out_dir, filename, **kwargs)
            return
        final = osp.join(str(self.out_dir), filename)
        try:
            runner.save_checkpoint(self.out_dir, filename + _SUFFIX, **kwargs)
            if is_main_process():
                replace_file(final + _SUFFIX, final)
        except BaseException:
            # For instance a full disk: make room for what the user does next.
            if is_main_process() and osp.isfile(final + _SUFFIX):
                os.remove(final + _SUFFIX)
            raise

    def _remove(self, runner, path: str, what: str) -> None:
        if not is_main_process():
            return
        if not self.file_backend.isfile(path):
            return
        self.file_backend.remove(path)
        runner.logger.info(f"the {what} {path} is removed")

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        outdated: list[int] = []
        if self.max_keep_ckpts > 0 and step not in self.keep:
            kept = [kept_step for kept_step in self.keep_ckpt_ids if kept_step != step] + [step]
            # The checkpoint still lists those about to go: a run that is killed before they are
            # removed leaves them to the resumed run, which then removes them (stock before_train).
            runner.message_hub.update_info("keep_ckpt_ids", kept)
            outdated = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        self._write(
            runner,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        self._point_to(runner, self.last_ckpt)
        for path in glob(osp.join(escape(str(self.out_dir)), f"{INTERRUPTED}*.pth")):
            self._remove(runner, path, "checkpoint of an interruption")
        for old_step in outdated:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old_step))
            self._remove(runner, path, "outdated checkpoint")
        if outdated:
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))

    @staticmethod
    def _point_to(runner, path: str) -> None:
        """Make ``--resume`` go on from this checkpoint."""
        if is_main_process():
            pointer = osp.join(runner.work_dir, "last_checkpoint")
            with open(pointer + _SUFFIX, "w") as file:
                file.write(_seen_from(runner.work_dir, str(path)))
            replace_file(pointer + _SUFFIX, pointer)

    def save_interrupted(self, runner) -> None:
        """An extra checkpoint of a run that ends early, unless its iteration has a regular one.

        It does not count for ``max_keep_ckpts``, and goes when a later regular one is complete.
        """
        filename = self.filename_tmpl.format(runner.iter)
        regular = self.file_backend.join_path(self.out_dir, filename)
        exists = [
            osp.basename(str(self.last_ckpt)) == filename and self.file_backend.exists(regular)
        ]
        broadcast_object_list(exists)
        if exists[0]:
            return
        self._write(
            runner,
            INTERRUPTED + filename,
            save_optimizer=True,
            save_param_scheduler=True,
            meta=dict(epoch=runner.epoch, iter=runner.iter),
            by_epoch=False,
            **self.args,
        )
        path = self.file_backend.join_path(self.out_dir, INTERRUPTED + filename)
        self._point_to(runner, path)
        for other in glob(osp.join(escape(str(self.out_dir)), f"{INTERRUPTED}*.pth")):
            if osp.basename(other) != osp.basename(path):
                self._remove(runner, other, "checkpoint of an earlier interruption")

    def _remove_outdated_best(self, runner) -> None:
        """Former best checkpoints; a run that was killed before leaves it to the resumed one."""
        names = runner.message_hub.get_info(_OUTDATED_BEST, [])
        for name in names if isinstance(names, list) else ():
            path = self._own_file(name, "best_*.pth")
            if path is not None:
                self._remove(runner, path, "previous best checkpoint")
        if names:
            runner.message_hub.update_info(_OUTDATED_BEST, [])

    def _get_best(self, indicator: str) -> str | None:
        if len(self.key_indicators) == 1:
            return self.best_ckpt_path
        return self.best_ckpt_path_dict[indicator]

    def _set_best(self, runner, indicator: str, path: str, score: float) -> None:
        suffix = "" if len(self.key_indicators) == 1 else f"_{indicator}"
        self._set_best_path(runner, indicator, path)
        runner.message_hub.update_info(f"best_score{suffix}", score)

    def _set_best_path(self, runner, indicator: str, path: str | None) -> None:
        suffix = "" if len(self.key_indicators) == 1 else f"_{indicator}"
        if suffix:
            self.best_ckpt_path_dict[indicator] = path
        else:
            self.best_ckpt_path = path
        runner.message_hub.update_info(f"best_ckpt{suffix}", path)

    def _best_score(self, runner, indicator: str, rule: str) -> float:
        suffix = "" if len(self.key_indicators) == 1 else f"_{indicator}"
        return runner.message_hub.get_info(f"best_score{suffix}", self.init_value_map[rule])

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if self.save_best and "auto" in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        position = runner.epoch if self.by_epoch else runner.iter
        unit = "epoch" if self.by_epoch else "iter"
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        outdated: list[str] = []
        updated = False
        for indicator, rule in zip(self.key_indicators, self.rules) if self.save_best else ():
            if indicator not in metrics:
                # A further network of TeacherStudentValLoop is not evaluated each time.
                if "/" in indicator and indicator.split("/", 1)[1] in metrics:
                    continue
                raise ConfigError(
                    f"save_best='{indicator}' is none of the metrics {', '.join(metrics)}"
                )
            score = metrics[indicator]
            best_score = self._best_score(runner, indicator, rule)
            if score is None or not self.is_better_than[indicator](score, best_score):
                continue
            updated = True
            previous = self._get_best(indicator)
            filename = f"best_{indicator}_{self.filename_tmpl.format(position)}".replace("/", "_")
            path = self.file_backend.join_path(self.out_dir, filename)
            self._set_best(runner, indicator, path, score)
            self._write(
                runner,
                filename,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=False,
            )
            runner.logger.info(
                f"The best checkpoint with {score:0.4f} {indicator} at {position} {unit} is saved "
                f"to {filename}."
            )
            if previous and previous != path:
                outdated.append(osp.basename(previous))
        # The checkpoint to resume from was written before this validation: write it again, so that
        # it knows the new best one (the old best one goes only then), and what a schedule or early
        # stopping made of the metrics.
        if outdated:
            runner.message_hub.update_info(_OUTDATED_BEST, outdated)
        latest = osp.join(str(self.out_dir), self.filename_tmpl.format(position))
        outruns = str(self.last_ckpt) == latest and follows_validation(runner)
        if self.last_ckpt is not None and (updated or outruns):
            self._save_checkpoint_with_step(runner, position, meta)
        self._remove_outdated_best(runner)
