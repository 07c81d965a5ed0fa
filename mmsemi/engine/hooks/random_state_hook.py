# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Every random state of every process travels with the checkpoint.

Decisions:

- The states of all processes are gathered inside ``runner.save_checkpoint``. Every process calls
  that method (only its body is for the main process), whichever checkpoint hook decides that it is
  time, so the gathering needs to know no schedule and costs nothing when nothing is saved. A hook
  that calls it on one process only would hang; mmengine's own hooks never do.
- A checkpoint that is written during a validation holds the states from before that validation:
  a run that resumes from it does not validate again before its next step.
- Only tensors, numbers, strings, lists and dicts are stored: nothing needs to be allow-listed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import find_latest_checkpoint
from mmseg.registry import HOOKS

from ...errors import CheckpointError
from ...utils import derive_seed

#: Where the states live in a checkpoint.
CHECKPOINT_KEY = "random_states"


def capture_random_states() -> dict[str, Any]:
    """States of Python's, numpy's and torch's generators (CPU and current CUDA device)."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached_gauss = np.random.get_state()
    states = {
        "python": (version, torch.tensor(words), gauss),
        "numpy": (
            str(name),
            torch.from_numpy(keys.astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached_gauss),
        ),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Inverse of :func:`capture_random_states`; the tensors may lie on any device."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())


def _is_known_form(stored: Any) -> bool:
    """Whether stored states can be restored; tried, and undone."""
    own = capture_random_states()
    try:
        for states in stored["ranks"]:
            restore_random_states(states)
        return isinstance(stored["sampler"], dict)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return False
    finally:
        restore_random_states(own)


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Store the random states of all processes in each checkpoint, and restore them at resume.

    :class:`~mmsemi.engine.loops.SemiIterBasedTrainLoop` registers this hook itself, restores the
    states when nothing random is left to happen before the next step (the loader's workers are
    started by then), stores the sampler's seed with them, and shields them from validations. With
    another loop, which resumes less exactly, the hook restores them after the first batch is read.
    """

    # Under another loop, no hook may draw numbers before the states are restored.
    priority = "HIGHEST"

    def __init__(self) -> None:
        self._wrapped_runner: Any = None
        self._held: dict[str, Any] | None = None
        self._gathered: list[dict[str, Any]] | None = None
        self._loaded: dict[str, Any] | None = None

    def before_run(self, runner) -> None:
        """Make ``runner.save_checkpoint`` gather the states of all processes first."""
        if self._wrapped_runner is runner:
            return
        self._wrapped_runner = runner
        save_checkpoint = runner.save_checkpoint

        @wraps(save_checkpoint)
        def gather_and_save(*args: Any, **kwargs: Any) -> Any:
            own = capture_random_states() if self._held is None else self._held
            self._gathered = all_gather_object(own)
            try:
                return save_checkpoint(*args, **kwargs)
            finally:
                self._gathered = None

        runner.save_checkpoint = gather_and_save

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the gathered states and the sampler's seed."""
        ranks = self._gathered if self._gathered is not None else [capture_random_states()]
        sampler_state = getattr(runner.train_loop, "sampler_state", dict)()
        checkpoint[CHECKPOINT_KEY] = {"ranks": ranks, "sampler": sampler_state}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the stored states until the run really resumes.

        Raises:
            CheckpointError: The run resumes, and the states have a form that is not known here.
        """
        self._loaded = checkpoint.get(CHECKPOINT_KEY)
        if runner._resume and self._loaded is not None and not _is_known_form(self._loaded):
            name = runner._load_from or find_latest_checkpoint(runner.work_dir)
            raise CheckpointError(
                f"{name} holds random states in a form that this version does not know: resume with the "
                "version of mmsemi that wrote it, or, to start a new run from its weights, set "
                "load_from and leave resume out"
            )

    def before_train(self, runner) -> None:
        """Forget the states of a checkpoint that only initialises the weights (``load_from``)."""
        if runner.iter == 0:
            self._loaded = None

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """Restore under a loop that does not ask for it."""
        if self._loaded is not None:
            self.restore(runner)

    @property
    def loaded_sampler_state(self) -> dict[str, Any]:
        """The sampler's state in the checkpoint that the run resumes from, possibly empty."""
        return {} if self._loaded is None else self._loaded["sampler"]

    def restore(self, runner) -> None:
        """Set this process's random states to those of the checkpoint.

        A checkpoint without them, or with fewer processes, cannot continue bit for bit; such a
        process is seeded from (seed, rank, iteration), so that it does not repeat the random
        numbers of the first iterations, and the log says so.
        """
        rank, world_size = get_rank(), get_world_size()
        ranks = [] if self._loaded is None else self._loaded["ranks"]
        self._loaded = None
        if not ranks:
            print_log(
                "the checkpoint holds no random states, it was not written by mmsemi's training "
                "loop: the run continues, but not bit for bit",
                "current",
                logging.WARNING,
            )
        elif len(ranks) != world_size:
            print_log(
                f"the checkpoint was written by {len(ranks)} processes and is resumed by "
                f"{world_size}: the run continues, but not bit for bit",
                "current",
                logging.WARNING,
            )
        if rank < len(ranks):
            restore_random_states(ranks[rank])
            return
        seed = derive_seed(abs(int(runner.seed or 0)), rank, int(runner.iter))
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """What happens inside draws no random number of the training.

        Starting a validation loader draws one, for instance, but only where the validation happens:
        a resumed run would go on differently.
        """
        self._held = capture_random_states()
        try:
            yield
        finally:
            restore_random_states(self._held)
            self._held = None
