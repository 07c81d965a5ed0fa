# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Several processes on machines without an accelerator: what stock mmengine lacks for it.

mmengine starts its processes for CUDA: it selects a CUDA device before the process group exists,
hands ``DistributedDataParallel`` a device number, and leaves SyncBN in the model, which has no CPU
form. Where mmengine itself computes on the CPU, :func:`apply` makes these three fit; with CUDA (or
another accelerator) every call goes to the stock code as it came.

The decision is made at each call, never at import: mmengine's launchers (``pytorch``, ``slurm``,
``mpi``) keep reading their own environment variables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn


def runs_on_cpu() -> bool:
    """Returns whether mmengine puts models on the CPU here."""
    from mmengine.device import get_device

    return get_device() == "cpu"


def apply() -> None:
    """Patches mmengine's launchers and its DDP wrapper; calling it again does nothing."""
    from mmengine.dist import utils
    from mmengine.model import MMDistributedDataParallel

    for name in ("_init_dist_pytorch", "_init_dist_slurm", "_init_dist_mpi"):
        setattr(utils, name, patch_once(getattr(utils, name), start_gloo_on_cpu))
    # The class itself, so that the Runner, the strategies and subclasses all use it.
    constructor = MMDistributedDataParallel.__init__
    MMDistributedDataParallel.__init__ = patch_once(constructor, wrap_cpu_model)


def patch_once(stock: Callable, make: Callable[[Callable], Callable]) -> Callable:
    """Returns ``make(stock)``, or ``stock`` if that is such a result already."""
    if getattr(stock, "is_cpu_patch", False):
        return stock
    patched = wraps(stock)(make(stock))
    patched.is_cpu_patch = True
    return patched


def start_gloo_on_cpu(stock: Callable) -> Callable:
    """Makes a launcher start gloo on the CPU, whatever ``env_cfg.dist_cfg.backend`` says."""

    def init_dist(backend: str, **kwargs: Any) -> None:
        if not runs_on_cpu() or kwargs.get("init_backend", "torch") != "torch":
            stock(backend, **kwargs)
            return
        with without_device_selection():
            stock("gloo", **kwargs)
        ignored = f" (env_cfg.dist_cfg.backend='{backend}' is ignored)" if backend != "gloo" else ""
        log_once_per_run(
            f"no CUDA device: {torch.distributed.get_world_size()} processes run on the CPU with "
            f"the backend gloo{ignored}"
        )

    return init_dist


@contextmanager
def without_device_selection() -> Iterator[None]:
    """Makes ``torch.cuda.set_device``, which raises without CUDA, do nothing inside."""
    stock = torch.cuda.set_device
    torch.cuda.set_device = lambda device: None
    try:
        yield
    finally:
        torch.cuda.set_device = stock


def wrap_cpu_model(stock: Callable) -> Callable:
    """Makes the DDP constructor take a model on the CPU: no device number, BN for SyncBN.

    Each step starts from the main process's buffers.
    """

    def __init__(self, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        if runs_on_cpu():
            # Running statistics: one per process, mmengine's default, would be lost in a checkpoint
            # for all but the main process, and a resumed run would go on differently.
            kwargs.update(device_ids=None, output_device=None, broadcast_buffers=True)
            module = replace_sync_bn(module)
        stock(self, module, *args, **kwargs)

    return __init__


def replace_sync_bn(module: nn.Module) -> nn.Module:
    """Turns SyncBN layers, torch's and mmcv's, into BN; parameters and buffers stay the same."""
    from mmengine.model import revert_sync_batchnorm

    count = sum(type(layer).__name__ == "SyncBatchNorm" for layer in module.modules())
    if not count:
        return module
    log_once_per_run(
        f"no CUDA device: {count} SyncBN layers become BN layers: batch statistics are per "
        "process, running statistics those of the main process",
        logging.WARNING,
    )
    return revert_sync_batchnorm(module)


def log_once_per_run(message: str, level: int = logging.INFO) -> None:
    """Logs on the main process only; a logger made before the group counts each as the main one."""
    from mmengine.dist import is_main_process
    from mmengine.logging import print_log

    if is_main_process():
        print_log(message, "current", level)
