# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Failures of the stack, met for real where this machine can have them, else by the library's text."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing

import pytest
import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.visualization import TensorboardVisBackend
from mmpretrain.utils import require
from mmseg.registry import MODELS
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmsemi.errors import ConfigError, InstallationError, MachineError, UserError, user_error


def met(function: Callable[[], object]) -> UserError | None:
    with pytest.raises(BaseException) as error:
        function()
    return user_error(error.value)


class Dying(Dataset):
    """Its worker is killed, as the kernel does when the memory is full."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def occupied_port() -> object:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        return torch.distributed.TCPStore("127.0.0.1", port, is_master=True)


def adam() -> torch.optim.Optimizer:
    return torch.optim.Adam([nn.Parameter(torch.zeros(1))])


def full_disk() -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"0")


REAL: dict[str, tuple[Callable[[], object], type[UserError], str]] = dict(
    batch_norm=(
        lambda: nn.BatchNorm2d(2)(torch.zeros(1, 2, 1, 1)),
        ConfigError,
        "num_per_source",
    ),
    instance_norm=(
        lambda: nn.InstanceNorm2d(2)(torch.zeros(1, 2, 1, 1)),
        ConfigError,
        "num_per_source",
    ),
    persistent_workers=(
        lambda: DataLoader([0], persistent_workers=True),
        ConfigError,
        "persistent_workers",
    ),
    prefetch_factor=(lambda: DataLoader([0], prefetch_factor=2), ConfigError, "prefetch_factor"),
    dying_worker=(
        lambda: next(iter(DataLoader(Dying(), num_workers=1))),
        MachineError,
        "num_workers",
    ),
    port=(occupied_port, MachineError, "port"),
    full_disk=(full_disk, MachineError, "no space left"),
    full_disk_in_torch=(
        lambda: torch.save(torch.zeros(10**5), "/dev/full"),
        MachineError,
        "no space left",
    ),
    memory=(lambda: torch.zeros(10**15), MachineError, "memory"),
)
if not torch.cuda.is_available():
    REAL["amp"] = (lambda: AmpOptimWrapper(optimizer=adam()), ConfigError, "--amp")
    REAL["no_gpu"] = (lambda: torch.zeros(1, device="cuda"), MachineError, "CUDA")


@pytest.mark.parametrize("name", REAL)
def test_met_on_this_machine(name: str) -> None:
    function, kind, named = REAL[name]
    found = met(function)
    assert type(found) is kind and named in str(found)
    assert "\n" not in str(found)


def test_missing_logging_package(monkeypatch, tmp_path) -> None:
    for module in ("torch.utils.tensorboard", "tensorboardX"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    found = met(lambda: TensorboardVisBackend(str(tmp_path)).experiment)
    assert type(found) is InstallationError and "tensorboard" in str(found)


def test_missing_timm(monkeypatch) -> None:
    monkeypatch.setattr("mmseg.models.backbones.timm_backbone.timm", None)
    net = dict(type="mmseg.TIMMBackbone", model_name="resnet18")
    found = met(lambda: MODELS.build(net))
    assert type(found) is InstallationError and "pip install timm" in str(found)

    @require("no-such-package")
    def build() -> None:
        """As mmpretrain's TIMMBackbone guards its constructor."""

    found = met(build)
    assert type(found) is InstallationError and 'pip install "no-such-package"' in str(found)


def test_missing_package_and_a_misspelt_module() -> None:
    found = met(lambda: importlib.import_module("no_such_package.part"))
    assert type(found) is InstallationError and "no_such_package" in str(found)
    assert met(lambda: importlib.import_module("mmsemi.no_such_module")) is None


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "kind", "named"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"),
            MachineError,
            "GPU",
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            MachineError,
            "GPU",
        ),
        (
            ValueError("ProcessGroupNCCL is only supported with GPUs, no GPUs found!"),
            ConfigError,
            "env_cfg.dist_cfg.backend",
        ),
        (ValueError("SyncBatchNorm expected input tensor to be on GPU"), ConfigError, "SyncBN"),
        (RuntimeError("Distributed package doesn't have NCCL built in"), ConfigError, "gloo"),
        (
            RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:1"),
            MachineError,
            "--resume",
        ),
        (
            RuntimeError("Timed out waiting 1800000ms for recv operation to complete"),
            MachineError,
            "--resume",
        ),
        (RuntimeError("CUDA error: device-side assert triggered"), MachineError, "check-dataset"),
        (
            OSError(errno.EROFS, "Read-only file system", "/x/work"),
            MachineError,
            "Read-only.*/x/work",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), MachineError, "Permission.*/x"),
        (OSError(errno.EMFILE, "Too many open files"), MachineError, "ulimit"),
        (MemoryError(), MachineError, "memory"),
    ],
)
def test_by_the_text_of_the_library(error: BaseException, kind: type, named: str) -> None:
    found = met(lambda: fail(error))
    assert type(found) is kind
    with pytest.raises(kind, match=named):
        raise found


@pytest.mark.parametrize("error", [ValueError("more than 1 value"), RuntimeError("shape [1, 2]")])
def test_other_errors_are_faults(error: Exception) -> None:
    assert met(lambda: fail(error)) is None
