# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a training does: logged values, gradients, changed weights, waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes


class Recorder(Hook):
    """What a training logs, its learning rates, which parameters get a gradient, its first weights."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.values: dict[int, dict[str, Any]] = {}
        self.rates: list[dict[str, list[float]]] = []
        self.with_gradient: set[str] = set()
        self.before: dict[str, Tensor] = {}

    def before_train(self, runner) -> None:
        self.before = snapshot(runner.model)
        for name, parameter in runner.model.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(
                    lambda _, name=name: self.with_gradient.add(name)
                )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.rates.append(runner.optim_wrapper.get_lr())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.values[runner.iter + 1] = {
            key: torch.as_tensor(value).item() for key, value in outputs.items()
        }


class Waits(TorchDispatchMode):
    """Collects the operations that read a value back to the host."""

    KINDS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        is_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if is_mask or name in self.KINDS:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


def without_modes(function: Callable) -> Callable:
    """The function, not looked at by :class:`Waits`."""

    def run(*args, **kwargs):
        with _disable_current_modes():
            return function(*args, **kwargs)

    return run


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]


def is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def statistics_of(model: nn.Module) -> dict[str, Tensor]:
    """Of the batch norms of the networks that are trained."""
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if is_statistic(name) and name.startswith(("student.", "branches."))
    }


def record_inputs(module: nn.Module, in_eval: bool = False) -> list[Tensor]:
    """What will be given to a module in train mode, or in eval mode, too."""
    inputs: list[Tensor] = []

    def record(module: nn.Module, args: tuple) -> None:
        if module.training or in_eval:
            inputs.append(args[0].detach().clone())

    module.register_forward_pre_hook(record)
    return inputs


def assert_equal_states(ours: Any, theirs: Any) -> None:
    """Nested optimiser states agree bit for bit."""
    assert type(ours) is type(theirs)
    if isinstance(ours, Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_equal_states(ours[key], theirs[key])
    elif isinstance(ours, (list, tuple)):
        for pair in zip(ours, theirs, strict=True):
            assert_equal_states(*pair)
    else:
        assert ours == theirs
