# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From a semi-supervised checkpoint to a plain mmseg config and checkpoint.

Decisions:

- The config comes from the checkpoint itself and is data: literals, types that are registered, no
  weight files, no imports. A training with modules of its own is exported with ``--config``: a Python
  file that the user names is code, and imports them. (In a program, importing them first is enough.)
- Everything about training goes: other networks, optimiser, message hub, random states, hooks,
  pre-trained weight files. What is left loads with ``torch.load(weights_only=True)`` and nothing
  allow-listed, and with mmseg alone if the network is made of stock parts.
- Own losses become mmseg's cross-entropy: a plain segmentor builds them, but prediction does not
  use them.
- What the network needs where it is loaded is read off its modules and written beside it; that a
  stock one needs no mmsemi is checked, not assumed.
- The exported network is built from the exported config and the weights are loaded strictly before
  a file appears; files appear complete (written aside, then renamed) or not at all.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, user_error
from ..models.preprocessor import merge_preprocessors
from ..utils.literals import read_literal_config
from ..version import __version__
from .checkpoint import (
    choose_network,
    find_networks,
    load_semi_checkpoint,
    plain_meta,
    select_weights,
    stored_config,
)
from .config import KEPT_KEYS, import_names, of_network, plain_config
from .requirements import packages_of, requirements
from .runtimes import (
    ONNX_FILE,
    OPENVINO_FILE,
    OPENVINO_WEIGHTS_FILE,
    check_packages,
    write_runtime_files,
)

__all__ = [
    "CONFIG_FILE",
    "ONNX_FILE",
    "OPENVINO_FILE",
    "REQUIREMENTS_FILE",
    "WEIGHTS_FILE",
    "Exported",
    "export_segmentor",
]

CONFIG_FILE, WEIGHTS_FILE = "config.py", "weights.pth"
REQUIREMENTS_FILE = "requirements.txt"


@dataclass
class Exported:
    """What an export wrote.

    Attributes:
        net: Name of the network.
        names: Names of all networks in the checkpoint.
        config: Path of the plain config.
        weights: Path of the plain checkpoint.
        own_parts: Registered types in the network that mmseg does not have.
        imports: Modules that the plain config imports.
        needs: Lines of ``requirements.txt``: what must be installed to load the network.
        onnx: What the ONNX file can do, or ``None`` if it was not asked for.
        openvino: What the OpenVINO model can do, or ``None`` if it was not asked for.
        notes: Further lines for the user.
    """

    net: str
    names: list[str]
    config: Path
    weights: Path
    own_parts: list[str]
    imports: list[str]
    needs: list[str]
    onnx: str | None = None
    openvino: str | None = None
    notes: list[str] = field(default_factory=list)


def export_segmentor(
    checkpoint_path: str | os.PathLike,
    out_dir: str | os.PathLike,
    net: str | int | None = None,
    config: Config | dict | None = None,
    onnx: bool = False,
    shape: tuple[int, int] | None = None,
    force: bool = False,
    openvino: bool = False,
) -> Exported:
    """Write one network of a semi-supervised checkpoint as ``config.py`` and ``weights.pth``.

    Args:
        checkpoint_path: Checkpoint of a :class:`~mmsemi.models.SemiSegmentor` training.
        out_dir: Folder of the result, made if missing.
        net: 'student', 'teacher', 0, 1, ...; ``None`` is ``model.predict_on``.
        config: Training config; ``None`` is the one stored in the checkpoint.
        onnx: Also write ``net.onnx``, checked with onnxruntime.
        shape: Height and width that the ONNX file and the OpenVINO model are traced at; ``None`` is the
            training crop.
        force: Replace an earlier export.
        openvino: Also write ``net.xml`` and ``net.bin``, checked with openvino.

    Raises:
        ConfigError: There is an export already, no such network, it has no ONNX or OpenVINO form, or the
            config in the checkpoint has a type that nothing registers.
        CheckpointError: The checkpoint is missing, unreadable, holds pickled code, is not of mmsemi,
            or does not fit its config.
        InstallationError: ``onnx`` or ``openvino`` without the packages for it.
    """
    source, out = Path(checkpoint_path).expanduser(), Path(out_dir).expanduser()
    names = (CONFIG_FILE, WEIGHTS_FILE, ONNX_FILE, OPENVINO_WEIGHTS_FILE, OPENVINO_FILE)
    targets = [out / name for name in (*names, REQUIREMENTS_FILE)]
    present = [str(path) for path in targets if path.exists()]
    if present and not force:
        raise ConfigError(f"already there: {', '.join(present)}; add --force to replace it")
    check_packages(onnx, openvino)
    checkpoint = load_semi_checkpoint(source)
    prefixes = find_networks(checkpoint["state_dict"], source)
    init_default_scope("mmseg")
    left_out: list[str] = []
    is_stored = config is None
    if config is None:
        config, left_out = stored_config(checkpoint, source)
    with one_line(source) if is_stored else nullcontext():
        semi_model = check_model(config, source)
        name = choose_network(net, semi_model, prefixes, source)
        plain, own_parts, notes = plain_config(config, name)
        state_dict = select_weights(checkpoint["state_dict"], prefixes[name])
        model = build_plain(plain["model"], state_dict, f"network '{name}' of {source}")
        meta = plain_meta(checkpoint["meta"], config)
    notes += [
        f"{key} is left out, since it names a file: give the training config with --config to keep it"
        for key in left_out
        if key.partition(".")[0] in KEPT_KEYS
    ]
    meta.update(mmsemi_version=__version__, exported_from=source.name, net=name)
    meta["cfg"] = Config(plain).pretty_text
    read_literal_config(meta["cfg"], f"the exported config of {source}")

    imports, packages = import_names(plain), packages_of(model)
    if "mmsemi" in packages and not own_parts:
        raise ConfigError(
            f"network '{name}' of {source} has modules of mmsemi that its config does not name, so it "
            "would not load without mmsemi: register them under names of their own"
        )
    if own_parts:
        packages += [module.partition(".")[0] for module in imports]
    needs = requirements(packages)
    result = Exported(
        name, list(prefixes), targets[0], targets[1], own_parts, imports, needs, notes=notes
    )
    out.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".export-", dir=out))
    try:
        header = f"# Network '{name}' of {source.name!r}, exported by mmsemi {__version__}.\n"
        (staging / CONFIG_FILE).write_text(header + meta["cfg"], encoding="utf-8")
        torch.save(dict(meta=meta, state_dict=state_dict), staging / WEIGHTS_FILE)
        (staging / REQUIREMENTS_FILE).write_text(header + "\n".join(needs) + "\n", encoding="utf-8")
        if onnx or openvino:
            shape = shape or natural_shape(of_network(semi_model, name), config)
            preprocessor = plain["model"].get("data_preprocessor") or {}
            facts = {k: preprocessor.get(k) for k in ("mean", "std", "bgr_to_rgb", "rgb_to_bgr")}
            facts["classes"] = meta["dataset_meta"].get("classes")
            result.onnx, result.openvino = write_runtime_files(
                model, staging, shape, facts, onnx, openvino
            )
        # A model of OpenVINO must at no moment have the weights of another one.
        (out / OPENVINO_FILE).unlink(missing_ok=True)
        for target in targets:
            if (staging / target.name).exists():
                os.replace(staging / target.name, target)
            elif str(target) in present:  # of an earlier export, with other weights
                target.unlink(missing_ok=True)
                result.notes.append(f"{target} of the earlier export is removed")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return result


def check_model(config: Config | dict, source: Path) -> dict:
    """The semi-supervised model of a training config.

    Raises:
        CheckpointError: There is none.
    """
    semi_model = config.get("model") or {}
    if "classifier" in semi_model:
        raise CheckpointError(
            f"{source} is of {semi_model.get('type')}, and only segmentors are exported: its scores "
            "leave it through test_evaluator=dict(type='ImageLevelMetric', out_file='scores.npz')"
        )
    if "segmentor" not in semi_model:
        raise CheckpointError(
            f"the config of {source} has no model.segmentor: it is none of mmsemi's"
        )
    return semi_model


@contextmanager
def one_line(source: Path) -> Iterator[None]:
    """Say in one line what is wrong with settings that may be wrong in any way."""
    try:
        yield
    except Exception as error:
        if user_error(error) is not None:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(
            f"{source}: no network can be built from its config ({reason[:300]})"
        ) from error


def build_plain(config: dict, state_dict: dict[str, Tensor], what: str) -> nn.Module:
    """The network of a plain config with these weights, in eval mode.

    Raises:
        CheckpointError: Weights are missing, left over, or of another shape.
    """
    model = MODELS.build(copy.deepcopy(ConfigDict(config)))
    own = model.state_dict()
    wrong = [
        *(f"{key} is missing" for key in own if key not in state_dict),
        *(f"{key} is left over" for key in state_dict if key not in own),
        *(
            f"{key} is {tuple(state_dict[key].shape)}, the config makes it {tuple(own[key].shape)}"
            for key in own
            if key in state_dict and state_dict[key].shape != own[key].shape
        ),
    ]
    if wrong:
        raise CheckpointError(
            f"{what} does not fit its config ({len(wrong)} of {len(own)} entries): "
            f"{'; '.join(wrong[:3])}"
        )
    model.load_state_dict(state_dict)
    # SyncBN has no ONNX form, and is plain batch norm in eval mode.
    return revert_sync_batchnorm(model).eval()


def natural_shape(semi_model: dict, config: Config | dict) -> tuple[int, int]:
    """Height and width that the network sees most: the sliding window, or the training crop.

    Args:
        semi_model: The model with the settings of one network.
        config: The training config, whose data set may have the crop.
    """
    segmentor = semi_model["segmentor"]
    test_cfg = semi_model.get("test_cfg") or segmentor.get("test_cfg") or {}
    outer, inner = semi_model.get("data_preprocessor"), segmentor.get("data_preprocessor")
    dataset = (config.get("train_dataloader") or {}).get("dataset") or {}
    crop = (merge_preprocessors(inner, outer) or {}).get("size") or dataset.get("crop_size")
    window = test_cfg.get("crop_size") if test_cfg.get("mode") == "slide" else None
    return tuple(window or crop or (512, 512))
