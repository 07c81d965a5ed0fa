# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Iteration-based training that resumes exactly, and at once.

Decisions:

- The loader's iterator (its workers and their prefetching) is created when the position is known.
  The stock loop creates it in its constructor, before the checkpoint is read, and then reads and
  throws away every sample of the finished iterations.
- A sampler with ``skip(num_samples)`` is told where to start; nothing is read. Other samplers are
  advanced the stock way, with a warning.
- Random states are restored after the workers have started and shielded from validations, so the
  numbers that a training step draws depend on nothing but the steps before it.
- Each validation counts once: one that an interruption cut off is made up for at resume, one that is
  in the checkpoint is not repeated. Best checkpoints, schedules and early stopping are then those of
  an undisturbed run.
- Hooks that the model needs are registered here: ``custom_hooks`` of a child config replaces that
  of its base, and a teacher without its hook would silently stay where it is. For the same reason
  a model may check its optimisers (``check_optim_wrapper``).
- The length of the run is one value. What follows from it (ends of schedules, validations,
  checkpoints, pictures) is filled in here, before anything of it is built: see :mod:`.run_length`.
- A work dir belongs to one run at a time (:mod:`..run_lock`), and a signal ends the run between two
  iterations with a checkpoint (:mod:`..interruption`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.dist import broadcast
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, IterBasedTrainLoop, find_latest_checkpoint
from mmengine.runner.utils import calc_dynamic_intervals
from mmseg.registry import HOOKS, LOOPS
from torch import nn
from torch.utils.data import DataLoader, Sampler

from ...datasets.checks import check_at_start
from ...datasets.pipelines import insert_mask_checks
from ...errors import ConfigError, Interrupted
from ...utils.config_keys import check_config_keys
from ..hooks.invalid_loss_hook import InvalidLossHook
from ..hooks.random_state_hook import RandomStateHook
from ..hooks.resume_hook import ResumeHook
from ..interruption import Interruption, shield_workers, start_workers
from ..optim import has_stepped
from ..run_lock import RunLock
from ..summary import log_summary
from ..unwrap import unwrapped_model
from .run_length import (
    complete_schedulers,
    count_iterations,
    ends_elsewhere,
    fill_base_batch_size,
    fill_batch_size,
    iterations_of,
)

#: Where the message hub holds the iteration of the last validation that began. A checkpoint that was
#: written before the validation of its iteration holds an earlier one.
_VALIDATED_KEY = "last_validated_iter"


@LOOPS.register_module()
class SemiIterBasedTrainLoop(IterBasedTrainLoop):
    """mmengine's ``IterBasedTrainLoop`` with exact and immediate resuming, and one value for its length.

    Before training it refuses data that no training should start with, such as missing files,
    validation images, or another number of classes than the model's (:func:`~mmsemi.datasets.checks.check_at_start`). A resumed run first makes up
    for the validation of its checkpoint, unless the checkpoint knows its outcome. Ctrl-C or SIGTERM
    end it with an extra checkpoint and exit code 130 or 143.

    Filled in where the config does not set it: ``by_epoch``, ``end`` and ``T_max`` of the parameter
    schedulers; ``interval`` of hooks where it is ``None`` (checkpoints and pictures: the validations);
    ``model.data_preprocessor.size`` from the ``crop_size`` of the data set; the loader's ``batch_size``
    from ``sampler.num_per_source``; ``auto_scale_lr.base_batch_size`` from ``base_labeled`` there.

    Args:
        runner: The runner.
        dataloader: The training loader or its config.
        max_iters: Training iterations; or
        epochs: Passes over a source; each process draws ceil(images / processes) in one, and a last batch
            that would be incomplete is left out.
        epoch_of: The source that ``epochs`` counts; ``None``: ``'unlabeled'`` if it is drawn from, else
            ``'labeled'``.
        val_begin: First iteration after which to validate.
        val_interval: Iterations between validations.
        num_validations: Where ``val_interval`` is ``None``: it is ``max_iters / num_validations``.
        dynamic_intervals: Pairs (milestone, interval) that change ``val_interval``.

    Raises:
        ConfigError: The length is missing, given twice or no positive whole number, a scheduler counts
            epochs, ``batch_size`` is not what the sampler's counts add up to, or another run that
            lives uses the work dir.
        Interrupted: A signal has ended the run.
    """

    def __init__(
        self,
        runner,
        dataloader: DataLoader | dict,
        max_iters: int | None = None,
        epochs: float | None = None,
        epoch_of: str | None = None,
        val_begin: int = 1,
        val_interval: int | None = None,
        num_validations: float = 10,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ) -> None:
        check_config_keys(runner.cfg)  # here, since the stock tools read the config themselves
        fill_batch_size(dataloader)
        # Not the parent's constructor: it would start the loader before the position is known.
        BaseLoop.__init__(self, runner, dataloader)
        dataset = self.dataloader.dataset
        self._max_iters = count_iterations(max_iters, epochs, epoch_of, dataset, self.sampler)
        self._max_epochs = 1
        self._epoch = 0
        self._iter = 0
        self.val_begin = val_begin
        if val_interval is None:
            val_interval = max(1, int(self._max_iters / num_validations))
        self.val_interval = val_interval
        self.stop_training = False
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(
            val_interval, dynamic_intervals
        )
        self.dataloader_iterator: Iterator | None = None
        self._num_passes = 0
        self.interruption = Interruption()
        self._lock = RunLock(runner.work_dir)
        metainfo = getattr(dataset, "metainfo", None)
        if metainfo is not None:
            runner.visualizer.dataset_meta = metainfo
        self._check_sampler()
        self.random_state_hook = self._ensure_hook({"type": RandomStateHook})
        self._ensure_hook({"type": ResumeHook})
        self._ensure_hook({"type": InvalidLossHook})
        model = unwrapped_model(runner)
        for config in getattr(model, "required_hooks", list)():
            self._ensure_hook(config, model)
        # Here and not in the model's train_step, which stock DDP does not call.
        if hasattr(model, "check_optim_wrapper"):
            model.check_optim_wrapper(runner.optim_wrapper)
        self._complete_settings(model)

    def _complete_settings(self, model: nn.Module) -> None:
        """Fill in what follows from the run's length, the crop and the counts of a batch."""
        runner = self.runner
        for text in ends_elsewhere(runner.param_schedulers, self._max_iters):
            runner.logger.warning(
                f"param_scheduler: {text}, the run at {self._max_iters}: without `end` it ends with it"
            )
        runner.param_schedulers = complete_schedulers(runner.param_schedulers, self._max_iters)
        for hook in runner.hooks:
            if getattr(hook, "interval", 0) is None:
                hook.interval = self.val_interval
        fill_base_batch_size(runner.auto_scale_lr, getattr(self.sampler, "num_per_source", {}))
        crop_size = getattr(self.dataloader.dataset, "crop_size", None)
        preprocessor = getattr(model, "data_preprocessor", None)
        if crop_size is not None and getattr(preprocessor, "size", 0) is None:
            preprocessor.size = tuple(crop_size)

    def iterations_of(self, passes: float, source: str) -> int:
        """Iterations of passes over a source.

        Raises:
            ConfigError: The training set has no such source that is drawn from.
        """
        if source not in getattr(self.sampler, "num_per_source", ()):
            raise ConfigError(
                f"passes over the source '{source}' are counted, and "
                f"train_dataloader.sampler.num_per_source does not draw from it"
            )
        return iterations_of(passes, source, self.dataloader.dataset, self.sampler)

    @property
    def sampler(self) -> Sampler:
        """The sampler that decides which samples the loader reads."""
        return getattr(self.dataloader.batch_sampler, "sampler", self.dataloader.sampler)

    def _check_sampler(self) -> None:
        sampler, loader_size = self.sampler, self.dataloader.batch_sampler.batch_size
        sampler_size = getattr(sampler, "batch_size", loader_size)
        if sampler_size != loader_size:
            counts = getattr(sampler, "num_per_source", None)
            named = f" ({', '.join(f'{k}: {v}' for k, v in counts.items())})" if counts else ""
            raise ConfigError(
                f"train_dataloader.batch_size={loader_size}, but sampler.num_per_source adds up to "
                f"{sampler_size}{named}: set train_dataloader.batch_size={sampler_size} or change "
                "the counts"
            )
        if getattr(sampler, "epoch_length", None) is not None:
            raise ConfigError(
                f"train_dataloader.sampler.epoch_length={sampler.epoch_length} is for epoch-based "
                "loops: remove it, SemiIterBasedTrainLoop needs a sampler that never ends"
            )

    def _ensure_hook(self, config: dict, model: nn.Module | None = None) -> Hook:
        """The registered hook of the type in ``config``; registers it if there is none."""
        config = dict(config)
        hook_type = config["type"]
        hook_class = HOOKS.get(hook_type) if isinstance(hook_type, str) else hook_type
        for hook in self.runner.hooks:
            if hook_class is not None and isinstance(hook, hook_class):
                return hook
        priority = config.pop("priority", None)
        hook = HOOKS.build(config)
        self.runner.register_hook(hook, priority)
        if model is not None:
            self.runner.logger.info(
                f"{type(hook).__name__} is registered: {type(model).__name__} needs it"
            )
        return hook

    def sampler_state(self) -> dict[str, Any]:
        """What a resumed run must know of the sampler besides its position."""
        sampler = self.sampler
        if hasattr(sampler, "state_dict"):
            return sampler.state_dict()
        seed = getattr(sampler, "seed", None)
        return {"seed": seed} if isinstance(seed, int) else {}

    def _load_sampler_state(self, state: dict[str, Any]) -> None:
        sampler = self.sampler
        if not state:
            return
        if hasattr(sampler, "load_state_dict"):
            sampler.load_state_dict(state)
        elif hasattr(sampler, "seed"):
            # mmengine's samplers read their seed when the first sample is drawn.
            sampler.seed = state["seed"]

    def _start_loader(self) -> None:
        """Create the iterator at the position of the run."""
        can_skip = hasattr(self.sampler, "skip")
        if self._iter > 0:
            self._load_sampler_state(self.random_state_hook.loaded_sampler_state)
            if can_skip:
                self.sampler.skip(self._iter * self.dataloader.batch_sampler.batch_size)
        # At once, not with the first batch: it draws a random number.
        self.dataloader_iterator = start_workers(self.dataloader)
        if self._iter > 0 and not can_skip:
            print_log(
                f"{type(self.sampler).__name__} cannot skip: {self._iter} batches are now read and "
                "thrown away, which may take long (MultiSourceSampler starts at once)",
                "current",
                logging.WARNING,
            )
            for _ in range(self._iter):
                self._next_batch()

    def _next_batch(self) -> Any:
        """The next batch; a sampler that ends, unlike MultiSourceSampler, starts its next epoch."""
        try:
            return next(self.dataloader_iterator)
        except StopIteration:
            self._num_passes += 1
            if hasattr(self.sampler, "set_epoch"):
                self.sampler.set_epoch(self._num_passes)
            self.dataloader_iterator = start_workers(self.dataloader)
            return next(self.dataloader_iterator)

    def _validate(self) -> None:
        # Without SyncBN each process has running statistics of its own. All of them validate with
        # those of the main process, which are the ones that a checkpoint holds.
        for buffer in self.runner.model.buffers():
            broadcast(buffer)
        hub = self.runner.message_hub
        before = hub.get_info(_VALIDATED_KEY, 0)
        hub.update_info(_VALIDATED_KEY, self._iter)
        try:
            with self.random_state_hook.shielded():
                self.runner.val_loop.run()
        except Interrupted:
            hub.update_info(_VALIDATED_KEY, before)
            raise

    def _validation_is_due(self) -> bool:
        return (
            self.runner.val_loop is not None
            and self._iter >= self.val_begin
            and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        )

    def _resume_validation(self) -> None:
        """At a resume: the validation of the checkpoint's iteration, if it may be missing."""
        hub = self.runner.message_hub
        self._decide_current_val_interval()
        if self._validation_is_due() and hub.get_info(_VALIDATED_KEY, 0) != self._iter:
            self.runner.logger.info(
                f"the validation of iteration {self._iter} may have been cut off: it is repeated"
            )
            # As in the run that was cut off: the iteration that has just ended.
            hub.update_info("iter", self._iter - 1)
            self._validate()

    def watched(self, batches: Iterable) -> Iterator:
        """The batches of a validation, which a signal cuts off."""
        for batch in self.interruption.until_signal(batches):
            self._lock.touch()
            yield batch

    def run(self) -> nn.Module:
        """Train until ``max_iters`` or until a hook sets ``stop_training``."""
        with self._lock, self.interruption:
            try:
                self._train()
            except Interrupted as interrupted:
                self._save_interrupted(interrupted.signal)
                raise
        return self.runner.model

    def _train(self) -> None:
        runner = self.runner
        val_dataset = runner.val_loop and runner.val_loop.dataloader.dataset
        metrics = runner.val_loop.evaluator.metrics if runner.val_loop else ()
        check_at_start(self.dataloader.dataset, val_dataset, runner.model, metrics)
        if val_dataset is not None:
            insert_mask_checks(val_dataset)
            shield_workers(runner.val_loop.dataloader)
        shield_workers(self.dataloader)
        log_summary(runner)
        model = unwrapped_model(runner)
        if hasattr(model, "prepare_training"):
            model.prepare_training()
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        if self._iter < self._max_iters:
            self._start_loader()
        if self._iter > 0:
            self.random_state_hook.restore(runner)
            self._resume_validation()
        while self._iter < self._max_iters and not self.stop_training:
            self._lock.touch()
            self.interruption.check()
            runner.model.train()
            self.run_iter(self._next_batch())
            self.interruption.allowed = has_stepped(runner.optim_wrapper)
            self._decide_current_val_interval()
            if self._validation_is_due():
                self._validate()
        # Ends the workers, which would go on prefetching otherwise.
        self.dataloader_iterator = self.dataloader._iterator = None
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")

    def _save_interrupted(self, signal: str) -> None:
        """The extra checkpoint of a run that a signal ends, and how to go on."""
        runner, path = self.runner, None
        hook = next((one for one in runner.hooks if isinstance(one, CheckpointHook)), None)
        if hook is not None and self._iter > 0:
            if hasattr(hook, "save_interrupted"):
                hook.save_interrupted(runner)
            else:
                meta = dict(epoch=self._epoch, iter=self._iter)
                hook._save_checkpoint_with_step(runner, self._iter, meta=meta)
            path = find_latest_checkpoint(runner.work_dir)
        runner.visualizer.close()
        after = f"{signal} after iteration {self._iter} of {self._max_iters}"
        if path is None:
            runner.logger.warning(f"{after}: there is no checkpoint, the run has to start again")
        else:
            runner.logger.warning(f"{after}: the same command with --resume goes on from {path}")
