# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A frozen encoder: weights as they were loaded, eval mode, maps without gradient, once for each view.

Decisions:

- Whatever sets modes later, the encoder is in eval mode when it runs: no drop path, running statistics. It
  maps each image alone, so the maps of a view do not depend on what shares its forward.
- The maps of a view are kept for the length of a step. Student and teacher have one encoder, and a second
  forward of the same pixels, the teacher's or the student's own for pseudo-labels, finds the maps there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmseg.models import EncoderDecoder
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError


class StepMaps:
    """Maps of one encoder, by the pixels that they are of, while a step lasts.

    Attributes:
        is_open: Whether there is a step.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._known: dict[tuple, tuple[Tensor, Any]] = {}

    def __deepcopy__(self, memo: dict) -> StepMaps:
        return StepMaps()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Keep maps for a while."""
        if self.is_open:
            yield
            return
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False
            self._known.clear()

    def of(self, backbone: nn.Module, x_NCHW: Tensor) -> Any:
        """The backbone's maps of an input; of the same memory, unchanged since, those of before."""
        kind = x_NCHW.device.type
        place = (x_NCHW.data_ptr(), x_NCHW.shape, x_NCHW.stride(), x_NCHW.dtype, x_NCHW._version)
        key = (place, torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind))
        if key not in self._known:
            with torch.no_grad():
                # The input is kept beside its maps: no other tensor takes its place in memory.
                self._known[key] = x_NCHW, backbone(x_NCHW)
        return self._known[key][1]


def freeze(backbone: nn.Module) -> None:
    """Take gradient and train mode from a backbone, whatever mode it is put into.

    Raises:
        ConfigError: It has no parameters.
    """
    if next(backbone.parameters(), None) is None:
        raise ConfigError(
            f"frozen_encoder=True: {type(backbone).__name__} has no parameters to freeze: leave it out"
        )
    backbone.requires_grad_(False)
    backbone.step_maps = StepMaps()
    # Before each forward, not in `train`: nothing that sets modes undoes it, and a copy keeps the hook.
    backbone.register_forward_pre_hook(_to_eval)


def _to_eval(backbone: nn.Module, _: Any) -> None:
    for module in backbone.modules():
        module.training = False


def step_maps(net: nn.Module) -> StepMaps | None:
    """The maps that are kept for a segmentor now.

    None if its encoder is trained, if there is no step, or if more than backbone and neck make its features.
    """
    maps = getattr(getattr(net, "backbone", None), "step_maps", None)
    if (
        maps is None
        or not maps.is_open
        or type(net).extract_feat is not EncoderDecoder.extract_feat
    ):
        return None
    return maps


@contextmanager
def keep_maps(nets: Iterable[nn.Module]) -> Iterator[None]:
    """For one step: the maps of frozen encoders are computed once for each view."""
    with ExitStack() as stack:
        for net in nets:
            maps = getattr(getattr(net, "backbone", None), "step_maps", None)
            if maps is not None:
                stack.enter_context(maps.step())
        yield


def check_weights(net: nn.Module, backbone_config: dict, is_loaded: bool) -> None:
    """Refuse a frozen encoder that nothing gave weights.

    Args:
        net: The segmentor.
        backbone_config: What its backbone was built from.
        is_loaded: Whether a checkpoint brought weights.

    Raises:
        ConfigError: It is random.
    """
    if is_loaded or any(backbone_config.get(key) for key in ("pretrained", "checkpoint_path")):
        return
    for module in net.backbone.modules():
        config = getattr(module, "init_cfg", None)
        for item in config if isinstance(config, (list, tuple)) else [config]:
            if isinstance(item, dict) and item.get("checkpoint"):
                return
    raise ConfigError(
        f"frozen_encoder=True: {type(net.backbone).__name__} has random weights, which would stay for ever: "
        "set segmentor.backbone.init_cfg=dict(type='Pretrained', checkpoint=...) or load_from"
    )


def check_one_encoder(state_dict: dict[str, Tensor], prefixes: Sequence[str]) -> None:
    """Refuse a checkpoint whose networks have different encoders, where they share one.

    Args:
        state_dict: Weights of all networks.
        prefixes: Where the backbones of the networks lie.

    Raises:
        CheckpointError: A tensor differs.
    """
    first, *others = prefixes
    for name in [key for key in state_dict if key.startswith(first)]:
        for other in others:
            same = state_dict.get(other + name.removeprefix(first))
            if same is not None and not torch.equal(same, state_dict[name]):
                raise CheckpointError(
                    f"with frozen_encoder=True student and teacher share the encoder, and '{name}' differs "
                    "from the teacher's in the checkpoint: export one of both (mmsemi export --net) and "
                    "load its weights.pth"
                )
