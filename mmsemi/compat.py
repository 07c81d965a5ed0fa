# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What stock OpenMMLab lacks on today's torch, numpy and setuptools. Nothing else lives here.

:func:`apply` is called once by ``import mmsemi`` and does five things:

1. Checkpoints are read with ``weights_only=True`` on every path, through an allow-list of what
   mmengine writes beside the weights. Any other pickled object is refused before it can run.
2. mmcv-lite gets an ``mmcv.ops`` module: torch versions of the two operators that mmseg imports,
   placeholders that raise on use for the rest. A full mmcv is left alone.
3. Package-name configs (``_base_ = 'mmseg::...'``, ``'mmsemi::...'``, ``mmengine.hub.get_config``)
   are resolved with ``importlib`` instead of ``pkg_resources``, which setuptools dropped.
4. Several processes work without CUDA; see :mod:`mmsemi.compat_cpu_distributed`.
5. Logs have no line for each parameter; see :mod:`mmsemi.quiet`.
"""

from __future__ import annotations

import ast
import os
import pickle
import re
import sys
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsemi import compat_cpu_distributed, quiet
from mmsemi.errors import CheckpointError, InstallationError
from mmsemi.utils import close_matches

HISTORY_STATISTICS = ("min", "max", "current", "mean")
# Number, bool and text arrays; not objects and structures, which may hold anything.
ARRAY_TYPE_CODES = "?bhilqBHILQefdgFDGSU"


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """A weight file that is not on this machine, which code around the loaders may expect."""


_applied = False


def apply() -> None:
    """Applies all five parts; calling it again does nothing."""
    global _applied
    if _applied:
        return
    quiet.apply()
    install_ops_stand_in()
    allow_mmengine_types()
    patch_checkpoint_loading()
    patch_package_configs()
    compat_cpu_distributed.apply()
    _applied = True


# --- 1. Checkpoints -------------------------------------------------------------------------------


def allow_mmengine_types() -> None:
    """Puts what mmengine's message hub pickles on the allow-list of ``weights_only=True``.

    The statistics table of a ``HistoryBuffer`` is pickled as ``getattr(HistoryBuffer, 'max')``, so
    the name ``getattr`` is bound to :func:`get_history_statistic`, which knows four methods only.
    """
    from mmengine.logging import HistoryBuffer

    make_array = np.zeros(1).__reduce__()[0]
    make_scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype]
    allowed += {type(np.dtype(code)) for code in ARRAY_TYPE_CODES}
    for package in ("numpy._core", "numpy.core"):  # as numpy 2 and as numpy 1 write it
        allowed.append((make_array, f"{package}.multiarray._reconstruct"))
        allowed.append((make_scalar, f"{package}.multiarray.scalar"))
    for package in ("builtins", "__builtin__"):
        allowed.append((get_history_statistic, f"{package}.getattr"))
    torch.serialization.add_safe_globals(allowed)


def get_history_statistic(owner: Any, name: str) -> Callable:
    """Replaces ``getattr`` inside a checkpoint: returns a ``HistoryBuffer`` statistic only."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or not isinstance(name, str) or name not in HISTORY_STATISTICS:
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL getattr({owner!r}, {name!r})")
    return HistoryBuffer.__dict__[name]


def load_checkpoint_file(source: Any, map_location: Any = None) -> Any:
    """Reads a checkpoint (a path or a binary file object) with ``weights_only=True``.

    Raises:
        CheckpointError: It holds a pickled object that is not on the allow-list, or is unreadable.
    """
    allow_mmengine_types()  # torch's `safe_globals` context, used elsewhere, may have removed them
    try:
        return torch.load(source, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        # From None: torch's own text is a page long and proposes weights_only=False.
        raise CheckpointError(explain_load_error(str(source), error)) from None


def explain_load_error(name: str, error: Exception) -> str:
    """Returns one line for a failed load: the file, what is wrong with it and what to do."""
    text = str(error)
    if "out of memory" in text:
        return text
    refused = re.search(r"GLOBAL (getattr\(.*\)|\S+)", text) or re.search(
        r"(?:unrecognized function|class|but got|instance of) (<[^>]+>|[\w.]+\.\w+)", text
    )
    if refused or "blocklisted" in text or "blocked" in text:
        culprit = repr(refused[1].rstrip(".,`")) if refused else "of a forbidden module"
        return (
            f"{name}: checkpoint refused, nothing in it was executed: it contains the pickled "
            f"object {culprit}, which is not on the allow-list. Save it again where it was made, "
            "with tensors, numbers and strings only (a class of your own can be allowed with "
            "torch.serialization.add_safe_globals)"
        )
    first_line = next(iter(text.strip().splitlines()), type(error).__name__)
    return (
        f"{name}: not a readable checkpoint, probably cut off or not written by torch.save "
        f"({first_line[:200]})"
    )


def patch_checkpoint_loading() -> None:
    """Routes mmengine's checkpoint loaders through :func:`load_checkpoint_file`."""
    from mmengine.runner import checkpoint as stock

    def load_from_local(filename: str, map_location: Any = None) -> Any:
        path = os.path.expanduser(filename)
        if not os.path.isfile(path):
            folder = Path(path).parent
            known = [str(entry) for entry in folder.iterdir()] if folder.is_dir() else []
            hint = close_matches(path, known) if known else f" (nothing in {folder})"
            raise MissingCheckpointError(f"{filename}: no such checkpoint file{hint}")
        return load_checkpoint_file(path, map_location)

    # mmengine logs the loader's name from its 11th letter on, so ours has the same name.
    stock.CheckpointLoader._schemes[""] = load_from_local  # the prefix of local files
    stock.load_from_local = load_from_local
    # torch.hub's loader says weights_only=False by default: a https:// checkpoint could run code.
    stock.load_url = load_checkpoint_url
    if hasattr(stock, "_safe_torch_load"):  # OneDL's falls back to weights_only=False
        stock._safe_torch_load = lambda file, map_location=None, weights_only=None: (
            load_checkpoint_file(file, map_location)
        )


def load_checkpoint_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> Any:
    """Downloads a checkpoint once and reads it with ``weights_only=True``; see ``torch.hub``.

    Raises:
        MissingCheckpointError: Neither in the cache nor to be downloaded; says where to put it.
        CheckpointError: See :func:`load_checkpoint_file`.
    """
    folder = Path(model_dir) if model_dir else Path(torch.hub.get_dir()) / "checkpoints"
    cached = folder / (file_name or os.path.basename(urlparse(url).path))
    if not cached.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        prefix = re.search(r"-([a-f0-9]*)\.", cached.name) if check_hash else None
        try:
            torch.hub.download_url_to_file(
                url, str(cached), prefix[1] if prefix else None, progress=progress
            )
        except (URLError, TimeoutError, ConnectionError) as error:
            raise MissingCheckpointError(
                f"{cached.name}: this weight file is not on this machine and cannot be downloaded "
                f"({getattr(error, 'reason', error)}). Put it at {cached} (source: {url}) or give "
                "a local path in the config"
            ) from None
    return load_checkpoint_file(str(cached), map_location)


# --- 2. mmcv.ops ----------------------------------------------------------------------------------


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


# --- 3. Package-name configs ----------------------------------------------------------------------


def patch_package_configs() -> None:
    """Resolves ``'package::path'`` with importlib and teaches mmengine the package mmsemi."""
    from mmengine import hub, utils
    from mmengine.config import Config, config
    from mmengine.config import utils as config_utils
    from mmengine.hub import hub as hub_module
    from mmengine.utils import package_utils

    replacements = {
        "is_installed": is_installed,
        "get_installed_path": get_installed_path,
        "package2module": find_module_name,
        "_get_external_cfg_base_path": find_package_config,
        "_get_external_cfg_path": find_package_config,
    }
    for module in (package_utils, utils, config_utils, config, hub_module, hub):
        for name in replacements.keys() & vars(module).keys():
            setattr(module, name, replacements[name])
    config_utils.MODULE2PACKAGE.setdefault("mmsemi", "mmsemi")

    stock_cfg_path = Config._get_cfg_path
    stock_metainfo = config_utils._get_cfg_metainfo

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = stock_cfg_path(cfg_path, filename)
        # mmsemi has no registries of its own, everything is in mmseg's.
        return path, "mmseg" if scope == "mmsemi" else scope

    def get_cfg_metainfo(package_path: str, cfg_path: str) -> dict:
        if (Path(package_path) / ".mim").is_dir():
            return stock_metainfo(package_path, cfg_path)
        raise ValueError("a source checkout has no index")  # get_config then looks for the file

    Config._get_cfg_path = staticmethod(get_cfg_path)
    config_utils._get_cfg_metainfo = hub_module._get_cfg_metainfo = get_cfg_metainfo


def find_module_name(package: str) -> str:
    """Returns the import name of a distribution: 'mmsegmentation' -> 'mmseg'."""
    from mmengine.config.utils import MODULE2PACKAGE

    for module, distribution in MODULE2PACKAGE.items():
        if package in (distribution, f"onedl-{distribution}"):
            return module
    try:
        modules = (metadata.distribution(package).read_text("top_level.txt") or "").split()
    except metadata.PackageNotFoundError:
        modules = []
    return modules[0] if modules else package.replace("-", "_")


def is_installed(package: str) -> bool:
    """Returns whether a distribution or module of this name is there (OneDL's forks included)."""
    try:
        metadata.distribution(package)
        return True
    except metadata.PackageNotFoundError:
        spec = find_spec(find_module_name(package))
        return spec is not None and spec.origin is not None


def get_installed_path(package: str) -> str:
    """Returns the folder of the module that a distribution installs.

    Raises:
        ModuleNotFoundError: There is no such module.
    """
    module = find_module_name(package)
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed (there is no module {module})")
    return str(Path(spec.origin).parent)


def find_package_config(package_path: str, cfg_name: str) -> str:
    """Returns the path of a config of an installed package or of a source checkout.

    Raises:
        FileNotFoundError: No such config; the message names close matches.
    """
    package = Path(package_path)
    roots = [package / ".mim" / "configs", package.parent / "configs"]
    for root in roots:
        if (root / cfg_name).is_file():
            return str(root / cfg_name)
    known = [str(path.relative_to(root)) for root in roots for path in root.glob("**/*.py")]
    hint = close_matches(cfg_name, known)
    raise FileNotFoundError(f"{package.name}::{cfg_name}: no such config{hint}")
