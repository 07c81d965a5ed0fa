# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The launchers and the DDP wrapper: gloo on the CPU, untouched with CUDA."""

from __future__ import annotations

import logging
import subprocess

import pytest
import torch
from mmengine.dist import init_dist, utils
from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmsemi import compat_cpu_distributed as compat

LAUNCHERS = {
    "pytorch": dict(RANK="0", LOCAL_RANK="1", WORLD_SIZE="2"),
    "slurm": dict(SLURM_PROCID="0", SLURM_NTASKS="2", SLURM_NODELIST="node", SLURM_LOCALID="1"),
    "mpi": dict(
        OMPI_COMM_WORLD_LOCAL_RANK="1",
        OMPI_COMM_WORLD_SIZE="2",
        OMPI_COMM_WORLD_RANK="0",
        MASTER_ADDR="127.0.0.1",
    ),
}


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """What is asked of torch; no process group is made."""
    made: list[tuple] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: made.append(("device", device)))
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda backend, **kwargs: made.append((backend, kwargs)),
    )
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2)
    monkeypatch.setattr(subprocess, "getoutput", lambda command: "node")
    return made


@pytest.fixture
def device(monkeypatch):
    """Sets the device on which mmengine computes."""
    return lambda name: monkeypatch.setattr("mmengine.device.get_device", lambda: name)


@pytest.fixture
def logged(monkeypatch) -> list[tuple]:
    lines: list[tuple] = []
    monkeypatch.setattr(
        "mmengine.logging.print_log", lambda text, logger, level: lines.append((level, text))
    )
    return lines


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(("name", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_backend_of_a_launcher(launcher, name, backend, calls, device, logged, monkeypatch):
    for key, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(key, value)
    for key in ("MASTER_PORT", "MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(key, LAUNCHERS[launcher].get(key, "1"))  # the launchers set these
    device(name)
    set_device = torch.cuda.set_device
    init_dist(launcher, "nccl", timeout=1800)
    assert torch.cuda.set_device is set_device
    assert calls[-1][0] == backend and calls[-1][1]["timeout"].total_seconds() == 1800
    assert [call for call in calls if call[0] == "device"] == [("device", 1)] * (name == "cuda")
    expected = (
        "no CUDA device: 2 processes run on the CPU with the backend gloo "
        "(env_cfg.dist_cfg.backend='nccl' is ignored)"
    )
    assert logged == [(logging.INFO, expected)] * (name == "cpu")


def test_device_selection_comes_back_after_an_error(calls, device, monkeypatch):
    def refuse(backend, **kwargs):
        raise RuntimeError("no rendezvous")

    monkeypatch.setattr(torch.distributed, "init_process_group", refuse)
    for key, value in LAUNCHERS["pytorch"].items():
        monkeypatch.setenv(key, value)
    device("cpu")
    set_device = torch.cuda.set_device
    with pytest.raises(RuntimeError, match="no rendezvous"):
        init_dist("pytorch", "nccl")
    assert torch.cuda.set_device is set_device


def test_arguments_of_the_wrapper(device, monkeypatch):
    """With CUDA the stock constructor gets what the caller gave; on the CPU no device."""
    given: list[dict] = []

    class Recorder:
        wrap = compat.wrap_cpu_model(lambda self, module, **kwargs: given.append(kwargs))

    arguments = dict(device_ids=[1], broadcast_buffers=False)
    device("cuda")
    Recorder().wrap(nn.Linear(1, 1), **arguments)
    device("cpu")
    Recorder().wrap(module=nn.Linear(1, 1), **arguments)
    changed = dict(device_ids=None, output_device=None, broadcast_buffers=True)
    assert given == [arguments, changed]


def test_sync_bn_is_replaced_with_one_warning(logged):
    net = nn.Sequential(nn.SyncBatchNorm(2), nn.Sequential(nn.SyncBatchNorm(3)), nn.BatchNorm2d(2))
    net[0].weight.requires_grad_(False)
    net[1].eval()
    before = {name: value.data_ptr() for name, value in net.state_dict().items()}
    replaced = compat.replace_sync_bn(net)
    assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in replaced.modules())
    assert {name: value.data_ptr() for name, value in replaced.state_dict().items()} == before
    assert not replaced[0].weight.requires_grad and not replaced[1][0].training
    (entry,) = logged
    assert entry[0] == logging.WARNING and "2 SyncBN layers become BN layers: batch" in entry[1]
    assert compat.replace_sync_bn(nn.BatchNorm2d(2)) is not None and len(logged) == 1


def test_applying_twice_patches_once():
    before = utils._init_dist_pytorch, MMDistributedDataParallel.__init__
    compat.apply()
    assert (utils._init_dist_pytorch, MMDistributedDataParallel.__init__) == before
