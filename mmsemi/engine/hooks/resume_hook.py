# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A checkpoint to resume from, compared with the config that resumes.

Decisions:

- Position, weights and what an optimiser has gathered come from the checkpoint; what the config says
  stays true. Stock mmengine takes learning rates and ends of schedules from the checkpoint, so that a
  run that is made longer goes on with a learning rate of 0.
- Where the config's schedule is the checkpoint's, nothing is touched, and the run goes on bit for bit.
- What cannot be continued is refused before anything of it is loaded.
"""

from __future__ import annotations

import copy
import os.path as osp
import re
import warnings
from collections.abc import Mapping
from glob import escape, glob
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import BaseLoop, find_latest_checkpoint
from mmseg.registry import HOOKS

from ...errors import CheckpointError, ConfigError
from ..unwrap import unwrapped_model

#: Of a parameter group; others, such as step counts of some optimisers, are no settings.
HYPERPARAMETERS = frozenset(
    ("lr", "weight_decay", "momentum", "betas", "nesterov", "dampening", "eps", "alpha")
)
#: What changes in a scheduler while it runs; the rest is its settings.
_POSITION = frozenset(
    ("last_step", "_global_step", "_last_value", "best", "num_bad_epochs", "cooldown_counter")
)
_NEW_RUN = "to start a new run from its weights, set load_from and leave resume out"


def newest_checkpoint(work_dir: str) -> str | None:
    """The checkpoint with the highest iteration in a folder, None if there is none."""
    found = {
        int(match[1]): path
        for path in sorted(glob(osp.join(escape(work_dir), "*.pth")))
        if (
            match := re.fullmatch(r"(?:interrupted_)?(?:iter|epoch)_(\d+)\.pth", osp.basename(path))
        )
    }
    return found[max(found)] if found else None


@HOOKS.register_module()
class ResumeHook(Hook):
    """Compares checkpoint and config when a run resumes; the training loop registers it.

    A run goes on from its work dir: not from ``load_from``, unless that lies there or the work dir has
    no checkpoint, and from the newest one if ``last_checkpoint`` is missing. A schedule or a
    hyperparameter of an optimiser that the config has changed takes effect, as if the whole run had
    had it. All of it is said in the log.

    Raises:
        CheckpointError: The checkpoint has no optimiser, another one, or only a part of the weights, such
            as those of a student without its teacher.
        ConfigError: It is beyond the end of the run, or a schedule was changed that
            follows the metrics of validations.
    """

    # Before other hooks look at the checkpoint.
    priority = "HIGHEST"

    def __init__(self) -> None:
        self._stored: dict[str, list[dict]] | None = None

    def before_run(self, runner) -> None:
        """Find the checkpoint where stock mmengine takes another one, or none."""
        # A loop that is still a config: no training, but a validation or test.
        if not runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        given = runner._load_from
        if given and osp.dirname(osp.abspath(given)) == osp.abspath(runner.work_dir):
            return
        own = find_latest_checkpoint(runner.work_dir)
        reason = f"not from load_from='{given}', with which it began"
        if own is None:
            found = [newest_checkpoint(runner.work_dir)]
            broadcast_object_list(found)
            own, reason = found[0], "the newest one, since 'last_checkpoint' is missing"
        elif not given:
            return
        if own is not None:
            runner._load_from = own
            runner.logger.warning(f"the run resumes from {own}, {reason}")

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Refuse a checkpoint that the run cannot go on from; keep what belongs to its config."""
        self._stored = None
        if not runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        name = runner._load_from or find_latest_checkpoint(runner.work_dir)
        _check_parts(name, checkpoint)
        model = unwrapped_model(runner)
        _check_weights(name, checkpoint["state_dict"], model.state_dict())
        iteration = checkpoint["meta"]["iter"]
        if iteration > runner.max_iters:
            raise ConfigError(
                f"train_cfg: the run ends at iteration {runner.max_iters}, {name} is of iteration "
                f"{iteration}: make the run longer, or resume from an earlier checkpoint"
            )
        self._configured = {
            key: dict(
                groups=[_without_parameters(group) for group in wrapper.param_groups],
                schedulers=[copy.deepcopy(one.state_dict()) for one in schedulers],
            )
            for key, wrapper, schedulers in _optimizers(runner)
        }
        optimizer, schedulers = checkpoint["optimizer"], checkpoint.get("param_schedulers", [])
        if not isinstance(runner.optim_wrapper, OptimWrapperDict):
            _check_optimizer(name, optimizer, runner.optim_wrapper)
        self._stored = schedulers if isinstance(schedulers, dict) else {"": schedulers}

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Leave out the functions that some schedulers (OneCycleLR) hold: no checkpoint may have any."""
        states = checkpoint.get("param_schedulers", [])
        for part in states.values() if isinstance(states, dict) else [states]:
            part[:] = [{k: v for k, v in state.items() if not callable(v)} for state in part]

    def before_train(self, runner) -> None:
        """Let what the config has changed take effect."""
        stored, self._stored = self._stored, None
        if runner.iter == 0 or stored is None:
            return
        for key, wrapper, schedulers in _optimizers(runner):
            configured = self._configured[key]
            old, new = stored.get(key, []), configured["schedulers"]
            if list(map(_settings, old)) != list(map(_settings, new)):
                _replay(runner, wrapper, schedulers, configured)
                runner.logger.warning(
                    f"param_scheduler{key and '.' + key}: the schedule of the config goes on at "
                    f"iteration {runner.iter}, not that of the checkpoint ({_changes(old, new)})"
                )
            scheduled = {one.param_name for one in schedulers}
            for name in sorted(HYPERPARAMETERS - scheduled):
                _set(runner, key, wrapper, name, configured["groups"])


def _optimizers(runner) -> list[tuple[str, Any, list]]:
    """(name, wrapper, schedulers) of each optimiser; the name of a single one is ''."""
    schedulers = runner.param_schedulers or []
    if not isinstance(runner.optim_wrapper, OptimWrapperDict):
        return [("", runner.optim_wrapper, schedulers)]
    parts = schedulers if isinstance(schedulers, dict) else {}
    return [(key, wrapper, parts.get(key, [])) for key, wrapper in runner.optim_wrapper.items()]


def _without_parameters(group: dict) -> dict:
    return copy.deepcopy({key: value for key, value in group.items() if key != "params"})


def _settings(state: dict) -> dict:
    return {k: v for k, v in state.items() if k not in _POSITION and not callable(v)}


def _changes(old: list[dict], new: list[dict]) -> str:
    """The first settings that differ, as ``end: 41 -> 81``."""
    if len(old) != len(new):
        return f"{len(old)} -> {len(new)} schedulers"
    pairs = [
        f"{key}: {before.get(key)} -> {value}"
        for before, after in zip(old, new)
        for key, value in _settings(after).items()
        if before.get(key) != value
    ]
    return ", ".join(pairs[:3]) or "other settings"


def _replay(runner, wrapper: Any, schedulers: list, configured: dict) -> None:
    """Bring schedulers to the position of the run, as if they had been there from its start."""
    if any(getattr(one, "need_val_args", False) for one in schedulers):
        raise ConfigError(
            "param_scheduler was changed and follows the metrics of the validations, which a resumed "
            f"run does not repeat: keep the schedule of the checkpoint, or, {_NEW_RUN}"
        )
    names = {one.param_name for one in schedulers}
    for group, start in zip(wrapper.param_groups, configured["groups"]):
        group.update({key: start[key] for key in start if key.removeprefix("initial_") in names})
    for one, state in zip(schedulers, configured["schedulers"]):
        one.load_state_dict(copy.deepcopy(state))
    with warnings.catch_warnings():
        # "Detected call of `scheduler.step()` before `optimizer.step()`"
        warnings.simplefilter("ignore", UserWarning)
        for _ in range(runner.iter):
            for one in schedulers:
                one.step()


def _set(runner, key: str, wrapper: Any, name: str, configured: list[dict]) -> None:
    """Give a hyperparameter that no schedule moves the value that the config has."""
    changed = [
        (group, start)
        for group, start in zip(wrapper.param_groups, configured)
        if name in start and name in group and _plain(group[name]) != _plain(start[name])
    ]
    if not changed:
        return
    group, start = changed[0]
    runner.logger.warning(
        f"optim_wrapper{key and '.' + key}: {name}={start[name]} of the config is used, not "
        f"{group[name]} of the checkpoint"
    )
    for group, start in changed:
        group[name] = start[name]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_parts(name: str, checkpoint: dict) -> None:
    for missing, key, needed in (
        ("position", "meta", ("epoch", "iter")),
        ("weights", "state_dict", ()),
        ("optimiser", "optimizer", ()),
        ("message hub", "message_hub", ("log_scalars", "runtime_info", "resumed_keys")),
    ):
        part = checkpoint.get(key)
        if not isinstance(part, Mapping) or not part.keys() >= set(needed):
            raise CheckpointError(
                f"{name} has no {missing} and cannot be resumed: take one of the run's iter_*.pth, "
                f"or, {_NEW_RUN}"
            )


def _check_weights(name: str, stored: dict, own: dict) -> None:
    stored = {key.removeprefix("module."): value for key, value in stored.items()}
    for kind, keys in (
        ("lacks", own.keys() - stored.keys()),
        (
            "has in another shape",
            {k for k in own if k in stored and own[k].shape != stored[k].shape},
        ),
        ("has, unlike the model,", stored.keys() - own.keys()),
    ):
        if keys:
            raise CheckpointError(
                f"{name} {kind} {len(keys)} of {len(own)} tensors, such as '{min(keys)}', and cannot "
                f"be resumed with this model: resume with the config that wrote it, or, {_NEW_RUN}"
            )


def _check_optimizer(name: str, stored: dict, wrapper: Any) -> None:
    own = wrapper.optimizer.state_dict()
    sizes = [
        [len(group["params"]) for group in state.get("param_groups", [])] for state in (stored, own)
    ]
    known = [
        {key for group in state.get("param_groups", []) for key in group} & HYPERPARAMETERS
        for state in (stored, own)
    ]
    if sizes[0] != sizes[1] or known[0] != known[1]:
        theirs, ours = (
            f"{sum(counts)} parameters in {len(counts)} groups with {', '.join(sorted(names))}"
            for counts, names in zip(sizes, known)
        )
        raise CheckpointError(
            f"{name} has another optimiser than optim_wrapper: {theirs}; the config's has {ours}. "
            f"Resume with the config that wrote it, or, {_NEW_RUN}"
        )
