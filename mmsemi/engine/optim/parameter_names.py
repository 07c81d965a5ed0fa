# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Optimiser constructors see the parameter names of the plain network.

Layer-wise decay reads the layer out of ``backbone.layers.3.``, and ``custom_keys`` are written for
the plain mmseg config. Inside a method the same parameters are called ``student.backbone...`` or
``branches.0.backbone...``, and the stock constructors would silently give every layer the rate of the
head. Here, and not in a constructor of our own, so that every subclass of mmengine's is reached.
"""

from __future__ import annotations

from collections.abc import Callable

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from ...errors import ConfigError, close_matches
from ...models.semi_model import SemiModel
from ...utils import check_keys

_PARAMWISE = (
    "custom_keys",
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "dwconv_decay_mult",
    "flat_decay_mult",
    "dcn_offset_lr_mult",
    "bypass_duplicate",
)
_MULTIPLIERS = ("lr_mult", "decay_mult")
_stock_call = DefaultOptimWrapperConstructor.__call__


def parameter_view(module: nn.Module, keep: Callable[[nn.Parameter], bool]) -> nn.Module:
    """The same module tree (types and names too) with only some of its parameters.

    Tensors are shared, so an optimiser built on the view steps the model. ``copy.copy`` will not
    do: modules with parametrisations, such as spectral norm, refuse it.
    """
    seen: dict[int, nn.Module] = {}

    def reduced(original: nn.Module) -> nn.Module:
        if id(original) not in seen:
            view = seen[id(original)] = type(original).__new__(type(original))
            view.__dict__.update(original.__dict__)
            view.__dict__["_parameters"] = {
                name: p for name, p in original._parameters.items() if p is not None and keep(p)
            }
            view.__dict__["_modules"] = {
                name: child if child is None else reduced(child)
                for name, child in original._modules.items()
            }
        return seen[id(original)]

    return reduced(module)


def _call(self: DefaultOptimWrapperConstructor, model: nn.Module) -> OptimWrapper:
    """mmengine's ``__call__``, with ``add_params`` called once for each network of a method."""
    model = getattr(model, "module", model)
    _check_settings(self)
    if not isinstance(model, SemiModel):
        return _stock_call(self, model)
    if model.settings.frozen_encoder:  # which then has no group, and no learning rate in the log
        model = parameter_view(model, lambda p: p.requires_grad)
    if not self.paramwise_cfg:
        return _stock_call(self, model)
    networks = model.networks()
    _check_custom_keys(self.paramwise_cfg, model)
    of_networks = {id(p) for net in networks for p in net.parameters()}
    rest = parameter_view(model, lambda p: p.requires_grad and id(p) not in of_networks)
    parts = networks if next(rest.parameters(), None) is None else [*networks, rest]

    def add_params(groups: list[dict], _: nn.Module) -> None:
        del self.add_params  # the constructor's own, which may call itself for children
        for part in parts:
            try:
                self.add_params(groups, part)
            except NotImplementedError as error:
                backbone = type(getattr(part, "backbone", part)).__name__
                raise ConfigError(
                    f"optim_wrapper.constructor='{type(self).__name__}' does not know the layers of "
                    f"{backbone}: use a backbone that it names, or remove the constructor"
                ) from error

    self.add_params = add_params
    return _stock_call(self, model)


def _check_settings(constructor: DefaultOptimWrapperConstructor) -> None:
    """Refuse settings that mmengine's own constructor does not read."""
    where = "optim_wrapper.paramwise_cfg"
    if type(constructor) is DefaultOptimWrapperConstructor:
        check_keys(constructor.paramwise_cfg, dict.fromkeys(_PARAMWISE), where)
    for key, values in constructor.paramwise_cfg.get("custom_keys", {}).items():
        for name in values:  # others go to the optimiser's group
            if name not in _MULTIPLIERS and (similar := close_matches(name, _MULTIPLIERS, 0.7)):
                raise ConfigError(f"{where}.custom_keys['{key}'] has no '{name}'{similar}")


def _check_custom_keys(paramwise_cfg: dict, model: SemiModel) -> None:
    """Refuse keys that name the method's attribute, which no parameter's name has any more."""
    names = [name for net in model.networks() for name, _ in net.named_parameters()]
    prefix = "student" if model.branches is None else "branches"
    for key in paramwise_cfg.get("custom_keys", {}):
        if key.split(".")[0] == prefix and not any(key in f".{name}" for name in names):
            raise ConfigError(
                f"optim_wrapper.paramwise_cfg.custom_keys: '{key}' matches no parameter, names are "
                f"those of the plain network: leave '{prefix}.' out"
            )


DefaultOptimWrapperConstructor.__call__ = _call
