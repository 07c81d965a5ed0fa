# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Released weight files of encoders: all of a file fits all of a network, or it is refused.

A file that fills a transformer only partly leaves LayerScale, say, at its start, and trains to something
poor without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from ...errors import CheckpointError

if TYPE_CHECKING:
    from .vision_transformer import VisionTransformer

#: A norm of the satellite file that only its pre-training uses.
_PRETRAINING_ONLY = ("local_cls_norm.weight", "local_cls_norm.bias")


def load_official_file(net: VisionTransformer, source: str) -> None:
    """Fill an encoder from a released file, a path or an address, and name the licence in the log.

    Args:
        net: The encoder.
        source: The file. An address is fetched once into torch's cache, where a file that was put there by
            hand is found, too.

    Raises:
        CheckpointError: It is unreadable, or has other tensors than the released file of this size; names
            the first of them.
    """
    content = CheckpointLoader.load_checkpoint(source, map_location="cpu")
    try:
        tensors = checked_tensors(net, content)
        net.check_official(tensors)
    except CheckpointError as error:
        raise CheckpointError(f"'{source}' is no released file of this network: {error}") from None
    own = net.state_dict()
    net.load_state_dict({name: tensors[name] for name in own}, strict=True)
    print_log(
        f"{net.FAMILY} ({net.embed_dims} channels, {net.size.depth} blocks): {len(tensors)} tensors of "
        f"'{source}'; licence of the weights: {net.LICENCE}",
        "current",
    )


def checked_tensors(net: VisionTransformer, content: Any) -> dict[str, Tensor]:
    """The tensors of a released file, if they are exactly those that the encoder's size has.

    Raises:
        CheckpointError: They are not.
    """
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(
            "it is not a plain dictionary of tensors; a checkpoint of a training belongs into load_from"
        )
    wanted = net.official_tensors()
    tensors = {name: v for name, v in content.items() if name not in _PRETRAINING_ONLY}
    settings = f"{net.FAMILY} with embed_dims={net.embed_dims} and depth={net.size.depth}"
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    if missing or unknown:
        parts = [
            f"{len(names)} tensors {what}, such as '{names[0]}'"
            for what, names in (("are missing", missing), ("are left over", unknown))
            if names
        ]
        raise CheckpointError(
            f"{' and '.join(parts)} ({len(tensors)} in the file, {len(wanted)} in {settings}): set the "
            "backbone's type, size and registers to those of the file"
        )
    for name, shape in wanted.items():
        value = tensors[name]
        if tuple(value.shape) != shape:
            raise CheckpointError(
                f"'{name}' is {tuple(value.shape)} in the file and {shape} in {settings}: set the "
                "backbone's size to that of the file"
            )
        if not (value.is_floating_point() and bool(torch.isfinite(value).all())):
            raise CheckpointError(f"'{name}' has values that are no finite numbers")
    return tensors
