# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What stock OpenMMLab lacks on today's torch, numpy and setuptools. Nothing else lives here.

:func:`apply` is called once by ``import mmsemi`` and does six things:

1. Checkpoints are data; see :mod:`mmsemi.compat_checkpoints`.
2. Configs are data where they are no Python files, package-name configs are found, and a config's text
   is formatted once; see :mod:`mmsemi.compat_configs`.
3. mmcv-lite gets an ``mmcv.ops`` module: torch versions of the two operators that mmseg imports,
   placeholders that raise on use for the rest. A full mmcv is left alone.
4. Several processes work without CUDA; see :mod:`mmsemi.compat_cpu_distributed`.
5. Logs have no line for each parameter; see :mod:`mmsemi.quiet`.
6. Pillow runs no Ghostscript for a picture.
"""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from PIL import EpsImagePlugin
from torch import Tensor

from mmsemi import compat_checkpoints, compat_configs, compat_cpu_distributed, quiet
from mmsemi.compat_checkpoints import load_checkpoint_file
from mmsemi.errors import InstallationError

__all__ = ["apply", "load_checkpoint_file", "point_sample", "sigmoid_focal_loss"]

_applied = False


def apply() -> None:
    """Applies all six parts; calling it again does nothing."""
    global _applied
    if _applied:
        return
    quiet.apply()
    install_ops_stand_in()
    compat_checkpoints.apply()
    compat_configs.apply()
    compat_cpu_distributed.apply()
    # A picture that is PostScript inside, whatever its name, would be given to that interpreter.
    EpsImagePlugin.gs_binary = False
    _applied = True


# --- mmcv.ops -------------------------------------------------------------------------------------


def install_ops_stand_in() -> None:
    """Makes ``mmcv.ops`` importable with mmcv-lite; leaves a full mmcv alone."""
    if find_spec("mmcv._ext") is not None:
        return
    import mmcv

    module = ModuleType("mmcv.ops", "Stand-ins for the compiled operators; see mmsemi.compat.")
    names = list_ops_names(Path(mmcv.__file__).parent / "ops" / "__init__.py")

    def make_placeholder(name: str) -> type:
        # Unknown names, and __path__, stay absent, or guarded imports take the wrong branch.
        if name.startswith("_") or (names and name not in names):
            raise AttributeError(f"module 'mmcv.ops' has no attribute {name!r}")
        placeholder = MissingOp(name, (), {"__module__": "mmcv.ops"})
        setattr(module, name, placeholder)
        return placeholder

    module.__getattr__ = make_placeholder
    module.point_sample = point_sample
    module.sigmoid_focal_loss = sigmoid_focal_loss
    # collect_env calls these two as soon as mmcv.ops can be imported.
    module.get_compiler_version = lambda: "n/a (mmcv-lite)"
    module.get_compiling_cuda_version = lambda: "n/a (mmcv-lite)"
    sys.modules["mmcv.ops"] = mmcv.ops = module


def list_ops_names(init_file: Path) -> frozenset[str]:
    """Returns the names that ``mmcv.ops`` exports, read from its source without importing it."""
    if not init_file.is_file():
        return frozenset()
    statements = ast.parse(init_file.read_text(encoding="utf-8")).body
    imports = [node for node in statements if isinstance(node, ast.ImportFrom)]
    return frozenset(alias.asname or alias.name for node in imports for alias in node.names)


class MissingOp(type):
    """Class of the placeholders: they can be imported, subclassed and tested for, not used."""

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        op = next(base for base in cls.__mro__ if base.__module__ == "mmcv.ops")
        raise InstallationError(
            f"mmcv.ops.{op.__name__} needs mmcv's compiled operators, and mmcv-lite "
            "has none. Fix: pip uninstall -y mmcv-lite && pip install 'mmcv>=2.0,<2.2' (or use the "
            "onedl-mm* packages, which ship them for recent torch)"
        )

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        cls()  # a use: `SomeFunction.apply`


def point_sample(
    input: Tensor, points: Tensor, align_corners: bool = False, **kwargs: Any
) -> Tensor:
    """Reads features at points (PointRend, Kirillov et al., 2020); replaces mmcv's operator.

    Args:
        input: (N, C, H, W) float.
        points: (N, P, 2) or (N, H', W', 2) float; (x, y) as fractions of width and height, [0, 1].
        align_corners: As in :func:`torch.nn.functional.grid_sample`, which gets ``kwargs`` too.

    Returns:
        (N, C, P) or (N, C, H', W').
    """
    is_list = points.dim() == 3
    grid = points.unsqueeze(2) if is_list else points
    samples = F.grid_sample(input, grid * 2 - 1, align_corners=align_corners, **kwargs)
    return samples.squeeze(3) if is_list else samples


def sigmoid_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Focal loss on sigmoids (Lin et al., 2017, eq. 5); replaces mmcv's operator.

    Args:
        input: (N, C) float logits.
        target: (N,) int64; class ``target[n]`` is the positive of sample n, and a target outside
            [0, C) leaves all classes negative.
        gamma: Focusing exponent.
        alpha: Weight of positives; negatives weigh 1 - alpha.
        weight: (C,) factor by the sample's target class, or None.
        reduction: 'none' -> (N, C); 'sum' -> scalar; 'mean' -> sum / N as in mmcv, not / (N * C).

    Raises:
        ValueError: A shape or ``reduction`` is wrong.
    """
    if input.dim() != 2 or target.dim() != 1 or input.size(0) != target.size(0):
        raise ValueError(
            "sigmoid_focal_loss needs input (N, C) and target (N,), "
            f"got {tuple(input.shape)} and {tuple(target.shape)}"
        )
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    num_classes = input.size(1)
    is_positive = target[:, None] == torch.arange(num_classes, device=input.device)
    log_p, log_not_p = F.logsigmoid(input), F.logsigmoid(-input)
    # (1 - p)^gamma as exp(gamma log(1 - p)): its gradient stays finite where 1 - p rounds to 0.
    positive = -alpha * (gamma * log_not_p).exp() * log_p
    negative = -(1 - alpha) * (gamma * log_p).exp() * log_not_p
    loss = torch.where(is_positive, positive, negative)
    if weight is not None:
        class_weight = weight.to(loss)[target.clamp(0, num_classes - 1)]
        has_class = (target >= 0) & (target < num_classes)
        loss = loss * torch.where(has_class, class_weight, 1.0)[:, None]
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / input.size(0)
