# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What torch, mmengine and the system say when a machine or a setting cannot do what was asked.

They raise plain exceptions in a library's words, often from deep inside. Each is known here by its
type and a part of its text, and becomes one line with the setting or the action that helps.
"""

from __future__ import annotations

import errno
import re
from importlib.util import find_spec
from typing import NamedTuple

from .errors import ConfigError, InstallationError, MachineError, UserError


class Failure(NamedTuple):
    """One known failure.

    Attributes:
        raised: Type of the exception.
        text: Pattern that its text contains.
        kind: What the user gets instead.
        message: The line; ``{0}``, ``{1}`` are the groups of the pattern.
    """

    raised: type[BaseException]
    text: str
    kind: type[UserError]
    message: str


_NO_SPACE = "no space left{0}: make room or name another disk with --work-dir"
_LOADERS = "train_dataloader, val_dataloader and test_dataloader"

FAILURES = (
    # Settings
    Failure(
        ValueError,
        r"Expected more than 1 (?:value|spatial element).*?(torch\.Size\(.*?\))",
        ConfigError,
        "a normalisation layer got one value per channel ({0}), of which it can take no statistics: "
        "set each count of train_dataloader.sampler.num_per_source to at least 2 (4 unlabelled "
        "images for a mix that makes one image of two), or use larger crops or norm_cfg=dict("
        "type='SyncBN') on several GPUs",
    ),
    Failure(
        ValueError,
        r"persistent_workers option needs",
        ConfigError,
        f"persistent_workers=True needs num_workers of at least 1: set it to False in {_LOADERS}, "
        "wherever num_workers is 0",
    ),
    Failure(
        ValueError,
        r"(prefetch_factor|timeout) option could only be specified in multiprocessing",
        ConfigError,
        f"{{0}} needs num_workers of at least 1: remove it from {_LOADERS}, wherever num_workers is 0",
    ),
    Failure(
        AssertionError,
        r"AmpOptimi\w+`* is only available",
        ConfigError,
        "--amp (optim_wrapper.type='AmpOptimWrapper'), mixed precision, needs a GPU, and torch sees "
        "none here: leave it out",
    ),
    Failure(
        ValueError,
        r"SyncBatchNorm expected input tensor to be on",
        ConfigError,
        "norm_cfg.type='SyncBN' needs a GPU: use 'BN'",
    ),
    Failure(
        Exception,
        r"ProcessGroupNCCL is only supported with GPUs|doesn't have NCCL built in|"
        r"ncclCommInit.*no GPU|No backend type associated with device type cpu",
        ConfigError,
        "env_cfg.dist_cfg.backend='nccl' needs a GPU for each process: set it to 'gloo'",
    ),
    Failure(
        RuntimeError,
        r"invalid device ordinal|Duplicate GPU detected",
        ConfigError,
        "there are more processes than GPUs: lower --nproc_per_node, or the number of GPUs that "
        "tools/dist_train.sh gets",
    ),
    Failure(
        RuntimeError,
        r"device-side assert triggered",
        MachineError,
        "the GPU found an index out of range, mostly a mask value that is no class: run `mmsemi "
        "check-dataset CONFIG`; CUDA_LAUNCH_BLOCKING=1 shows the place",
    ),
    # Packages
    Failure(
        RuntimeError, r"timm is not installed", InstallationError, "pip install timm: it is needed"
    ),
    Failure(
        ImportError,
        r"(\w+) requires .*, please install it by `(pip install [^`]+)`",
        InstallationError,
        "the config's {0} needs a package that is missing: run {1}",
    ),
    Failure(
        ImportError,
        r"Please run \"(pip install [^\"]+)\"",
        InstallationError,
        "a package is missing that the config uses: run {0}, or remove what needs it (such as the entry "
        "of vis_backends)",
    ),
    Failure(
        ImportError,
        r"No module named '([\w.]+)'",
        InstallationError,
        "the package '{0}' is not installed: install it, or remove what uses it from the config",
    ),
    # The machine
    Failure(
        RuntimeError,
        r"CUDA out of memory|(?:CUDA|CUBLAS|cuDNN).*(?:ALLOC_FAILED|out of memory)",
        MachineError,
        "the GPU's memory is full: lower train_dataloader.sampler.num_per_source or the crop_size, "
        "add --amp, or use model.segmentor.backbone.with_cp=True",
    ),
    Failure(
        RuntimeError,
        r"DefaultCPUAllocator: |can't allocate memory|Cannot allocate memory",
        MachineError,
        f"the machine's memory is full: lower num_workers of {_LOADERS}, the batch or the crop_size",
    ),
    Failure(
        MemoryError,
        r"",
        MachineError,
        f"the machine's memory is full: lower num_workers of {_LOADERS}, the batch or the crop_size",
    ),
    Failure(
        RuntimeError,
        r"No CUDA GPUs are available|Found no NVIDIA driver|driver .*is insufficient|"
        r"not compiled with CUDA|no kernel image is available",
        MachineError,
        "the GPU cannot be used ({text}): install a driver and a torch that fit it, or run on the CPU "
        "with CUDA_VISIBLE_DEVICES=-1",
    ),
    Failure(
        RuntimeError,
        r"out of shared memory|unable to (?:open|mmap|write).*(?:shm|torch_\d+)|bus error",
        MachineError,
        "the shared memory of the loader's workers is full: enlarge /dev/shm (docker run --shm-size=8g) "
        f"or lower num_workers of {_LOADERS}",
    ),
    Failure(
        RuntimeError,
        r"DataLoader worker \(pid.*?\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)",
        MachineError,
        f"a loader worker was ended from outside, mostly for lack of memory: lower num_workers of "
        f"{_LOADERS} and go on with --resume",
    ),
    Failure(
        RuntimeError,
        r"EADDRINUSE|[Aa]ddress already in use",
        MachineError,
        "the port of the processes' meeting point is in use by another run: set another one, such as "
        "PORT=29501 tools/dist_train.sh ..., or torchrun --master_port=29501",
    ),
    Failure(
        RuntimeError,
        r"Connection (?:closed|reset) by peer|Broken pipe|Timed out waiting .*ms|"
        r"remote process exited|collective operation timeout|Connection refused",
        MachineError,
        "another process of this run has ended or does not answer: its own output says why; go on with "
        "--resume",
    ),
    Failure(
        RuntimeError,
        r"received \d+ items of ancdata",
        MachineError,
        f"too many open files: raise the limit (ulimit -n 65536) or lower num_workers of {_LOADERS}",
    ),
    Failure(
        RuntimeError,
        r"basic_ios::clear: iostream error|inline_container.*unexpected pos|PytorchStreamWriter failed",
        MachineError,
        "a checkpoint could not be written, mostly because there is no space left: make room or name "
        "another disk with --work-dir",
    ),
)

#: The same for what the system itself refuses, by its error number.
_SYSTEM = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "a file grew larger than allowed{0}: raise the limit (ulimit -f unlimited)",
    errno.EROFS: "{1}{0}: name a folder that can be written with --work-dir",
    errno.EACCES: "{1}{0}: change its rights, or name another folder with --work-dir",
    errno.EMFILE: f"too many open files{{0}}: raise the limit (ulimit -n 65536) or lower num_workers of "
    f"{_LOADERS}",
    errno.EADDRINUSE: "the port is in use by another program{0}: set another one (PORT=29501)",
    errno.ENOMEM: f"the machine's memory is full{{0}}: lower num_workers of {_LOADERS}",
}


def known_failure(error: BaseException) -> UserError | None:
    """What the user gets instead of an exception of the stack, None if it is not known."""
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        where = f" ({error.filename})" if error.filename is not None else ""
        return MachineError(_SYSTEM[error.errno].format(where, error.strerror))
    text = str(error)
    for failure in FAILURES:
        found = re.search(failure.text, text, re.DOTALL)
        if found and isinstance(error, failure.raised) and _is_missing(error):
            first_line = text.strip().partition("\n")[0]
            return failure.kind(failure.message.format(*found.groups(), text=first_line))
    return None


def _is_missing(error: BaseException) -> bool:
    """False for a module that an installed package, such as this one, only spells wrongly."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    return not isinstance(error, ModuleNotFoundError) or find_spec(package) is None
