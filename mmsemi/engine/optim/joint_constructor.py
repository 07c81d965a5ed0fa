# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From ``optim_wrapper`` in a config to a :class:`JointOptimWrapper`.

Decisions:

- ``type`` stays at the top with its stock meaning, because ``tools/train.py --amp`` reads it there
  and exchanges it for ``AmpOptimWrapper``; what holds for the whole step (accumulation, precision)
  is written once, beside it.
- The main optimiser takes whatever no part claims, so a method can gain a head without an edit
  here, and a parameter is never left out silently.
- mmengine's ``DefaultOptimWrapperConstructor``, or the one named, builds every member, on a view of
  the model that holds only that member's parameters: ``paramwise_cfg`` means what it means everywhere.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn

from ...errors import ConfigError
from ...utils import check_keys, close_matches
from .joint_optim_wrapper import JointOptimWrapper
from .parameter_names import parameter_view

#: The main optimiser's name in logs, checkpoints and ``param_scheduler``.
MAIN = "segmentor"
_PART_DEFAULTS: dict[str, Any] = dict(
    optimizer=None,
    paramwise_cfg=None,
    clip_grad=None,
    constructor="DefaultOptimWrapperConstructor",
)
#: The main optimiser's constructor; ``constructor`` at the top is this module's.
_MAIN_CONSTRUCTOR = "segmentor_constructor"


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class JointOptimWrapperConstructor:
    """One optimiser for the segmentor, and one for each named part of the model.

    ::

        optim_wrapper = dict(
            type="OptimWrapper",
            constructor="JointOptimWrapperConstructor",
            optimizer=dict(type="SGD", lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
            paramwise_cfg=dict(custom_keys={"decode_head": dict(lr_mult=10.0)}),
            discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
        )

    A key that is no argument of the wrapper type names a part: an attribute of the model that is a
    module. A part has its own ``optimizer``, ``paramwise_cfg`` and ``clip_grad``; the ones at the
    top are the segmentor's alone, which owns every parameter that no part claims. A part's
    ``constructor``, and ``segmentor_constructor`` at the top, name another constructor of its
    optimiser, e.g. ``'LearningRateDecayOptimizerConstructor'``. Parameters
    without gradient, such as a teacher's, belong to nobody. In logs and in ``param_scheduler`` the
    main optimiser is called ``segmentor``, a part by its own name.

    Args:
        optim_wrapper_cfg: ``optim_wrapper`` of the config without ``constructor`` and
            ``paramwise_cfg``, as mmengine passes it.
        paramwise_cfg: Parameter-wise settings of the main optimiser.

    Raises:
        ConfigError: A key is unknown, no part is named, or an optimiser is missing.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # Everything below is taken apart, and mmengine's clipping takes 'type' out of its dict.
        config = copy.deepcopy(dict(optim_wrapper_cfg))
        config.setdefault("type", "OptimWrapper")
        arguments = _wrapper_arguments(config["type"])
        optimizer = config.pop("optimizer", None)
        _check_optimizer(optimizer, "optim_wrapper.optimizer")
        self.settings = {key: config.pop(key) for key in list(config) if key in arguments}
        self.main = dict(
            optimizer=optimizer,
            paramwise_cfg=paramwise_cfg,
            clip_grad=self.settings.pop("clip_grad", None),
            constructor=config.pop(_MAIN_CONSTRUCTOR, _PART_DEFAULTS["constructor"]),
        )
        self.parts: dict[str, dict] = {}
        for name, part in config.items():
            where = f"optim_wrapper.{name}"
            if not isinstance(part, dict):
                raise ConfigError(
                    f"unknown key '{name}' in optim_wrapper of type {self.settings['type']}"
                    f"{close_matches(name, [*arguments, _MAIN_CONSTRUCTOR])} (known: {', '.join(arguments)}; a part of "
                    "the model is a dict with an optimizer)"
                )
            if name == MAIN:
                raise ConfigError(f"{where}: write the {MAIN}'s settings at the top")
            self.parts[name] = check_keys(part, _PART_DEFAULTS, where)
            _check_optimizer(self.parts[name]["optimizer"], f"{where}.optimizer")
        if not self.parts:
            raise ConfigError(
                "optim_wrapper.constructor='JointOptimWrapperConstructor' needs a part, e.g. "
                "discriminator=dict(optimizer=...): add it or remove the constructor"
            )

    def __call__(self, model: nn.Module) -> JointOptimWrapper:
        """Build the members.

        Args:
            model: The model, or a wrapper around it.

        Raises:
            ConfigError: The model has no part of that name, two parts overlap, or a member is left
                without trainable parameters.
        """
        model = getattr(model, "module", model)
        owners: dict[int, str] = {}
        views: dict[str, nn.Module] = {}
        for name in self.parts:
            module = _find_part(model, name)
            for parameter in module.parameters():
                other = owners.setdefault(id(parameter), name)
                if other != name:
                    raise ConfigError(
                        f"optim_wrapper: the parts '{other}' and '{name}' of "
                        f"{type(model).__name__} share parameters, which both would step"
                    )
            views[name] = nn.Module()  # so that the part's name is in the parameters' names
            views[name].add_module(name, parameter_view(module, lambda p: p.requires_grad))
        rest = parameter_view(model, lambda p: p.requires_grad and id(p) not in owners)
        members = {
            name: self._build(name, view, part)
            for name, view, part in [
                (MAIN, rest, self.main),
                *((name, views[name], part) for name, part in self.parts.items()),
            ]
        }
        described = ", ".join(
            f"{name} {type(member.optimizer).__name__} ({_count(member):,} parameters)"
            for name, member in members.items()
        )
        print_log(f"one backward, {len(members)} optimisers: {described}", "current")
        return JointOptimWrapper(**members)

    def _build(self, name: str, view: nn.Module, part: dict) -> OptimWrapper:
        if not any(True for _ in view.parameters()):
            raise ConfigError(
                f"optim_wrapper: '{name}' has no trainable parameter: unfreeze it, or remove its "
                "optimiser"
            )
        config = copy.deepcopy(
            {**self.settings, "optimizer": part["optimizer"], "clip_grad": part["clip_grad"]}
        )
        constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(
                type=part["constructor"],
                optim_wrapper_cfg=config,
                paramwise_cfg=copy.deepcopy(part["paramwise_cfg"]),
            )
        )
        return constructor(view)


def _wrapper_arguments(kind: str | type) -> list[str]:
    """What a wrapper type takes from a config besides the optimiser."""
    wrapper_class = OPTIM_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(wrapper_class, type) and issubclass(wrapper_class, OptimWrapper)):
        raise ConfigError(
            f"optim_wrapper.type={kind!r} is no optimiser wrapper: use 'OptimWrapper'"
        )
    names = ["type"]
    for base in wrapper_class.__mro__:
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        names += [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break  # takes nothing for its base class
    return [name for name in dict.fromkeys(names) if name != "optimizer"]


def _check_optimizer(config: Any, where: str) -> None:
    if not (isinstance(config, dict) and "type" in config):
        raise ConfigError(f"{where}={config!r} must be a dict such as dict(type='Adam', lr=1e-4)")


def _find_part(model: nn.Module, name: str) -> nn.Module:
    module = getattr(model, name, None)
    if not isinstance(module, nn.Module):
        children = [child for child, _ in model.named_children() if child != "data_preprocessor"]
        raise ConfigError(
            f"optim_wrapper.{name}: {type(model).__name__} has no part '{name}'"
            f"{close_matches(name, children)} (parts: {', '.join(children) or 'none'})"
        )
    return module


def _count(wrapper: OptimWrapper) -> int:
    return sum(p.numel() for group in wrapper.optimizer.param_groups for p in group["params"])
