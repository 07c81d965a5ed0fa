# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Several optimisers that share one forward and one backward.

Adversarial methods update segmentor and discriminator in turns, but from gradients that are all
taken at the same weights. One backward of the sum gives the same gradients, if each term reaches
only the net that it trains: the segmentor's loss calls the discriminator with detached parameters
(``torch.func.functional_call``), the discriminator's loss sees detached predictions. The step then
looks like any other, so the stock train step, DDP, AMP and gradient accumulation stay in charge.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.optim import ApexOptimWrapper, OptimWrapper, OptimWrapperDict
from mmseg.registry import OPTIM_WRAPPERS
from torch import Tensor, nn
from torch.optim import Optimizer

from ...errors import CheckpointError, ConfigError

_SCALER_KEY = "loss_scaler"
_COUNTS = ("_inner_count", "_max_counts", "_remainder_counts")


class _DeferredUpdate:
    """The shared GradScaler as a member sees it: its ``step`` must not change the scale.

    The members after it still have to be unscaled by the same one.
    """

    def __init__(self, scaler: Any) -> None:
        self.scaler = scaler

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scaler, name)

    def update(self, new_scale: Any = None) -> None:
        """Left to :meth:`JointOptimWrapper.step`."""


@OPTIM_WRAPPERS.register_module()
class JointOptimWrapper(OptimWrapperDict):
    """Steps all its optimisers after one backward of one loss.

    The first member leads: its accumulation counters, its autocast and its GradScaler are
    everyone's, so that all of that is mmengine's own code. Only clipping and the optimisers'
    settings differ by member. Usually made by :class:`JointOptimWrapperConstructor`.

    A member whose gradients overflow in half precision skips its step, the others do not; the
    shared scale then shrinks once, as torch does it for several optimisers. Learning rates and
    gradient norms are logged as ``<name>.lr`` and ``<name>.grad_norm``; ``param_scheduler`` is a
    list for all members, or a dict of lists with the members' names.

    Args:
        **wrappers: Members by name, all of the same type and with the same
            ``accumulative_counts``.

    Raises:
        ConfigError: There is no member, their types differ or are not suited, they accumulate
            differently, or share a parameter.
    """

    def __init__(self, **wrappers: OptimWrapper) -> None:
        super().__init__(**wrappers)
        _check_members(wrappers)
        self._leader = next(iter(wrappers.values()))
        #: The one GradScaler, or None without AMP.
        self.loss_scaler = getattr(self._leader, "loss_scaler", None)
        if isinstance(self.loss_scaler, _DeferredUpdate):  # members of another joint wrapper
            self.loss_scaler = self.loss_scaler.scaler
        for name, wrapper in wrappers.items():
            if self.loss_scaler is not None:
                wrapper.loss_scaler = _DeferredUpdate(self.loss_scaler)
            if wrapper.clip_grad_kwargs:
                # Members would overwrite each other's value in the log.
                wrapper.grad_name = f"{name}.{wrapper.grad_name}"
        self._share_counts()

    def _share_counts(self) -> None:
        # Nothing here reads them, but whoever asks a member gets the true answer.
        for wrapper in self.values():
            for name in _COUNTS:
                setattr(wrapper, name, getattr(self._leader, name))

    @property
    def inner_count(self) -> int:
        """Number of backwards so far."""
        return self._leader.inner_count

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Tell where the run starts and ends: the last window of accumulation may be shorter."""
        self._leader.initialize_count_status(model, init_counts, max_counts)
        self._share_counts()

    def should_update(self) -> bool:
        """Whether the last backward completed a window of accumulation."""
        return self._leader.should_update()

    def should_sync(self) -> bool:
        """Whether the next backward completes a window, and so averages over processes."""
        return self._leader.should_sync()

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss divided by the number of iterations in its window of accumulation."""
        return self._leader.scale_loss(loss)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """For the forward: autocast, and no averaging over processes before a window's end."""
        with self._leader.optim_context(model):
            yield

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict | None = None,
        zero_kwargs: dict | None = None,
    ) -> None:
        """One backward; at the end of a window all optimisers step, then the gradients go.

        Args:
            loss: The 0-d sum of all losses, not yet divided for accumulation.
            step_kwargs: Further arguments of each optimiser's ``step``.
            zero_kwargs: Further arguments of each optimiser's ``zero_grad``.
        """
        OptimWrapper.update_params(self, loss, step_kwargs, zero_kwargs)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate once, scaled under AMP, into the gradients of all members."""
        self._leader.backward(loss, **kwargs)
        self._share_counts()

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients of all members."""
        for wrapper in self.values():
            wrapper.zero_grad(**kwargs)

    def step(self, **kwargs: Any) -> None:
        """Clip member by member where configured, and step every optimiser."""
        scaler = self.loss_scaler
        for wrapper in self.values():
            # Without gradients an optimiser does nothing, but a scaler would refuse it.
            if scaler is None or _has_gradient(wrapper.optimizer):
                wrapper.step(**kwargs)
        if scaler is not None:
            scaler.update(self._leader._scale_update_param)

    def state_dict(self) -> dict[str, Any]:
        """The members' states by name, and under AMP one ``loss_scaler``."""
        state = super().state_dict()
        if self.loss_scaler is not None:
            for member in state.values():
                del member[_SCALER_KEY]
            state[_SCALER_KEY] = self.loss_scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; without a stored scaler the scale starts anew.

        Raises:
            CheckpointError: The state is that of other members, or of a single optimiser.
        """
        state = dict(state_dict)
        scaler_state = state.pop(_SCALER_KEY, None)
        if state.keys() != set(self.keys()):
            raise CheckpointError(
                f"the optimiser state of the checkpoint holds {', '.join(state) or 'nothing'}, "
                f"this run has the optimisers {', '.join(self.keys())}: resume with the config "
                "that wrote it, or start from its weights with load_from instead of resume"
            )
        for name, wrapper in self.items():
            try:
                # A copy, because mmengine takes entries out.
                wrapper.load_state_dict(dict(state[name]))
            except ValueError as error:
                raise CheckpointError(
                    f"the checkpoint's state of the optimiser '{name}' does not fit this run "
                    f"({error}): resume with the config that wrote it"
                ) from error
        # Empty if it comes from a run without a device that needs scaling.
        if scaler_state and self.loss_scaler is not None:
            self.loss_scaler.load_state_dict(scaler_state)


def _has_gradient(optimizer: Optimizer) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])


def _check_members(wrappers: dict[str, OptimWrapper]) -> None:
    if not wrappers:
        raise ConfigError("JointOptimWrapper needs at least one optimiser wrapper")
    if _SCALER_KEY in wrappers:
        raise ConfigError(f"JointOptimWrapper: '{_SCALER_KEY}' cannot be the name of a member")
    types = {name: type(wrapper).__name__ for name, wrapper in wrappers.items()}
    listed = ", ".join(f"{name}: {kind}" for name, kind in types.items())
    if len(set(types.values())) > 1:
        raise ConfigError(f"JointOptimWrapper: the members' types must be the same, got {listed}")
    if any(isinstance(w, (OptimWrapperDict, ApexOptimWrapper)) for w in wrappers.values()):
        raise ConfigError(f"JointOptimWrapper joins OptimWrapper or AmpOptimWrapper, got {listed}")
    counts = {name: wrapper._accumulative_counts for name, wrapper in wrappers.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise ConfigError(
            f"JointOptimWrapper: accumulative_counts must be the same for all, got {listed}"
        )
    owners: dict[int, str] = {}
    for name, wrapper in wrappers.items():
        for group in wrapper.optimizer.param_groups:
            for parameter in group["params"]:
                other = owners.setdefault(id(parameter), name)
                if other != name:
                    raise ConfigError(
                        f"JointOptimWrapper: '{other}' and '{name}' share a parameter of shape "
                        f"{tuple(parameter.shape)}, which both would step"
                    )
